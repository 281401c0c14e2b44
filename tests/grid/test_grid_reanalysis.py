"""Winds of any weather file on a scene's pixels; right values by pyproj."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from arcticdl.errors import BandNotFoundError, SourceError
from arcticdl.grid import align_reanalysis
from arcticdl.scene import check_scene, grid_coords
from arcticdl.sources import open_reanalysis
from arcticdl.sources.formats.winds import CARRA, find_vectors, lies_on_carra

OTHER = "+proj=lcc +lat_1=77.5 +lat_2=77.5 +lat_0=77.5 +lon_0=-25 +R=6371000"
TIME = "2022-11-30T06:00:00Z"
CF = ("eastward_wind", "northward_wind")
MODEL = ("x_wind", "y_wind")


def weather(path, crs, place, *, names=("u10", "v10"), standard=CF, mapped=False,
            step=2500.0, u=10.0, v=0.0, **attrs):  # fmt: skip
    """Wind on 40 x 40 points of a model's map, whose middle lies at a place."""
    x0, y0 = Transformer.from_crs(4326, crs, always_xy=True).transform(*place)
    x, y = (c + step * (np.arange(40) - 20) for c in (x0, y0))
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(
        *np.meshgrid(x, y)
    )
    one = np.ones((1, 40, 40), "f4")
    dims = ("time", "y", "x")
    data = xr.Dataset(
        {names[0]: (dims, u * one), names[1]: (dims, v * one)},
        {
            "time": np.array(["2022-11-30T06"], "M8[ns]"),
            "latitude": (("y", "x"), lat, {"units": "degrees_north"}),
            "longitude": (("y", "x"), lon % 360, {"units": "degrees_east"}),
        },
    )
    for name, said in zip(names, standard, strict=True):
        data[name].attrs |= {"standard_name": said} if said else {}
        data[name].attrs |= attrs
    if mapped:
        data = data.drop_vars(["latitude", "longitude"]).assign_coords(
            x=("x", x, {"units": "m", "standard_name": "projection_x_coordinate"}),
            y=("y", y, {"units": "m", "standard_name": "projection_y_coordinate"}),
            map=((), 0, {"crs_wkt": CRS(crs).to_wkt()}),
        )
        for name in names:
            data[name].attrs["grid_mapping"] = "map"
    data.to_netcdf(path)
    return path


def make_scene(place, crs="EPSG:3413"):
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*place)
    box = GeoBox((8, 8), Affine(2e3, 0, x - 8e3, 0, -2e3, y + 8e3), crs)
    image = np.zeros((1, 8, 8), "f4")
    return check_scene(
        xr.Dataset(
            {"image": (("band", "y", "x"), image)},
            {**grid_coords(box), "band": ["HH"]},
            {"scene_id": "s", "time": TIME},
        )
    )


def direction(crs, place, dx=0.0, dy=0.0, lonlat=False):
    """Direction in EPSG:3413 of a short step along a map's axes, or true east."""
    if lonlat:
        geod = CRS("EPSG:4326").get_geod()
        ends = [place, geod.fwd(*place, np.degrees(np.arctan2(dx, dy)), 100.0)[:2]]
        crs = 4326
    else:
        x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*place)
        ends = [(x, y), (x + dx, y + dy)]
    to_plane = Transformer.from_crs(crs, 3413, always_xy=True)
    (x0, y0), (x1, y1) = (to_plane.transform(*end) for end in ends)
    return np.degrees(np.arctan2(y1 - y0, x1 - x0))


def error_deg(found, want):
    u, v = found["image"].values[:, 4, 4]
    assert found["valid"].values.all()
    assert abs(np.hypot(u, v) - 10.0) < 0.01
    return abs((np.degrees(np.arctan2(v, u)) - want + 180) % 360 - 180)


WEST, EAST = (-61.8, 71.1), (15.0, 77.0)


@pytest.mark.parametrize("place", [WEST, EAST])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("standard", [CF, MODEL, ("", "")])
def test_winds_of_carra_lie_along_its_map(tmp_path, place, mapped, standard):
    path = weather(tmp_path / "c.nc", CARRA, place, standard=standard, mapped=mapped)
    found = align_reanalysis(path, make_scene(place))
    assert error_deg(found, direction(CARRA, place, dx=100.0)) < 0.1
    assert found.attrs["vector_frame"] == "grid"
    assert found.attrs["vector_frame_of_file"] == "grid"
    assert found.attrs["vector_frame_from"] == "the map of CARRA"


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("standard", "frame"),
    [
        (MODEL, "grid"),
        (("grid_eastward_wind", "grid_northward_wind"), "grid"),
        (CF, "east_north"),
    ],
)
def test_standard_names_of_another_model_are_taken_at_their_word(
    tmp_path, mapped, standard, frame
):
    names = ("x_wind_10m", "y_wind_10m")
    path = weather(tmp_path / "m.nc", OTHER, WEST, names=names, standard=standard,
                   mapped=mapped, v=3.0, u=np.sqrt(91.0))  # fmt: skip
    found = align_reanalysis(path, make_scene(WEST))
    step = {"dx": np.sqrt(91.0) * 10, "dy": 30.0}
    want = direction(OTHER, WEST, lonlat=frame == "east_north", **step)
    assert error_deg(found, want) < 0.1
    assert found.attrs["vector_frame_of_file"] == frame
    assert standard[0] in found.attrs["vector_frame_from"]
    opened = open_reanalysis(path, TIME)
    assert opened.attrs["vector_frame"] == frame


