"""Figures of a search show what its trials were."""

import numpy as np
import pytest

from arcticdl import plots

PARAMS = [
    {"train.learning_rate": 1e-4, "loss": "DiceFocal"},
    {"train.learning_rate": 1e-3, "loss": "Crossentropy", "width": 8},
    {"train.learning_rate": 1e-2, "loss": "DiceFocal"},
]
VALUES = [0.2, 0.5, 0.4]


@pytest.mark.parametrize(
    ("maximize", "best"), [(True, [0.2, 0.5, 0.5]), (False, [0.2, 0.2, 0.2])]
)
def test_the_history_draws_the_best_so_far(maximize, best):
    done = dict(zip((0, 2, 3), VALUES, strict=True))
    figure = plots.search_history(done, {1: 0.1}, label="score", maximize=maximize)
    (ax,) = figure.axes
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [0, 2, 3]
    assert line.get_ydata().tolist() == best
    drawn = np.concatenate([points.get_offsets() for points in ax.collections])
    assert drawn.tolist() == [[0, 0.2], [2, 0.5], [3, 0.4], [1, 0.1]]


def test_each_parameter_has_a_panel_with_the_trials_that_have_it():
    figure = plots.parameter_slices(
        PARAMS, VALUES, label="score", log=["train.learning_rate"], best=1
    )
    rate, loss, width = figure.axes
    assert rate.get_xscale() == "log" and rate.get_title(loc="left") == "learning rate"
    points, ring = (found.get_offsets().tolist() for found in rate.collections)
    assert points == [[1e-4, 0.2], [1e-3, 0.5], [1e-2, 0.4]] and ring == [[1e-3, 0.5]]
    assert [t.get_text() for t in loss.get_xticklabels()] == [
        "Crossentropy",
        "DiceFocal",
    ]
    assert loss.collections[0].get_offsets()[:, 0].tolist() == [1, 0, 1]
    assert len(width.collections[0].get_offsets()) == 1


def test_lines_run_between_the_ends_of_each_rail():
    figure = plots.parallel_coordinates(PARAMS, VALUES, log=["train.learning_rate"])
    lines = [x.get_ydata() for x in figure.axes[0].lines if len(x.get_ydata()) == 4]
    by_score = {round(float(y[-1]), 3): y for y in lines}
    # By logarithm 1e-3 lies in the middle; the worst score is 0, the best 1.
    assert by_score[0.0][0] == 0 and by_score[1.0][0] == pytest.approx(0.5)
    assert by_score[1.0][1] == 0 and np.isnan(by_score[0.0][2])


def test_the_front_is_numbered_in_its_order():
    points = {0: (0.5, 10.0), 1: (0.4, 5.0), 2: (0.3, 9.0)}
    figure = plots.pareto_front(points, [0, 1], ("score", "cost"))
    (ax,) = figure.axes
    assert ax.lines[0].get_xdata().tolist() == [5.0, 10.0]
    assert [text.get_text() for text in ax.texts] == ["1", "0"]


def test_the_most_important_stands_on_top():
    figure = plots.parameter_importance({"a": 0.1, "b": 0.9})
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "b",
        "0.90",
        "a",
        "0.10",
    ]


@pytest.mark.parametrize(
    ("draw", "empty"),
    [
        (plots.search_history, ({},)),
        (plots.parameter_importance, ({},)),
        (plots.parameter_slices, ([], [])),
        (plots.parallel_coordinates, ([{}], [])),
        (plots.pareto_front, ({}, [], ("a", "b"))),
    ],
)
def test_nothing_is_not_drawn(draw, empty):
    with pytest.raises(ValueError, match="must hold"):
        draw(*empty)
