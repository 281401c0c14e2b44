"""Gaps that are marked: where, how far, in which bands, and by any window the same."""

import numpy as np
import pytest
import xarray as xr

from arcticdl.derived import mark_gaps
from arcticdl.errors import SceneError
from arcticdl.scene import check_scene


def scene_of(valid, bands=("B03", "HH")):
    rng = np.random.default_rng(0)
    image = rng.integers(1, 99, (len(bands), *valid.shape)).astype("uint16")
    return xr.Dataset(
        {"image": (("band", "y", "x"), image), "valid": (("y", "x"), valid)},
        {
            "band": list(bands),
            "y": np.arange(valid.shape[0]) + 0.5,
            "x": np.arange(valid.shape[1]) + 0.5,
        },
        {"georeferenced": False, "scene_id": "a", "time": "", "sensor": ""},
    )


def clouded(seed=0, size=40):
    valid = np.ones((size, size), bool)
    valid[5:25, 8:30] = False
    return valid


def test_bands_have_gaps_and_others_see_through():
    valid = clouded()
    scene = scene_of(valid)
    found = check_scene(mark_gaps(scene, ["B03"], reach_px=99))
    assert found["band"].values.tolist() == ["B03", "HH", "gap"]
    green, radar, gap = found["image"].values
    np.testing.assert_array_equal(gap, ~valid)
    assert np.isnan(green[~valid]).all() and found["valid"].values.all()
    np.testing.assert_array_equal(green[valid], scene["image"].values[0][valid])
    np.testing.assert_array_equal(radar, scene["image"].values[1])


def test_what_lies_deeper_than_the_reach_stays_void():
    valid = clouded()
    found = mark_gaps(scene_of(valid), ["B03"], reach_px=4)["valid"].values
    y, x = np.nonzero(valid)
    rows, cols = np.mgrid[:40, :40]
    near = np.hypot(rows[..., None] - y, cols[..., None] - x).min(-1) <= 4
    np.testing.assert_array_equal(found, near)
    assert not found.all()


def test_any_window_reads_the_same():
    scene = scene_of(clouded())
    hidden = np.zeros((40, 40), bool)
    hidden[30:38, 2:9] = True
    whole = mark_gaps(
        scene, ["B03"], reach_px=3, hidden=lambda rows, cols: hidden[rows, cols]
    )
    assert whole["image"].values[2].sum() == hidden.sum() + (~clouded()).sum()
    for part in ({"y": slice(0, 7), "x": slice(3, 20)}, {"y": slice(20, 40)}):
        window, loaded = whole.isel(part), whole.compute().isel(part)
        for name in ("image", "valid"):
            np.testing.assert_array_equal(window[name].values, loaded[name].values)


def test_gaps_that_cannot_be_are_refused():
    scene = scene_of(clouded())
    with pytest.raises(ValueError, match=r"`reach_px` must be at least 1.*Received: 0"):
        mark_gaps(scene, ["B03"], reach_px=0)
    with pytest.raises(ValueError, match="B3"):
        mark_gaps(scene, ["B3"])
    with pytest.raises(SceneError, match="name of its own"):
        mark_gaps(mark_gaps(scene, ["B03"]), ["B03"])


def test_a_scene_under_clouds_altogether_stays_void():
    found = mark_gaps(scene_of(np.zeros((8, 8), bool)), ["B03"])
    assert not found["valid"].values.any()
