import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcticdl.tiles import plan_tiles

sides = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 15), st.integers(1, 15))
def test_padded_tiles_cover_every_pixel_exactly_once(height, width, tall, wide):
    plan = plan_tiles((height, width), (tall, wide), edge="pad")
    assert (plan.coverage() == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["shift", "pad"]))
def test_cut_tiles_reassemble_exactly(data, edge):
    size = (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))
    least = (1, 1) if edge == "pad" else size
    shape = tuple(data.draw(st.integers(side, 30)) for side in least)
    overlap = data.draw(st.integers(0, min(size) - 1))
    plan = plan_tiles(shape, size, overlap_px=overlap, edge=edge)
    scene = np.arange(shape[0] * shape[1] * 2).reshape(*shape, 2)
    assert (plan.coverage() >= 1).all()
    assert np.array_equal(plan.reassemble(plan.cut(scene)), scene)


def test_edges_by_hand():
    assert plan_tiles((5, 5), 2).starts[:3].tolist() == [[0, 0], [0, 2], [0, 3]]
    assert len(plan_tiles((5, 5), 2, edge="drop")) == 4
    assert plan_tiles((5, 5), 2, edge="pad").starts[-1].tolist() == [4, 4]
    assert plan_tiles((300, 200), (300, 200)).starts.tolist() == [[0, 0]]
    assert plan_tiles((8, 8), 4, overlap_px=2).starts[:3, 1].tolist() == [0, 2, 4]


def test_a_padded_tile_is_filled_outside():
    plan = plan_tiles((3, 3), 2, edge="pad")
    tiles = plan.cut(np.ones((3, 3), "int64"), fill=255)
    assert tiles[3].tolist() == [[1, 255], [255, 255]]


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((3, 9), {"tile_size_px": 4}, "4 x 4 px and the scene of 3 x 9 px"),
        ((9, 9), {"tile_size_px": 0}, "`tile_size_px`"),
        ((9, 9), {"tile_size_px": (4, 4, 4)}, "`tile_size_px`"),
        ((9, 9), {"tile_size_px": 2.5}, "`tile_size_px`"),
        ((9, 9), {"tile_size_px": 4, "overlap_px": 4}, "`overlap_px`"),
        ((9, 9), {"tile_size_px": 4, "overlap_px": -1}, "`overlap_px`"),
        ((9, 9), {"tile_size_px": 4, "edge": "crop"}, "drop"),
    ],
)
def test_bad_plans_are_refused(shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_tiles(shape, **arguments)


def test_tiles_of_another_plan_are_not_reassembled():
    plan = plan_tiles((4, 4), 2)
    with pytest.raises(ValueError, match="of this plan"):
        plan.reassemble(np.zeros((3, 2, 2)))