@pytest.mark.parametrize(("flag", "frame"), [(1, "grid"), (0, "east_north")])
def test_the_flag_of_grib_goes_before_names_that_its_converter_gave(
    tmp_path, flag, frame
):
    path = weather(tmp_path / "g.nc", OTHER, WEST, GRIB_uvRelativeToGrid=flag)
    found = align_reanalysis(path, make_scene(WEST))
    want = direction(OTHER, WEST, dx=100.0, lonlat=frame == "east_north")
    assert error_deg(found, want) < 0.1


@pytest.mark.parametrize(
    "more", [{"standard": ("", "")}, {"GRIB_gridType": "lambert"},
             {"standard": ("eastward_wind", "y_wind")}],
)  # fmt: skip
def test_what_nothing_tells_is_refused_until_the_caller_does(tmp_path, more):
    path = weather(tmp_path / "m.nc", OTHER, WEST, **more)
    scene = make_scene(WEST)
    with pytest.raises(SourceError, match=r"Pass `vector_frame`: 'east_north', or"):
        align_reanalysis(path, scene)
    assert "vector_frame" not in open_reanalysis(path, TIME).attrs
    for frame in ("grid", "east_north"):
        found = align_reanalysis(path, scene, vector_frame=frame)
        want = direction(OTHER, WEST, dx=100.0, lonlat=frame == "east_north")
        assert error_deg(found, want) < 0.1
        assert found.attrs["vector_frame_from"] == "the caller"
    with pytest.raises(ValueError, match=r"vector_frame.*Did you mean 'grid'"):
        align_reanalysis(path, scene, vector_frame="grids")


def test_one_component_alone_is_refused(tmp_path):
    path = weather(tmp_path / "m.nc", OTHER, WEST, standard=MODEL)
    with pytest.raises(BandNotFoundError, match=r"Both components.*\['u10'\] alone"):
        align_reanalysis(path, make_scene(WEST), bands=["u10"])


def test_winds_of_a_model_are_east_and_north_on_a_swath(tmp_path):
    path = weather(tmp_path / "m.nc", OTHER, WEST, standard=MODEL, mapped=True)
    lon, lat = np.meshgrid(WEST[0] + np.array([-0.1, 0, 0.1]), WEST[1] + np.zeros(3))
    swath = xr.Dataset(
        {"image": (("band", "y", "x"), np.zeros((1, 3, 3), "f4"))},
        {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon), "band": ["HH"]},
        {"scene_id": "s", "time": TIME},
    )
    found = align_reanalysis(path, swath)
    u, v = found["image"].values[:, 1, 1]
    x, y = Transformer.from_crs(4326, OTHER, always_xy=True).transform(*WEST)
    back = Transformer.from_crs(OTHER, 4326, always_xy=True)
    (lon0, lat0), (lon1, lat1) = back.transform(x, y), back.transform(x + 100, y)
    azimuth = CRS("EPSG:4326").get_geod().inv(lon0, lat0, lon1, lat1)[0]
    assert abs(np.degrees(np.arctan2(u, v)) - azimuth) < 0.2  # sphere and ellipsoid
    assert found.attrs["vector_frame"] == "east_north"
    assert found.attrs["vector_frame_of_file"] == "grid"


def test_components_pair_up_by_standard_name_and_level():
    names = {
        "x_wind_10m": "x_wind", "x_wind_100m": "x_wind", "y_wind_100m": "y_wind",
        "y_wind_10m": "y_wind", "taux": "surface_downward_x_stress",
        "tauy": "surface_downward_y_stress", "t2m": "air_temperature",
        "ice_v": "northward_sea_ice_velocity", "u10": "", "v10": "",
    }  # fmt: skip
    image = np.zeros((len(names), 4, 4))
    box = GeoBox((4, 4), Affine(1, 0, 0, 0, -1, 80), "EPSG:4326")
    scene = xr.Dataset(
        {"image": (("band", "y", "x"), image)},
        {"band": list(names), **grid_coords(box)},
    )
    raw = xr.Dataset({n: ((), 0, {"standard_name": s}) for n, s in names.items()})
    found = find_vectors(scene, raw)
    assert set(found.pairs) == {
        ("x_wind_10m", "y_wind_10m"), ("x_wind_100m", "y_wind_100m"),
        ("taux", "tauy"), ("u10", "v10"),
    }  # fmt: skip
    assert found.lone == ("ice_v",)
    assert found.frame == "east_north"


def test_only_the_map_of_carra_is_taken_for_it(tmp_path):
    for crs, step, expected in (
        (CARRA, 2500.0, True), (CARRA, 5000.0, True), (CARRA, 1800.0, False),
        (OTHER, 2500.0, False),
    ):  # fmt: skip
        path = weather(tmp_path / "a.nc", crs, EAST, step=step)
        assert lies_on_carra(open_reanalysis(path, TIME)) is expected
