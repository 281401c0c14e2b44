"""Validity told from values must be what GDAL's own masks say."""

import pickle

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from arcticdl.scene import read_values
from arcticdl.sources import open_scene
from arcticdl.sources.core import validity
from arcticdl.sources.core.raster import RasterFile
from arcticdl.sources.core.validity import RecentMasks, Sentinel, valid_pixels

ROWS, COLS = slice(3, 40), slice(5, 61)


def write(path, data, nodata=None, interleave="pixel"):
    count, height, width = data.shape
    profile = {
        "driver": "GTiff", "count": count, "height": height, "width": width,
        "dtype": data.dtype, "nodata": nodata, "interleave": interleave,
        "crs": "EPSG:3413", "transform": from_origin(0, 0, 40, 40),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(data)
    return path


def holey(dtype, nodata, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.integers(1, 200, (3, 48, 64)).astype(dtype)
    if nodata is not None:
        data[rng.random(data.shape) < 0.1] = nodata
    if np.dtype(dtype).kind == "f":
        data[rng.random(data.shape) < 0.05] = np.nan
        data[rng.random(data.shape) < 0.02] = np.inf
    return data


CASES = [
    ("uint8", None), ("uint8", 0), ("int16", -999), ("uint16", 0), ("int32", -9999),
    ("float32", None), ("float32", -9999), ("float32", 0), ("float32", np.nan),
    ("float32", -3.4028234663852886e38), ("float64", -1e10), ("float64", None),
]  # fmt: skip


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize(("dtype", "nodata"), CASES)
def test_values_tell_what_the_masks_of_gdal_tell(tmp_path, dtype, nodata, interleave):
    path = write(tmp_path / "a.tif", holey(dtype, nodata), nodata, interleave)
    with rasterio.open(path) as src:
        masks = src.read_masks() > 0
        data = src.read()
    wanted = masks & np.isfinite(data) if data.dtype.kind == "f" else masks
    for valid_from, joined in (("all", wanted.all(0)), ("any", wanted.any(0))):
        file = RasterFile(path, valid_from=valid_from)
        alone = file.read_valid([0, 1, 2], ROWS, COLS)
        pixels = file.read([0, 1, 2], ROWS, COLS)
        after = file.read_valid([0, 1, 2], ROWS, COLS)
        np.testing.assert_array_equal(pixels, data[:, ROWS, COLS])
        np.testing.assert_array_equal(alone, joined[ROWS, COLS])
        np.testing.assert_array_equal(after, joined[ROWS, COLS])
        assert pixels.dtype == data.dtype


def test_nodata_that_is_no_number_is_refused(tmp_path):
    """It was a defect, once the pixels were read."""
    write(tmp_path / "a.tif", np.ones((1, 64, 64), "u1"))
    np.save(tmp_path / "a.npy", np.ones((1, 2, 2)))
    for name in ("a.tif", "a.npy"):
        with pytest.raises(TypeError, match="`nodata` must be a number"):
            open_scene(tmp_path / name, nodata="abc")


def test_nodata_that_differs_by_rounding_is_nodata():
    near = np.nextafter(np.float32(-9999), np.float32(0))
    data = np.array([[[-9999.0, near, -9998.9, 1.0]]], "float32")
    found = valid_pixels(data, [Sentinel(-9999.0, True)], "all")
    assert found.tolist() == [[False, False, True, True]]
    exact = valid_pixels(data, [Sentinel(-9999.0)], "all")
    assert exact.tolist() == [[False, True, True, True]]


LEAST = np.finfo("float32").min


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (LEAST, -3.40282e38), (LEAST, -3.4e38), (LEAST, np.finfo("float64").min),
        (np.float32(1e20), np.float64(1e20)), (np.float32(0.1), np.float64(0.1)),
        (np.int16(-9999), -9999.0), (np.float32(9.96921e36), 9.96921e36),
    ],
)  # fmt: skip
def test_nodata_is_known_however_it_is_written(tmp_path, stored, told):
    """By the file, the caller, or the caller of an array; NaN is none of data too."""
    data = np.ones((1, 48, 64), stored.dtype)
    data[0, 0, :2] = stored, 7
    if data.dtype.kind == "f":
        data[0, 0, 2] = np.nan
    wanted = (data != stored) & np.isfinite(data)
    write(tmp_path / "told.tif", data, max(float(told), float(LEAST)))
    write(tmp_path / "not.tif", data)
    np.save(tmp_path / "a.npy", data[0])
    for name, options in (("told.tif", {}), ("not.tif", {"nodata": told}),
                          ("a.npy", {"nodata": told})):  # fmt: skip
        valid = open_scene(tmp_path / name, **options).valid.values
        np.testing.assert_array_equal(valid, wanted[0], err_msg=name)


