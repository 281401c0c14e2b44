"""Front lines and their distances: known geometry, then real fronts made worse."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.spatial.distance import cdist

from arcticdl import metrics

DATA = Path(
    os.environ.get(
        "ARCTICDL_SAMPLE_DATA", Path(__file__).parents[2].parent / "shared" / "data"
    )
)


def draw_line(shape, points):
    """Draws a polyline of one pixel through (row, column) points."""
    line = np.zeros(shape, bool)
    for (r0, c0), (r1, c1) in itertools.pairwise(points):
        steps = max(abs(r1 - r0), abs(c1 - c0)) + 1
        rows = np.rint(np.linspace(r0, r1, steps)).astype(int)
        line[rows, np.rint(np.linspace(c0, c1, steps)).astype(int)] = True
    return line


def bend(shape=(80, 90)):
    return draw_line(shape, [(20, 10), (50, 18), (45, 60), (52, 80)])


def test_a_thin_line_is_its_own_front():
    line = bend()
    found = metrics.front_line(line)
    assert metrics.front_distance(found, line)["mean"] < 0.05


def test_a_wide_line_gives_its_middle():
    wide = ndimage.binary_dilation(bend(), np.ones((3, 3)))
    distance = metrics.front_distance(metrics.front_line(wide), bend())
    assert distance["mean"] < 0.4
    assert distance["max"] <= 2


def test_path_is_ordered_and_connected():
    prob = ndimage.gaussian_filter(bend().astype(float), 1)
    path = metrics.front_path(prob / prob.max())
    steps = np.abs(np.diff(path, axis=0)).max(1)
    assert (steps == 1).all()
    assert len(np.unique(path, axis=0)) == len(path)


def test_gaps_are_bridged_and_branches_and_blobs_dropped():
    prob = ndimage.binary_dilation(bend(), np.ones((3, 3))).astype(float)
    prob[:, 35:45] = 0  # a gap of 10 px
    prob[50:62, 30] = 0.9  # a branch
    prob[5:9, 70:74] = 1.0  # a berg
    line = metrics.front_line(prob)
    assert metrics.front_distance(line, bend())["mean"] < 0.8
    assert not line[:12].any()
    assert not line[58:].any()
    assert line[:, 40].any()
    apart = metrics.front_line(prob, max_gap_px=0)
    assert not apart[:, 40].any()


def test_the_likelier_way_round_a_ring_is_taken():
    prob = np.zeros((40, 60))
    prob[10, 5:55] = 0.95
    prob[10:14, 20] = prob[10:14, 40] = prob[13, 20:41] = 0.6
    line = metrics.front_line(prob)
    assert line[10, 25:36].all()
    assert not line[13].any()


def test_skeleton_keeps_every_piece():
    prob = np.zeros((40, 60))
    prob[9:12, 5:25] = prob[29:32, 30:55] = 1.0
    prob[20, 3:6] = 1.0
    line = metrics.front_line(prob, method="skeleton")
    assert line[10].any()
    assert line[30].any()
    assert not line[20].any()


@pytest.mark.parametrize("prob", [np.zeros((30, 30)), np.full((30, 30), 0.4)])
def test_no_front_is_an_empty_line(prob):
    assert metrics.front_path(prob).shape == (0, 2)
    assert not metrics.front_line(prob).any()


def test_nan_is_no_front_and_short_lines_drop():
    prob = np.full((30, 30), np.nan)
    prob[10, 5:12] = 1.0
    assert not metrics.front_line(prob).any()
    assert metrics.front_line(prob, min_length_px=5).sum() == 7


@pytest.mark.parametrize(
    ("prob", "options", "match"),
    [
        (np.full((4, 4), -3.0), {}, "softmax"),
        (np.zeros((4, 4, 2)), {}, "map"),
        (np.zeros((4, 4)), {"threshold": 0}, "threshold"),
        (np.zeros((4, 4)), {"method": "snake"}, "skeleton"),
    ],
)
def test_bad_maps_are_refused(prob, options, match):
    with pytest.raises(ValueError, match=match):
        metrics.front_line(prob, **options)


def test_parallel_lines_lie_their_spacing_apart():
    one, two = np.zeros((2, 20, 20), bool)
    one[4], two[11] = True, True
    got = metrics.front_distance(one, two, spacing=30.0)
    for key in ("mean", "median", "max", "mean_matched", "mean_pred_to_true"):
        assert got[key] == pytest.approx(210.0)
    assert not got["empty"]


def test_distance_equals_the_published_definition():
    """Both directions of nearest distances in one mean (Gourmelon et al. 2022)."""
    rng = np.random.default_rng(0)
    one, two = rng.random((2, 30, 40)) < 0.05
    table = cdist(np.argwhere(one), np.argwhere(two))
    expected = np.concatenate([table.min(1), table.min(0)])
    got = metrics.front_distance(one, two)
    assert got["mean"] == pytest.approx(expected.mean())
    assert got["median"] == pytest.approx(np.median(expected))
    assert got["max"] == pytest.approx(expected.max())


def test_distance_is_symmetric_and_zero_for_the_same_line():
    one, two = bend(), np.roll(bend(), 3, axis=0)
    there, back = metrics.front_distance(one, two), metrics.front_distance(two, one)
    assert there["mean"] == back["mean"]
    assert there["mean_pred_to_true"] == back["mean_true_to_pred"]
    same = metrics.front_distance(one, one)
    assert same["mean"] == same["max"] == same["mean_matched"] == 0


def test_half_a_line_is_punished_by_the_matched_distance():
    line = np.zeros((20, 100), bool)
    line[10] = True
    half = line.copy()
    half[:, 50:] = False
    got = metrics.front_distance(half, line)
    assert got["mean_pred_to_true"] == 0
    # The n-th points lie up to 50 px apart: 25 on average, whichever way it runs.
    assert got["mean_matched"] == pytest.approx(25, abs=0.5)


def test_an_empty_prediction_is_reported_and_never_zero():
    line = bend()
    got = metrics.front_distance(np.zeros_like(line), line)
    assert got["empty"]
    assert np.isnan(got["mean"])
    assert got["num_pred"] == 0
    pooled = metrics.pooled_front_distance([got, metrics.front_distance(line, line)])
    assert pooled["num_empty"] == 1
    assert pooled["mean"] == pooled["mean_pooled"] == 0
    assert np.isnan(metrics.pooled_front_distance([got])["mean"])


def test_pooling_weighs_images_by_their_line_pixels():
    short, shifted = np.zeros((2, 9, 40), bool)
    short[0, :10], shifted[3, :10] = True, True
    long = np.zeros((9, 40), bool)
    long[0] = True
    items = [metrics.front_distance(short, shifted), metrics.front_distance(long, long)]
    pooled = metrics.pooled_front_distance(items)
    assert pooled["mean"] == pytest.approx(1.5)
    assert pooled["mean_pooled"] == pytest.approx(3 * 20 / 100)


def test_lines_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        metrics.front_distance(np.zeros((3, 3)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="spacing"):
        metrics.front_distance(np.zeros((3, 3)), np.zeros((3, 3)), spacing=0)


@pytest.mark.real_data
def test_real_fronts_survive_gaps_and_false_blobs():
    folder = DATA / "calving_front" / "labels_1px"
    if not folder.is_dir():
        pytest.skip(f"sample data absent: {folder}")
    rng = np.random.default_rng(0)
    means = []
    for path in sorted(folder.glob("*.png"))[::16]:
        line = np.array(Image.open(path).convert("L")) < 128
        prob = ndimage.gaussian_filter(line.astype(float), 1.5)
        field = ndimage.gaussian_filter(rng.normal(size=line.shape), 6)
        field /= field.std()
        prob = prob / prob.max() * (field > -0.8)  # about a fifth of the front is lost
        prob += 0.9 * ndimage.gaussian_filter((field > 2.4).astype(float), 1)
        found = metrics.front_line(np.clip(prob, 0, 1))
        means.append(metrics.front_distance(found, line)["mean"])
    assert np.mean(means) < 3
