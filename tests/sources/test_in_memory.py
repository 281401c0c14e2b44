"""Datasets and arrays of xarray, in the layouts of the libraries that load them."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from pyproj import CRS

from arcticdl import open_scene
from arcticdl.errors import BandNotFoundError, SourceError
from arcticdl.scene import scene_geobox

UTM = CRS("EPSG:32633")
X = 400_000 + 10 * np.arange(40.0) + 5
Y = 8_000_000 - 10 * np.arange(30.0) - 5
BOX = (10, 0, 400_000, 0, -10, 8_000_000)
RNG = np.random.default_rng(5)
VALUES = RNG.integers(1, 3000, (3, 30, 40)).astype("u2")
TIME = np.array(["2022-04-13T15:07:59"], "M8[ns]")


def odc_stac(lazy=True):
    """``odc.stac.load(..., bands=["B03", "B04"])``."""
    values = VALUES.copy()
    values[:, :10] = 0
    arrays = [da.from_array(v[None], (1, 16, 16)) if lazy else v[None] for v in values]
    attrs = {"nodata": 0, "grid_mapping": "spatial_ref", "units": "1"}
    return xr.Dataset(
        {n: (("time", "y", "x"), a, attrs) for n, a in zip(("B03", "B04"), arrays,
                                                           strict=False)},
        {
            "y": ("y", Y, {"units": "metre", "crs": "EPSG:32633"}),
            "x": ("x", X, {"units": "metre", "crs": "EPSG:32633"}),
            "spatial_ref": ((), np.int32(32633), {"crs_wkt": UTM.to_wkt()}),
            "time": ("time", TIME),
        },
    )  # fmt: skip


def stackstac(xy="topleft"):
    """``stackstac.stack(..., xy_coords=xy)``."""
    half = 5 if xy == "topleft" else 0
    transform = Affine(*BOX)
    return xr.DataArray(
        da.from_array(VALUES[None].astype("f8"), (1, 1, 16, 16)),
        dims=("time", "band", "y", "x"),
        coords={
            "time": TIME,
            "id": ("time", ["S2A_x"]),
            "band": ["B02", "B03", "B04"],
            "x": X - half,
            "y": Y + half,
            "title": ("band", ["Blue", "Green", "Red"]),
            "epsg": 32633,
        },
        name="stackstac-0f1e",
        attrs={"crs": "epsg:32633", "transform": transform, "resolution": 10.0},
    )


def rioxarray(**attrs):
    """``rioxarray.open_rasterio("a.tif")``."""
    mapping = {"crs_wkt": UTM.to_wkt(), "spatial_ref": UTM.to_wkt(),
               "GeoTransform": "400000.0 10.0 0.0 8000000.0 0.0 -10.0"}  # fmt: skip
    return xr.DataArray(
        VALUES,
        dims=("band", "y", "x"),
        coords={"band": [1, 2, 3], "x": X, "y": Y,
                "spatial_ref": ((), np.int64(0), mapping)},
        attrs={"_FillValue": np.uint16(7), "scale_factor": 1.0, "add_offset": 0.0,
               **attrs},
    )  # fmt: skip


def on_the_grid(scene):
    box = scene_geobox(scene)
    return box.crs.epsg == 32633 and tuple(box.transform)[:6] == BOX


@pytest.mark.parametrize("lazy", [True, False])
def test_a_dataset_of_odc_stac_is_a_scene(lazy):
    scene = open_scene(odc_stac(lazy), scene_id="S2A", group="north")
    assert list(scene.band.values) == ["B03", "B04"] and on_the_grid(scene)
    assert (scene.attrs["scene_id"], scene.attrs["group"]) == ("S2A", "north")
    assert scene.attrs["time"] == "2022-04-13T15:07:59Z"
    assert scene.valid.values.tolist() == [[False] * 40] * 10 + [[True] * 40] * 20
    np.testing.assert_array_equal(scene.image.values[:, 10:], VALUES[:2, 10:])
    np.testing.assert_array_equal(scene.image[1, 12:15, 3:5], VALUES[1, 12:15, 3:5])


@pytest.mark.parametrize("xy", ["topleft", "center"])
def test_an_array_of_stackstac_lies_where_its_transform_says(xy):
    scene = open_scene(stackstac(xy), band_names={"B02": "blue"})
    assert list(scene.band.values) == ["blue", "B03", "B04"] and on_the_grid(scene)
    np.testing.assert_array_equal(scene.image.values, VALUES)
    cut = open_scene(stackstac(xy)[:, :, 3:, 5:])
    assert float(cut.x[0]) == X[5] and float(cut.y[0]) == Y[3]


def test_coordinates_that_contradict_the_transform_are_refused():
    array = stackstac().assign_coords(x=X - 3)
    with pytest.raises(SourceError, match="corners or centres"):
        open_scene(array)
    drifting = stackstac().assign_coords(x=np.linspace(X[0] - 5, X[-1] - 3, 40))
    np.testing.assert_allclose(open_scene(drifting).x, X)


def test_an_array_of_rioxarray_is_a_scene():
    scene = open_scene(rioxarray(long_name=("blue", "green", "red")))
    assert list(scene.band.values) == ["blue", "green", "red"] and on_the_grid(scene)
    np.testing.assert_array_equal(scene.valid.values, (VALUES != 7).all(0))
    assert list(open_scene(rioxarray()).band.values) == ["band_1", "band_2", "band_3"]
    lone = open_scene(rioxarray().isel(band=0, drop=True).rename("sic"))
    assert list(lone.band.values) == ["sic"] and lone.attrs["scene_id"] == "sic"


def test_a_decoded_dataset_keeps_its_flags_apart(tmp_path):
    stored = np.array([[0, 15, 100], [251, 252, 29]], "u1")
    attrs = {
        "scale_factor": np.float32(0.01),
        "units": "1",
        "flag_values": np.array([251, 252], "u1"),
        "flag_meanings": "pole lake",
    }
    xr.Dataset({"conc": (("y", "x"), stored, attrs)}).to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as decoded:
        scene = open_scene(decoded)
        assert scene.attrs["scene_id"] == "a"
        assert scene.valid.values.tolist() == [[True] * 3, [False, False, True]]


def test_a_scene_passes_as_it_is_and_gives_bands():
    scene = open_scene(odc_stac())
    again = open_scene(scene, bands=["B04"], band_names=["red"])
    assert list(again.band.values) == ["red"]
    np.testing.assert_array_equal(again.image.values[0, 10:], VALUES[1, 10:])
    with pytest.raises(BandNotFoundError):
        open_scene(scene, bands=["B08"])
    with pytest.raises(ValueError, match="Did you mean 'time_index'"):
        open_scene(odc_stac(), time_indx=0)


def test_several_times_are_chosen(tmp_path):
    both = xr.concat([odc_stac(), odc_stac().assign_coords(
        time=TIME + np.timedelta64(1, "D")) + np.uint16(1)], "time")  # fmt: skip
    for name in ("B03", "B04"):
        both[name].attrs = odc_stac()[name].attrs
    with pytest.raises(SourceError, match="`time_index` must be 0 to 1"):
        open_scene(both)
    scene = open_scene(both, time_index=1)
    assert scene.attrs["time"] == "2022-04-14T15:07:59Z"


def test_arrays_stack_and_label_as_files_do():
    label = rioxarray().isel(band=[0]).copy(data=(VALUES[:1] > 1500).astype("u1"))
    label.attrs = {}
    scene = open_scene(
        [odc_stac(), rioxarray()], labels={"bright": (label, ("dark", "bright"))}
    )
    assert list(scene.band.values) == ["B03", "B04", "band_1", "band_2", "band_3"]
    np.testing.assert_array_equal(scene.bright.values, VALUES[0] > 1500)


def test_a_mask_is_a_label_as_it_is():
    """A comparison gives booleans, which were no numbers."""
    image = rioxarray()
    mask = image.isel(band=0, drop=True) > 1500
    scene = open_scene(image, labels={"bright": (mask, ("dark", "bright"))})
    np.testing.assert_array_equal(scene.bright.values, image.values[0] > 1500)
    assert open_scene(mask)["image"].dtype == np.uint8
