"""Lines between two surfaces: planted ones, every path counted, and what is refused."""

import itertools
import tracemalloc

import numpy as np
import pytest

from arcticdl.inference import LineRule, trace_between, trace_line
from arcticdl.inference.lines import draw_line
from arcticdl.metrics.fronts import front_distance
from arcticdl.metrics.lines import _best_crossing, _sides

CLASSES = ("background", "front", "sea", "ice")
SIDES = LineRule("front", ("sea", "ice"))


def planted(rows, first, *, shape=(120, 90), strip=30, sure=0.8):
    """Probabilities of four classes around a line of one row a column, and the line."""
    prob = np.zeros((*shape, 4))
    path = []
    for col, row in enumerate(rows, first):
        prob[max(0, row - strip) : row, col, 2] = sure
        prob[row + 1 : row + 1 + strip, col, 3] = sure
        prob[row - 1 : row + 2, col, 1] = 0.3
        path.append((row, col))
    prob[..., 0] = 1 - prob[..., 1:].sum(-1)
    return prob, draw_line(np.array(path), shape)


def test_a_planted_line_is_found_with_both_its_ends():
    rows = [int(50 + 12 * np.sin(col / 9)) for col in range(60)]
    prob, line = planted(rows, 15)
    path, confidence = trace_between(*np.moveaxis(prob[..., 1:], -1, 0))
    found = front_distance(draw_line(path, line.shape), line)
    assert found["mean"] < 0.7  # equal contrasts made it climb each step in turn: 0.87
    assert abs(path[0, 1] - 15) <= 3
    assert abs(path[-1, 1] - 74) <= 3
    assert 0.6 < confidence <= 0.8
    steps = np.abs(np.diff(path, axis=0)).max(1)
    assert (steps == 1).all()
    assert len(np.unique(path, axis=0)) == len(path)


def test_a_surer_line_with_one_surface_on_both_sides_is_not_taken():
    prob, line = planted([70] * 60, 15)
    prob[20:60, :, 2] = 0.9  # melange
    prob[35:38, 5:85] = (0.0, 0.95, 0.05, 0.0)  # the edge of a floe in it
    assert np.median(trace_line(prob[..., 1])[0][:, 0]) == 36
    path, _ = LineRule("front", ("sea", "ice")).trace(prob, CLASSES)
    assert front_distance(draw_line(path, line.shape), line)["mean"] < 0.5


def test_a_flank_is_climbed():
    rows = [30] * 30 + [75] * 30
    prob, line = planted(rows, 15)
    for row in range(31, 75):
        line[row, 45] = True
        prob[row, 15:45, 2:] = (0.0, 0.8)
        prob[row, 45:75, 2:] = (0.8, 0.0)
        prob[row, 45, 1:3] = (0.3, 0.0)
    path, _ = trace_between(*np.moveaxis(prob[..., 1:], -1, 0))
    assert front_distance(draw_line(path, line.shape), line)["mean"] < 1


def test_sides_the_wrong_way_round_are_no_line():
    prob, _ = planted([60] * 60, 15)
    assert not len(trace_between(prob[..., 1], prob[..., 3], prob[..., 2])[0])


def every_path(gain, along):
    """The most that any path gains, by going through all of them."""

    def onward(col, enter):
        most = -np.inf
        for leave in range(gain.shape[0]):
            way = range(enter, leave, 1 if leave > enter else -1)
            step = 1 if leave > enter else -1
            paid = gain[enter, col] + sum(along[row + step, col] for row in way)
            beyond = 0.0
            if col + 1 < gain.shape[1]:
                there = {leave - 1, leave, leave + 1} & set(range(gain.shape[0]))
                beyond = max(0.0, *(onward(col + 1, row) for row in there))
            most = max(most, paid + beyond)
        return most

    starts = itertools.product(range(gain.shape[1]), range(gain.shape[0]))
    return max(onward(col, row) for col, row in starts)


@pytest.mark.parametrize("seed", range(5))
def test_no_path_of_all_earns_more(seed):
    rng = np.random.default_rng(seed)
    gain, along = rng.normal(0, 1, (2, 4, 5))
    path = _best_crossing(gain, along)
    entered = [True, *(np.diff(path[:, 1]) == 1)]
    values = [
        gain[r, c] if new else along[r, c]
        for (r, c), new in zip(path, entered, strict=True)
    ]
    assert sum(values) == pytest.approx(every_path(gain, along))


def test_where_nothing_divides_there_is_no_line():
    empty = np.zeros((30, 40))
    path, confidence = trace_between(empty, empty, empty)
    assert (len(path), confidence) == (0, 0.0)
    assert len(trace_between(np.full((30, 40), np.nan), empty, empty)[0]) == 0


def test_a_line_goes_on_along_a_faint_edge_as_long_as_that_pays():
    prob, _ = planted([60] * 60, 15)
    prob[30:60, 40:75, 2], prob[61:91, 40:75, 3] = 0.45, 0.45  # rock, taken for ice
    prob[59:62, 40:75, 1] = 0.1
    told = {"name": "front", "between": ["sea", "ice"]}
    ends = {
        toll: LineRule.read(told | {"toll": toll}).trace(prob, CLASSES).path[-1, 1]
        for toll in (0.4, 0.7)
    }
    assert abs(ends[0.4] - 74) <= 3
    assert abs(ends[0.7] - 40) <= 3


