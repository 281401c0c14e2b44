"""Scenes that are decoded once, within the memory that they may take."""

import weakref

import numpy as np
import pytest
import xarray as xr

from arcticdl.sources.core.lazy import WindowArray
from arcticdl.tiles.plan import plan_tiles
from arcticdl.tiles.writing import cut
from arcticdl.tiles.writing.cut import SceneCache, TileCutter, TileTable


@pytest.fixture
def decoded():
    """Numbers of the scenes that were read, in order."""
    return []


@pytest.fixture
def lazy_scenes(decoded):
    """Four scenes of 80 000 bytes."""

    def build(number):
        def read(bands, rows, cols):
            decoded.append(number)
            shape = (len(bands), rows.stop - rows.start, cols.stop - cols.start)
            return np.full(shape, float(number))

        image = WindowArray((1, 100, 100), "float64", read)
        return xr.Dataset({"image": image.variable(("band", "y", "x"))})

    return [build(number) for number in range(4)]


def test_a_scene_is_decoded_once_while_there_is_room(lazy_scenes, decoded):
    cache = SceneCache(lazy_scenes, 170_000)
    for number in (0, 1, 0, 1, 2, 1, 0):
        assert float(cache.get(number)["image"].max()) == number
    assert decoded == [0, 1, 2, 0]


def test_scenes_in_use_leave_no_room_for_others(lazy_scenes, decoded):
    cache = SceneCache(lazy_scenes, 170_000)
    held = [cache.get(0), cache.get(1)]
    assert cache.get(2) is lazy_scenes[2] and decoded == [0, 1]
    held.clear()
    assert cache.get(2) is cache.get(2) and decoded == [0, 1, 2]
    assert SceneCache(lazy_scenes, 150_000).get(3) is lazy_scenes[3]


def test_a_scene_takes_its_room_until_its_tiles_are_copied(
    lazy_scenes, decoded, monkeypatch
):
    cache = SceneCache(lazy_scenes, 170_000)
    table = TileTable(np.zeros(1, int), np.zeros((1, 2), int))
    plans = [plan_tiles((100, 100), 100)]
    cutter = TileCutter(cache, plans, table, {}, 1, np.dtype("float64"))
    copy, held = cut.copy_pixels, []

    def while_others_read(source, target):
        held.extend(cache.get(number) for number in (1, 2))
        copy(source, target)

    monkeypatch.setattr(cut, "copy_pixels", while_others_read)
    cutter.cut(np.array([0]))
    assert decoded == [0, 1] and held[1] is lazy_scenes[2]


def test_a_cache_that_goes_takes_its_scenes_with_it(lazy_scenes):
    cache = SceneCache(lazy_scenes)
    loaded = weakref.ref(cache.get(0))
    assert loaded() is not None
    del cache
    assert loaded() is None
