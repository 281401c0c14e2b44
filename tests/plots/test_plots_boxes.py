"""Pictures of boxes and curves of detectors hold what they are given."""

import numpy as np
import pytest
from matplotlib.patches import Polygon

from arcticdl import boxes as bx
from arcticdl import metrics, plots

TRUTH = bx.pad_boxes([[[10, 10, 8, 4, 0.3, 0], [20, 20, 6, 6, 0, 1],
                       [25, 8, 4, 4, 0, bx.IGNORE]]], 5)[0]  # fmt: skip
FOUND = np.array([[10.5, 10, 8, 4, 0.3, 0]])
IMAGE = np.full((32, 32, 3), 90, "uint8")


def outlines(ax):
    return [patch for patch in ax.patches if isinstance(patch, Polygon)]


def test_a_picture_has_one_outline_a_box_where_the_box_is():
    pictures = [plots.BoxPicture(IMAGE, TRUTH, FOUND, [0.75], "one")] * 5
    figure = plots.box_pictures(pictures, ["seal", "ice_berg"])
    first = figure.axes[0]
    drawn = outlines(first)
    assert len(figure.axes) == 8 and len(drawn) == 4
    np.testing.assert_allclose(drawn[0].get_xy()[:4], bx.box_corners(TRUTH[0]) - 0.5)
    assert [text.get_text() for text in first.texts] == ["0.75"]
    styles = {str(patch.get_linestyle()) for patch in drawn}
    assert len(styles) == 3, "what is found, marked and ignored is told by the line"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["seal", "ice berg", "ignored", "marked", "found, with score"]


def test_no_picture_and_no_curve_are_refused():
    with pytest.raises(ValueError, match="`pictures` must hold"):
        plots.box_pictures([], ["seal"])
    with pytest.raises(ValueError, match="`curves` must hold"):
        plots.detection_curves({})


def test_curves_of_detectors_are_those_of_the_metrics():
    matches = metrics.match_objects([(TRUTH, FOUND, [0.9])] * 3, 2)
    curve = metrics.precision_recall(matches, 0)
    ax = plots.detection_curves({"seal": curve}).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), curve["precision"])
    ax = plots.froc_curves({"seal": metrics.froc(matches)}).axes[0]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.5] * 7)
    assert ax.lines[0].get_xdata()[-1] >= 16  # beyond the last rate that counts
    assert ax.lines[0].get_ydata()[-1] == 0.5
    errors = metrics.count_errors(matches, 0.5)
    ax = plots.count_scatter(errors).axes[0]
    assert ax.collections[0].get_offsets().tolist() == [[2, 1]]
    assert "3 images, 1.00 off" in ax.get_title(loc="left")