def test_a_line_of_little_confidence_is_rejected():
    prob, _ = planted([60] * 60, 15, sure=0.5)
    told = {"name": "front", "between": ["sea", "ice"]}
    kept = LineRule.read(told).trace(prob, CLASSES)
    assert len(kept.path)
    strict = LineRule.read(told | {"min_confidence": 0.6}).trace(prob, CLASSES)
    assert not len(strict.path)
    assert strict.told == kept.told
    assert kept.told["confidence"] == pytest.approx(0.5, abs=0.05)


def test_a_faint_line_is_still_a_line():
    prob, line = planted([60] * 60, 15, sure=0.15)
    prob[..., 1] *= 0.2
    path, told = LineRule("front", ("sea", "ice")).trace(prob, CLASSES)
    assert front_distance(draw_line(path, line.shape), line)["mean"] < 1
    assert told["confidence"] < 0.16


def test_a_rule_without_sides_traces_the_class_itself():
    prob, _ = planted([60] * 60, 15)
    path, told = LineRule.read("front").trace(prob, CLASSES)
    expected, threshold = trace_line(prob[..., 1])
    np.testing.assert_array_equal(path, expected)
    assert told == {"threshold": threshold}


def test_a_faint_line_of_the_class_itself_is_rejected_by_its_level():
    prob = np.zeros((40, 60, 4))
    prob[19:22, 5:55, 1] = 0.12
    assert LineRule("front").trace(prob, CLASSES).told == {"threshold": 0.1}
    for least, points in ((0.1, True), (0.15, False)):
        rule = LineRule("front", min_confidence=least)
        traced = rule.trace(prob, CLASSES)
        assert bool(len(traced.path)) is points
        assert traced.told == {"threshold": 0.1}


def test_of_two_edges_with_the_right_sides_the_longer_and_surer_is_taken():
    """Where the ends of the line run into land, and another edge is there as well."""
    prob, line = planted([80] * 60, 15)
    prob[:, :15] = prob[:, 75:] = (1, 0, 0, 0)  # land
    prob[12:30, 20:45] = (0.4, 0, 0.6, 0)  # a cloud, taken for a glacier in part
    prob[31:48, 20:45] = (0.4, 0, 0, 0.6)
    path, _ = SIDES.trace(prob, CLASSES)
    assert front_distance(draw_line(path, line.shape), line)["mean"] < 0.5
    prob[:, 40:50] = np.nan  # void is crossed, at the rows beside it
    path, _ = SIDES.trace(prob, CLASSES)
    found = front_distance(draw_line(path, line.shape), line)
    assert found["mean"] < 1 and found["max"] < 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trace_between(*np.zeros((3, 4, 4)), width_px=0), "`width_px` must be"),
        (lambda: trace_between(*np.zeros((2, 4, 4)), np.zeros((4, 5))), "one shape"),
        (lambda: trace_between(*np.zeros((3, 4, 4)), toll=2), "`toll` must be above 0"),
        (lambda: LineRule("front", ("sea", "ice"), toll=0), "`toll` must be above 0"),
        (lambda: LineRule("front", ("front", "ice")), "other than its own"),
        (lambda: LineRule("front", ("sea", "ice"), min_confidence=2), "from 0 to 1"),
        (lambda: LineRule("front", ("sea", "rock")).check(CLASSES), "rock"),
        (lambda: SIDES.head_of({"a": ("front",), "b": ("sea", "ice")}), "'sea'"),
        (lambda: SIDES.head_of({"a": ("sea", "ice")}), "'front'"),
    ],
)
def test_what_makes_no_line_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("width_px", [1, 4, 7, 90])
@pytest.mark.parametrize("axis", [0, 1])
def test_sides_are_means_of_what_lies_before_and_behind(width_px, axis):
    field = np.random.default_rng(width_px).random((23, 31)).astype("float32")
    found = _sides(field, axis, width_px)
    lines = np.moveaxis(field.astype(float), axis, 0)
    for place in range(len(lines)):
        before = lines[max(0, place - width_px) : place].sum(0) / width_px
        behind = lines[place + 1 : place + 1 + width_px].sum(0) / width_px
        for side, own in zip(found, (before, behind), strict=True):
            assert side.dtype == np.float32
            np.testing.assert_allclose(np.take(side, place, axis), own, atol=1e-6)


def test_maps_of_a_scene_are_held_in_single_precision():
    prob, line = planted([400] * 800, 50, shape=(900, 900))
    fields = [np.ascontiguousarray(prob[..., k], "float32") for k in (1, 2, 3)]
    del prob
    tracemalloc.start()
    path, _ = trace_between(*fields)
    peak = tracemalloc.get_traced_memory()[1] / line.size
    tracemalloc.stop()
    assert front_distance(draw_line(path, line.shape), line)["mean"] < 0.5
    assert peak < 90  # bytes a pixel; in double precision it took 152