def test_bands_may_have_nodata_values_of_their_own():
    data = np.array([[[0, 1, 2]], [[0, 1, 2]]], "int16")
    sentinels = [Sentinel(0.0), Sentinel(2.0)]
    assert valid_pixels(data, sentinels, "all").tolist() == [[False, True, False]]
    assert valid_pixels(data, sentinels, "any").tolist() == [[True, True, True]]
    assert valid_pixels(data, [Sentinel(), Sentinel(7.0)], "all").all()


def test_huge_numbers_are_valid_though_their_sum_is_infinite():
    data = np.full((1, 2, 2), 3e38, "float32")
    assert valid_pixels(data, [Sentinel()], "all").all()


def test_a_mask_is_kept_only_for_the_window_that_was_read(tmp_path):
    path = write(tmp_path / "a.tif", holey("float32", None))
    file = RasterFile(path)
    everywhere = file.read_valid([0, 1, 2], slice(0, 48), slice(0, 64))
    file.read([0, 1, 2], ROWS, COLS)
    other = file.read_valid([0, 1, 2], slice(0, 8), slice(0, 8))
    np.testing.assert_array_equal(other, everywhere[:8, :8])
    fewer = file.read_valid([1], ROWS, COLS)
    assert fewer.sum() > everywhere[ROWS, COLS].sum()


def test_what_a_caller_does_to_pixels_does_not_change_their_validity(tmp_path):
    path = write(tmp_path / "a.tif", holey("float32", None))
    scene = open_scene(path)
    valid = scene["valid"].values
    image = scene["image"].values
    image[:] = np.nan
    np.testing.assert_array_equal(scene["valid"].values, valid)


def test_masks_that_nobody_takes_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr(validity, "_MAX_BYTES", 10_000)
    path = write(tmp_path / "a.tif", holey("float32", None))
    files = [RasterFile(path) for _ in range(12)]
    for file in files:
        file.read_valid([0], ROWS, COLS)
        for top in range(4):
            file.read([0], slice(top, 40), COLS)
    assert 0 < sum(mask.size for mask in RecentMasks._kept.values()) <= 10_000
    np.testing.assert_array_equal(
        files[0].read_valid([0], slice(1, 40), COLS),
        files[-1].read_valid([0], slice(1, 40), COLS),
    )


def test_a_file_with_kept_masks_can_be_pickled(tmp_path):
    path = write(tmp_path / "a.tif", holey("float32", None))
    file = RasterFile(path)
    valid = file.read_valid([0], ROWS, COLS)
    file.read([0], ROWS, COLS)
    copy = pickle.loads(pickle.dumps(file))
    np.testing.assert_array_equal(copy.read_valid([0], ROWS, COLS), valid)


def test_pixels_lie_in_memory_as_in_the_file(tmp_path):
    data = holey("float32", None)
    by_pixel = open_scene(write(tmp_path / "a.tif", data))
    by_band = open_scene(write(tmp_path / "b.tif", data, interleave="band"))
    window = {"y": ROWS, "x": COLS}
    one = read_values(by_pixel["image"].isel(window), "y", "x", "band")
    two = read_values(by_band["image"].isel(window), "band", "y", "x")
    assert one.flags.c_contiguous
    assert two.flags.c_contiguous
    np.testing.assert_array_equal(one, np.moveaxis(two, 0, -1))
