"""Reanalysis: the nearest time within a limit, and winds on a scene's axes."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl import check_scene
from arcticdl.errors import BandNotFoundError, SceneError, SourceError
from arcticdl.grid import align_reanalysis, stack
from arcticdl.scene import grid_coords
from arcticdl.sources import open_reanalysis, open_scene

HOURS = np.array(["2022-04-13T12", "2022-04-13T15", "2022-04-13T18"], "datetime64[ns]")


def era5(path, axis="valid_time", hours=HOURS, engine="h5netcdf", **more):
    """ERA5-like: eastward wind, temperature by latitude plus hours past noon."""
    lat, lon = np.arange(90.0, 59.0, -1.0), np.arange(0.0, 360.0)
    shape = len(hours), len(lat), len(lon)
    dims = (axis, "latitude", "longitude")
    past = (hours - HOURS[0]) / np.timedelta64(1, "h")
    t2m = np.broadcast_to(lat[:, None] + past[:, None, None], shape)
    wind = {"units": "m s**-1"}
    data = {
        "u10": (dims, np.full(shape, 5, "f4"), wind),
        "v10": (dims, np.zeros(shape, "f4"), wind),
        "t2m": (dims, t2m.astype("f4"), {"units": "K"}),
    }
    coords = {
        axis: (axis, hours),
        "latitude": ("latitude", lat, {"units": "degrees_north"}),
        "longitude": ("longitude", lon, {"units": "degrees_east"}),
    }
    xr.Dataset(data, coords | more).to_netcdf(path, engine=engine)
    return path


def make_scene(corner, time="2022-04-13T14:10:00Z", size=8, pixel=1000.0):
    box = GeoBox((size, size), Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), 3413)
    image = np.zeros((1, size, size), "f4")
    attrs = {"scene_id": "s"} | ({"time": time} if time else {})
    scene = xr.Dataset({"image": (("band", "y", "x"), image)},
                       {**grid_coords(box), "band": ["HH"]}, attrs)  # fmt: skip
    return check_scene(scene)


@pytest.mark.parametrize("axis", ["valid_time", "time"])
@pytest.mark.parametrize(
    ("wanted", "hour", "gap_s"),
    [("2022-04-13T14:10Z", 15, 3000), ("2022-04-13 17:00+02:00", 15, 0),
     ("2022-04-13T13:30", 12, -5400), ("2022-04-13T20:00", 18, -7200)],
)  # fmt: skip
def test_the_nearest_time_is_taken(tmp_path, axis, wanted, hour, gap_s):
    scene = open_reanalysis(era5(tmp_path / "e.nc", axis), wanted)
    assert list(scene["band"].values) == ["u10", "v10", "t2m"]
    assert scene.attrs["time"] == f"2022-04-13T{hour}:00:00Z"
    assert scene.attrs["time_gap_s"] == gap_s
    t2m = scene["image"].sel(band="t2m").values
    np.testing.assert_allclose(t2m[:, 7], np.arange(90, 59, -1) + hour - 12)
    assert scene["y"].values[0] == 90 and scene["x"].values[-1] == 359


def test_a_limit_is_kept(tmp_path):
    path = era5(tmp_path / "e.nc")
    with pytest.raises(SourceError, match=r"3 times from.*3\.50 h off"):
        open_reanalysis(path, "2022-04-13T21:30")
    assert open_reanalysis(path, "2022-04-13T21:30", max_gap_h=4).attrs[
        "time_gap_s"
    ] == (-12600)
    one = era5(tmp_path / "one.nc", hours=HOURS[:1])
    assert open_reanalysis(one, "2022-04-13T12:30").attrs["time_gap_s"] == -1800
    with pytest.raises(SourceError, match=r"nearest 24\.00 h off"):
        open_reanalysis(one, "2022-04-14T12:00")
    forecast = era5(tmp_path / "f.nc", time=((), HOURS[0]))
    assert open_reanalysis(forecast, HOURS[2]).attrs["time"] == "2022-04-13T18:00:00Z"


@pytest.mark.parametrize(
    ("corner", "expected"),
    [((-4e3, -2e6), (5, 0)), ((2e6, 4e3), (0, 5)), ((-4e3, 2e6), (-5, 0)),
     ((-2e6, 4e3), (0, -5))],
)  # fmt: skip
def test_winds_turn_to_the_axes_of_the_scene(tmp_path, corner, expected):
    """East is along x at 45 W, along y at 45 E, and so on round the pole."""
    scene = make_scene(corner)
    weather = align_reanalysis(era5(tmp_path / "e.nc"), scene, bands=["u10", "v10"])
    assert weather["valid"].values.all()
    found = weather["image"].values
    np.testing.assert_allclose(found[0], expected[0], atol=0.02)
    np.testing.assert_allclose(found[1], expected[1], atol=0.02)
    both = stack([scene, weather])
    assert list(both["band"].values) == ["HH", "u10", "v10"]
    assert both.attrs["scene_id"] == "s"


def test_temperature_over_the_pole_and_greenwich(tmp_path):
    scene = make_scene((-8e5, 8e5), size=16, pixel=1e5)
    weather = align_reanalysis(era5(tmp_path / "e.nc"), scene, bands=["t2m"])
    assert weather["valid"].values.mean() > 0.95
    middle = weather["image"].values[0, 7:9, 7:9]
    assert (np.abs(middle - 92.4) < 0.3).all()  # 89.4 degrees north, 3 h past noon


def test_a_swath_takes_east_and_north(tmp_path):
    lat, lon = np.meshgrid(np.linspace(70, 75, 9), np.linspace(-60, -20, 11),
                           indexing="ij")  # fmt: skip
    swath = xr.Dataset(
        {"image": (("band", "y", "x"), np.zeros((1, 9, 11), "f4"))},
        {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon), "band": ["HH"],
         "y": np.arange(9) + 0.5, "x": np.arange(11) + 0.5},
        {"scene_id": "s", "time": "2022-04-13T15:00:00Z"},
    )  # fmt: skip
    weather = align_reanalysis(era5(tmp_path / "e.nc"), swath)
    assert weather["valid"].values.all()
    np.testing.assert_allclose(weather["image"].values[0], 5, atol=1e-5)
    np.testing.assert_allclose(weather["image"].values[2], lat + 3, atol=1e-3)


def test_zarr_and_old_netcdf_open_as_well(tmp_path):
    path = era5(tmp_path / "e.nc")
    xr.open_dataset(path).to_zarr(tmp_path / "e.zarr", consolidated=False)
    for kind in (tmp_path / "e.zarr", era5(tmp_path / "old.nc", engine="scipy")):
        assert open_reanalysis(kind, HOURS[1])["image"].shape == (3, 31, 360)
    plain = open_scene(path, time_index=1, bands=["t2m"])
    same = open_reanalysis(path, HOURS[1], bands=["t2m"])
    np.testing.assert_array_equal(plain["image"].values, same["image"].values)


def test_wrong_requests_are_refused(tmp_path):
    path = era5(tmp_path / "e.nc")
    with pytest.raises(ValueError, match="`max_gap_h`"):
        open_reanalysis(path, HOURS[0], max_gap_h=-1)
    with pytest.raises(SceneError, match="`time` must be a time"):
        open_reanalysis(path, "noon")
    with pytest.raises(SceneError, match="attribute `time`"):
        align_reanalysis(path, make_scene((0, 0), time=None))
    with pytest.raises(BandNotFoundError, match="sst"):
        open_reanalysis(path, HOURS[0], bands=["sst"])
    with pytest.raises(FileNotFoundError, match="no file"):
        open_reanalysis(tmp_path / "no.nc", HOURS[0])
    xr.Dataset({"a": (("y", "x"), np.zeros((3, 4)))}).to_netcdf(tmp_path / "p.nc")
    with pytest.raises(SourceError, match="time axis"):
        open_reanalysis(tmp_path / "p.nc", HOURS[0])
    odd = {"time": ("time", [1.0, 2.0], {"units": "moons since the flood"})}
    fields = {"a": (("time", "y", "x"), np.zeros((2, 3, 4)))}
    xr.Dataset(fields, odd).to_netcdf(tmp_path / "o.nc")
    with pytest.raises(SourceError, match=r"'time' of .*o.nc, units 'moons"):
        open_reanalysis(tmp_path / "o.nc", HOURS[0])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("numbers", [[1, 5], [5, 1], None])
def test_final_and_preliminary_data_are_merged(tmp_path, packed, numbers):
    """ERA5 (expver 1) ends within the file and ERA5T (5) goes on from there."""
    lat, lon = np.arange(90.0, 59.0, -1.0), np.arange(0.0, 360.0)
    t2m = np.full((3, 2, 31, 360), np.nan, "f4")
    t2m[:2, 0], t2m[1:, 1] = 250.0, 260.0
    t2m[1, 0, :, 10:] = np.nan  # both, each with a part of the field
    order = [0, 1] if numbers != [5, 1] else [1, 0]
    dims = ("time", "expver", "latitude", "longitude")
    data = xr.Dataset(
        {"t2m": (dims, t2m[:, order], {"units": "K"}), "sst": (dims, t2m[:, order])},
        {
            "time": HOURS,
            "latitude": ("latitude", lat, {"units": "degrees_north"}),
            "longitude": ("longitude", lon, {"units": "degrees_east"}),
        }
        | ({"expver": numbers} if numbers else {}),
    )
    how = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 250.0,
           "_FillValue": np.int16(-32767)}  # fmt: skip
    encoding = {"t2m": how, "sst": how} if packed else {}
    data.to_netcdf(tmp_path / "e.nc", encoding=encoding)
    for hour, expected in ((0, 250.0), (2, 260.0)):
        scene = open_reanalysis(tmp_path / "e.nc", HOURS[hour])
        assert list(scene["band"].values) == ["t2m", "sst"]
        assert scene["valid"].values.all()
        np.testing.assert_allclose(scene["image"].values, expected, atol=1e-3)
    mixed = open_reanalysis(tmp_path / "e.nc", HOURS[1], bands=["t2m"])
    assert mixed["valid"].values.all()
    found = mixed["image"].values[0]
    np.testing.assert_allclose(found[:, :10], 250.0, atol=1e-3)
    np.testing.assert_allclose(found[:, 10:], 260.0, atol=1e-3)
    np.testing.assert_allclose(mixed["image"].values[0, 3:5, 8:12], found[3:5, 8:12])
