"""CF files: values, flags, grids and swaths."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from pyproj import CRS, Transformer

from arcticdl import open_scene
from arcticdl.errors import BandNotFoundError, SourceError
from arcticdl.grid import align
from arcticdl.scene import is_swath, scene_geobox
from arcticdl.sources.core.cf import PackedVariable

HUGHES = (
    "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +a=6378273 +b=6356889.449 +units=m"
)


def cdr_like(path, engine="h5netcdf"):
    """A small file with the attributes of the NOAA/NSIDC sea-ice record."""
    stored = np.array(
        [[0, 15, 100, 99], [251, 252, 253, 254], [255, 50, 101, 30]], "u1"
    )
    conc = {
        "_FillValue": np.uint8(255), "scale_factor": np.float32(0.01), "units": "1",
        "valid_range": np.array([0, 100], "u1"), "grid_mapping": "projection",
        "flag_values": np.array([251, 252, 253, 254, 255], "u1"),
        "flag_meanings": "pole_hole lakes coastal land_mask missing_data",
    }  # fmt: skip
    wrong_cf = {
        "spatial_ref": CRS.from_user_input(HUGHES).to_wkt(),
        "grid_mapping_name": "polar_stereographic",
        "straight_vertical_longitude_from_pole": 135.0,
    }
    x = 25e3 * np.arange(4, dtype="float32") - 3837500
    y = 5837500 - 25e3 * np.arange(3, dtype="float32")
    data = {
        "cdr_seaice_conc": (("tdim", "y", "x"), stored[None], conc),
        "qa": (("tdim", "y", "x"), stored[None], {"flag_masks": [1, 2]}),
        "spread": (("tdim", "y", "x"), np.where(stored > 250, -1, 2.0)[None],
                   {"_FillValue": -1.0}),
        "projection": ((), b"", wrong_cf),
        "xgrid": (("x",), x, {"standard_name": "projection_x_coordinate"}),
        "ygrid": (("y",), y, {"standard_name": "projection_y_coordinate"}),
        "time": (("tdim",), [153800.0], {"units": "days since 1601-01-01"}),
    }  # fmt: skip
    xr.Dataset(data, attrs={"sensor": "SSMIS"}).to_netcdf(path, engine=engine)
    return path, stored


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_flags_are_void_with_a_reason(tmp_path, engine):
    path, stored = cdr_like(tmp_path / "cdr.nc", engine)
    scene = open_scene(path)
    assert list(scene["band"].values) == ["cdr_seaice_conc"]
    usable = stored <= 100
    assert (scene["valid"].values == usable).all()
    conc = scene["image"].values[0]
    assert conc.dtype == np.float32 and np.isnan(conc[~usable]).all()
    np.testing.assert_allclose(conc[usable], stored[usable] * 0.01, rtol=1e-6)
    names = scene["reason"].attrs["flag_meanings"].split()
    told = [[names[code] for code in row] for row in scene["reason"].values]
    assert told[1] == ["pole_hole", "lakes", "coastal", "land_mask"]
    assert told[2] == ["missing_data", "usable", "missing", "usable"]
    assert scene.attrs["sensor"] == "SSMIS"
    assert scene.attrs["time"] == "2022-02-03T00:00:00Z"


def test_hughes_ellipsoid_survives(tmp_path):
    path, _ = cdr_like(tmp_path / "cdr.nc")
    grid = scene_geobox(open_scene(path))
    assert grid.crs.proj.ellipsoid.semi_major_metre == 6378273.0
    assert grid.transform.c == -3850000 and grid.transform.f == 5850000
    lon, lat = Transformer.from_crs(grid.crs.proj, HUGHES_LL, always_xy=True).transform(
        0.0, -2e6
    )
    assert abs(lon + 45) < 1e-9 and 70 < lat < 73


HUGHES_LL = "+proj=longlat +a=6378273 +b=6356889.449"


def test_any_variable_can_be_asked_for(tmp_path):
    path, stored = cdr_like(tmp_path / "cdr.nc")
    scene = open_scene(path, bands=["qa", "spread"], band_names={"qa": "quality"})
    assert list(scene["band"].values) == ["quality", "spread"]
    assert (scene["image"].values[0] == stored).all()
    assert (scene["valid"].values == (stored <= 250)).all()
    with pytest.raises(BandNotFoundError, match="cdr_seaice_conc"):
        open_scene(path, bands=["ice"])
    label = open_scene(path, bands=["spread"], labels={"sic": path})["sic"]
    np.testing.assert_allclose(label.values[0], [0, 0.15, 1, 0.99], rtol=1e-6)
    assert np.isnan(label.values[1]).all()


def test_kilometres_and_osi_saf_names(tmp_path):
    data = {
        "ice_conc": (("time", "yc", "xc"), np.array([[[1000, -32767], [500, 0]]], "i2"),
                     {"scale_factor": 0.1, "_FillValue": np.int16(-32767), "units": "%",
                      "grid_mapping": "crs"}),
        "status_flag": (("time", "yc", "xc"), np.zeros((1, 2, 2), "u1"),
                        {"flag_meanings": "a b", "flag_values": [0, 1]}),
        "crs": ((), 0, {"proj4_string": "+proj=laea +lat_0=90 +lon_0=0 +ellps=WGS84",
                        "grid_mapping_name": "lambert_azimuthal_equal_area"}),
        "xc": (("xc",), [-12.5, 12.5], {"units": "km",
                                        "standard_name": "projection_x_coordinate"}),
        "yc": (("yc",), [12.5, -12.5], {"units": "km",
                                        "standard_name": "projection_y_coordinate"}),
        "lat": (("yc", "xc"), np.full((2, 2), 89.9), {"units": "degrees_north"}),
        "lon": (("yc", "xc"), np.zeros((2, 2)), {"units": "degrees_east"}),
    }  # fmt: skip
    xr.Dataset(data).to_netcdf(tmp_path / "osi.nc")
    scene = open_scene(tmp_path / "osi.nc")
    assert list(scene["band"].values) == ["ice_conc"]
    assert scene["image"].attrs["units"] == "%"
    grid = scene_geobox(scene)
    assert (grid.transform.a, grid.transform.c) == (25000, -25000)
    np.testing.assert_allclose(scene["image"].values[0], [[100, np.nan], [50, 0]])


def test_swath_lonlat_and_plain(tmp_path):
    row, col = np.indices((30, 40), dtype="float64")
    lat = 75 + 0.01 * row
    lon = np.mod(179.8 + 0.02 * col + 180, 360) - 180  # over the antimeridian
    tb = (("line", "sample"), (100 + row).astype("f4"), {"units": "K"})
    at = {
        "latitude": (("line", "sample"), lat, {"units": "degrees_north"}),
        "longitude": (("line", "sample"), lon, {"units": "degrees_east"}),
    }
    xr.Dataset({"tb": tb, **at}).to_netcdf(tmp_path / "swath.nc")
    swath = open_scene(tmp_path / "swath.nc")
    assert is_swath(swath) and list(swath["band"].values) == ["tb"]
    aligned = align(swath, crs="EPSG:3413", resolution_m=1000.0)
    found = aligned["image"].values[0][aligned["valid"].values]
    x, y = np.meshgrid(aligned["x"].values, aligned["y"].values)
    lat_true = Transformer.from_crs(3413, 4326, always_xy=True).transform(x, y)[1]
    expected = 100 + (lat_true[aligned["valid"].values] - 75) / 0.01
    assert len(found) > 500 and np.abs(found - expected).max() < 0.05

    era = {"t2m": (("time", "latitude", "longitude"), np.ones((2, 3, 4), "f4"),
                   {"units": "K"})}  # fmt: skip
    coords = {
        "latitude": ("latitude", [80.0, 79.75, 79.5], {"units": "degrees_north"}),
        "longitude": (
            "longitude",
            [359.5, 359.75, 0.0, 0.25],
            {"units": "degrees_east"},
        ),
        "time": ("time", np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]")),
    }
    xr.Dataset(era, coords).to_netcdf(tmp_path / "era.nc")
    with pytest.raises(SourceError, match="time_index"):
        open_scene(tmp_path / "era.nc")
    scene = open_scene(tmp_path / "era.nc", time_index=1)
    assert scene.attrs["time"] == "2020-01-02T00:00:00Z"
    np.testing.assert_allclose(scene["x"].values, [359.5, 359.75, 360.0, 360.25])

    xr.Dataset({"a": (("p", "q"), np.zeros((3, 4)))}).to_netcdf(tmp_path / "plain.nc")
    assert open_scene(tmp_path / "plain.nc").attrs["georeferenced"] is False


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_and_levels(tmp_path, version):
    coords = {"level": [850, 500], "x": [0.0, 1.0, 2.0], "y": [1.0, 0.0]}
    values = np.arange(12.0).reshape(2, 2, 3)
    store = tmp_path / "a.zarr"
    xr.Dataset({"q": (("level", "y", "x"), values)}, coords).to_zarr(
        store, zarr_format=version, consolidated=False
    )
    scene = open_scene(store, bands=["q_500"])
    assert (scene["image"].values[0] == values[1]).all()
    assert list(open_scene(store)["band"].values) == ["q_850", "q_500"]


def test_stored_numbers_are_compared_not_values():
    attrs = {"_Unsigned": "true", "scale_factor": 0.5, "valid_max": np.int8(-56)}
    packed = PackedVariable(
        "v", xr.Variable(("y", "x"), np.array([[-56, -55, 10]], "i1"), attrs)
    )
    whole = slice(0, 1), slice(0, 3)
    np.testing.assert_array_equal(packed.read(*whole), [[100, np.nan, 5]])
    assert packed.read_valid(*whole).tolist() == [[True, False, True]]


def test_broken_files_are_refused(tmp_path):
    path, _ = cdr_like(tmp_path / "cdr.nc")
    cut = tmp_path / "cut.nc"
    cut.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SourceError, match=r"cut\.nc"):
        open_scene(cut)
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "line.nc")
    with pytest.raises(SourceError, match="two dimensions"):
        open_scene(tmp_path / "line.nc")
    uneven = {"a": (("y", "x"), np.zeros((2, 3)), {"grid_mapping": "crs"}),
              "crs": ((), 0, {"crs_wkt": CRS(3413).to_wkt()})}  # fmt: skip
    coords = {"x": [0.0, 1.0, 5.0], "y": [0.0, 1.0]}
    xr.Dataset(uneven, coords).to_netcdf(tmp_path / "uneven.nc")
    with pytest.raises(SourceError, match="regular x"):
        open_scene(tmp_path / "uneven.nc")
    bad = {**uneven, "crs": ((), 0, {"grid_mapping_name": "flat_earth"})}
    xr.Dataset(bad, {"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0]}).to_netcdf(
        tmp_path / "crs.nc"
    )
    with pytest.raises(SourceError, match="no CRS"):
        open_scene(tmp_path / "crs.nc")


def test_a_scene_of_one_band_keeps_its_name_through_netcdf(tmp_path):
    profile = {"driver": "GTiff", "height": 4, "width": 5, "count": 1}
    with rasterio.open(
        tmp_path / "a.tif", "w", **profile, dtype="float32", crs="EPSG:3413",
        transform=Affine(100, 0, 0, 0, -100, 0),
    ) as file:  # fmt: skip
        file.write(np.arange(20, dtype="float32").reshape(1, 4, 5))
        file.set_band_description(1, "HH")
    scene = open_scene(tmp_path / "a.tif")
    scene.to_netcdf(tmp_path / "b.nc")
    again = open_scene(tmp_path / "b.nc")
    assert list(again["band"].values) == ["HH"]
    np.testing.assert_array_equal(again["image"].values, scene["image"].values)
    assert scene_geobox(again) == scene_geobox(scene)
