"""HDF-EOS: grids, swaths and their numbers, from files written here."""

from contextlib import ExitStack

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr

from arcticdl import open_scene
from arcticdl.errors import BandNotFoundError, SourceError
from arcticdl.grid import align
from arcticdl.scene import is_swath, scene_geobox
from arcticdl.sources.hdfeos.fields import field_bands, scaling_of
from arcticdl.sources.hdfeos.hdf4 import read_hdf4, split_subdataset

SINUSOIDAL = "(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)"
CORE = """
GROUP = RANGEDATETIME
 OBJECT = RANGEBEGINNINGDATE
  NUM_VAL = 1
  VALUE = "2022-04-13"
 END_OBJECT = RANGEBEGINNINGDATE
 OBJECT = RANGEBEGINNINGTIME
  VALUE = "15:07:59.123"
 END_OBJECT = RANGEBEGINNINGTIME
 OBJECT = ASSOCIATEDPLATFORMSHORTNAME
  VALUE = "Terra"
 END_OBJECT = ASSOCIATEDPLATFORMSHORTNAME
 OBJECT = ASSOCIATEDSENSORSHORTNAME
  VALUE = "MODIS"
 END_OBJECT = ASSOCIATEDSENSORSHORTNAME
END_GROUP = RANGEDATETIME
"""


def grid_text(number=1, name="G", shape=(10, 12), corners=None, projection="SNSOID",
              params=SINUSOIDAL):  # fmt: skip
    left, right = corners or ("-1111950.5,8895604.0", "-999950.5,8795604.0")
    return f"""
	GROUP=GRID_{number}
		GridName="{name}"
		XDim={shape[1]}
		YDim={shape[0]}
		UpperLeftPointMtrs=({left})
		LowerRightMtrs=({right})
		Projection=HE5_GCTP_{projection}
		ProjParams={params}
		SphereCode=-1
		GridOrigin=HE5_HDFE_GD_UL
	END_GROUP=GRID_{number}"""


def swath_text(lat_shape, step=None, shape=(10, 12)):
    dims = ("gTrack", "gXtrack") if step else ("nTrack", "nXtrack")
    sizes = dict(zip(("nTrack", "nXtrack"), shape, strict=True))
    sizes |= dict(zip(dims, lat_shape, strict=True))
    listed = "".join(
        f'OBJECT=D\n DimensionName="{k}"\n Size={v}\nEND_OBJECT=D\n'
        for k, v in sizes.items()
    )
    maps = "" if step is None else "".join(
        f'GeoDimension="g{d}"\n DataDimension="n{d}"\n Offset={step[0]}\n '
        f"Increment={step[1]}\n" for d in ("Track", "Xtrack")
    )  # fmt: skip
    return f"""
	GROUP=SWATH_1
		SwathName="S1"
		{listed}{maps}
		GeoFieldName="Latitude"
		DimList=("{dims[0]}","{dims[1]}")
	END_GROUP=SWATH_1
"""


def write(path, structure, fields, core=CORE):
    """``fields``: path below HDFEOS to (data, attributes)."""
    with h5py.File(path, "w") as file:
        info = file.create_group("HDFEOS INFORMATION")
        info["StructMetadata.0"] = np.bytes_(structure)
        info["CoreMetadata.0"] = np.bytes_(core)
        for name, (data, attrs) in fields.items():
            file[f"HDFEOS/{name}"] = data
            for key, value in attrs.items():
                file[f"HDFEOS/{name}"].attrs[key] = value
    return path


RED = np.arange(120, dtype="i2").reshape(10, 12) * 100
RED[0, 0], RED[0, 1], RED[0, 2] = -28672, 16001, -101
MOD09 = {
    "scale_factor": 0.0001, "add_offset": 0.0, "_FillValue": np.int16(-28672),
    "valid_range": np.array([-100, 16000], "i2"), "units": np.bytes_("reflectance"),
}  # fmt: skip


def reflectance(path, name="G", **more):
    base = f"GRIDS/{name}/Data Fields"
    return write(path, grid_text(name=name), {
        f"{base}/red": (RED, MOD09),
        f"{base}/QF1": (RED.astype("u1"), {"units": "bit field"}),
        f"{base}/line": (np.zeros(7), {}),
        **more,
    })  # fmt: skip


def test_a_grid_gives_values_and_its_projection(tmp_path):
    scene = open_scene(reflectance(tmp_path / "a.h5"))
    assert list(scene["band"].values) == ["red"]
    void = np.zeros((10, 12), bool)
    void[0, :3] = True
    assert (scene["valid"].values == ~void).all()
    image = scene["image"].values[0]
    np.testing.assert_allclose(image[~void], RED[~void] * 1e-4, rtol=1e-6)
    assert image.dtype == np.float32 and np.isnan(image[void]).all()
    assert scene["image"].attrs["units"] == "1"
    box = scene_geobox(scene)
    assert "sinu" in box.crs.to_wkt().lower() or "Sinusoidal" in box.crs.to_wkt()
    assert (box.transform.c, box.transform.f) == (-1111950.5, 8895604.0)
    assert box.transform.a == pytest.approx(112000 / 12) and box.transform.e == -10000
    assert scene.attrs["time"] == "2022-04-13T15:07:59Z"
    assert scene.attrs["sensor"] == "Terra MODIS"
    raw = open_scene(tmp_path / "a.h5", scaling="none", bands=["red", "QF1"])
    assert (raw["image"].values[0][~void] == RED[~void]).all()
    assert (raw["valid"].values == ~void).all()


def test_an_ice_grid_of_the_pole(tmp_path):
    """The northern 12.5 km grid of NSIDC, as AMSR products write it."""
    text = grid_text(
        name="NpPolarGrid12km", shape=(896, 608), projection="PS",
        corners=("-3850000.0,5850000.0", "3750000.0,-5350000.0"),
        params="(6378273.0,-0.006694,0,0,-45000000,70000000,0,0,0,0,0,0,0)",
    )  # fmt: skip
    data = np.zeros((896, 608), "i4")
    data[0, :5] = 0, 100, 55, 110, 120
    told = {"units": np.bytes_("percent"), "comment": np.bytes_(
        "data value meaning: 0 -- Open Water, 110 -- missing/not calculated, 120 -- "
        "Land")}  # fmt: skip
    path = write(tmp_path / "n.he5", text, {
        "GRIDS/NpPolarGrid12km/Data Fields/ICECON": (data, told)})  # fmt: skip
    scene = open_scene(path)
    assert scene.valid[0, :5].values.tolist() == [True, True, True, False, False]
    assert scene.valid[1:].values.all() and scene.image[0, 0, 2] == 55
    box = scene_geobox(scene)
    assert box.transform.a == 12500 and box.transform.e == -12500
    assert box.crs.proj.ellipsoid.semi_major_metre == 6378273.0
    assert box.crs.proj.ellipsoid.semi_minor_metre == pytest.approx(6356889, abs=10)
    to_degrees = rasterio.warp.transform(box.crs.to_wkt(), "EPSG:4326", [0], [-2e6])
    assert to_degrees[0][0] == pytest.approx(-45)


def test_degrees_are_unpacked(tmp_path):
    text = grid_text(
        projection="GEO",
        params="(0)",
        corners=("-45030000.0,80000000.0", "-39030000.0,75000000.0"),
    )
    path = write(tmp_path / "g.h5", text,
                 {"GRIDS/G/Data Fields/a": (np.zeros((10, 12), "f4"), {})})  # fmt: skip
    box = scene_geobox(open_scene(path))
    assert (box.transform.c, box.transform.f) == (-45.5, 80.0)
    assert (box.transform.a, box.transform.e) == (0.5, -0.5)


def test_level_1b_bands_have_scales_of_their_own(tmp_path):
    numbers = np.arange(240, dtype="u2").reshape(2, 10, 12) * 100
    numbers[0, 3, 4], numbers[1, 3, 5] = 65535, 32768
    attrs = {
        "reflectance_scales": np.array([1e-4, 2e-4]),
        "reflectance_offsets": np.array([10.0, 0.0]),
        "_FillValue": np.uint16(65535), "valid_range": np.array([0, 32767], "u2"),
        "band_names": np.bytes_("8,9"),
    }  # fmt: skip
    lat = np.linspace(75, 76, 120).reshape(10, 12).astype("f4")
    path = write(tmp_path / "s.h5", swath_text((10, 12)), {
        "SWATHS/S1/Data Fields/EV": (numbers, attrs),
        "SWATHS/S1/Geolocation Fields/Latitude": (lat, {}),
        "SWATHS/S1/Geolocation Fields/Longitude": (lat - 60, {}),
    })  # fmt: skip
    scene = open_scene(path)
    assert list(scene["band"].values) == ["EV_8", "EV_9"] and is_swath(scene)
    image = scene["image"].values
    np.testing.assert_allclose(image[0, 5], (numbers[0, 5] - 10.0) * 1e-4, rtol=1e-5)
    np.testing.assert_allclose(image[1, 5], numbers[1, 5] * 2e-4, rtol=1e-5)
    assert np.argwhere(~scene["valid"].values).tolist() == [[3, 4], [3, 5]]
    np.testing.assert_array_equal(scene["lat"].values, lat)
    assert open_scene(path, bands=["EV_9"])["valid"].values.sum() == 119


def test_tie_points_are_interpolated(tmp_path):
    rows, cols = np.meshgrid(np.arange(30), np.arange(25), indexing="ij")
    lat, lon = 75 + 0.01 * rows, -20 + 0.03 * cols
    ties = np.ix_(np.arange(2, 30, 5), np.arange(2, 25, 5))
    path = write(tmp_path / "t.h5", swath_text((6, 5), (2, 5), (30, 25)), {
        "SWATHS/S1/Data Fields/a": (np.zeros((30, 25), "f4"), {}),
        "SWATHS/S1/Geolocation Fields/Latitude": (lat[ties], {}),
        "SWATHS/S1/Geolocation Fields/Longitude": (lon[ties], {}),
    })  # fmt: skip
    scene = open_scene(path)
    np.testing.assert_allclose(scene["lat"].values, lat, atol=1e-4)
    np.testing.assert_allclose(scene["lon"].values, lon, atol=1e-3)


@pytest.mark.parametrize("fill", [np.nan, -999.0])
def test_pixels_around_a_lost_tie_point_have_no_position(tmp_path, fill):
    rows, cols = np.meshgrid(np.arange(30), np.arange(25), indexing="ij")
    lat, lon = 75 + 0.01 * rows, -20 + 0.03 * cols
    ties = np.ix_(np.arange(2, 30, 5), np.arange(2, 25, 5))
    lat_ties, lon_ties = lat[ties].copy(), lon[ties].copy()

    def written(name):
        return write(tmp_path / name, swath_text((6, 5), (2, 5), (30, 25)), {
            "SWATHS/S1/Data Fields/a": (np.ones((30, 25), "f4"), {}),
            "SWATHS/S1/Geolocation Fields/Latitude": (lat_ties, {}),
            "SWATHS/S1/Geolocation Fields/Longitude": (lon_ties, {}),
        })  # fmt: skip

    whole = open_scene(written("whole.h5"))
    lat_ties[2, 3] = lon_ties[2, 3] = fill  # of line 12 and column 17
    scene = open_scene(written("gap.h5"))
    lost = (rows >= 7) & (rows < 17) & (cols >= 12)  # the last column of cells goes on
    for name, right in (("lat", lat), ("lon", lon)):
        found = scene[name].values
        assert (np.isnan(found) == lost).all()
        np.testing.assert_allclose(found[~lost], right[~lost], atol=1e-3)
    counts = [
        align(each, crs="EPSG:3413", resolution_m=300.0)["valid"].values.sum()
        for each in (scene, whole)
    ]
    # 10 x 13 of 30 x 25 pixels, and half a pixel around them.
    assert counts[0] / counts[1] == pytest.approx(1 - 11 * 13.5 / (29 * 24), abs=0.01)
    lat_ties[:] = np.nan
    with pytest.raises(SourceError, match="0 of 30 points"):
        open_scene(written("none.h5"))


@pytest.mark.parametrize(
    ("scaling", "is_hdf4", "factor", "offset", "expected"),
    [
        ("auto", True, 10000.0, 0.0, 0.05),
        ("auto", False, 10000.0, 0.0, 0.05),
        ("cf", True, 10000.0, 0.0, 5e6),
        ("auto", True, 0.01, 100.0, 4.0),
        ("auto", False, 0.01, 100.0, 105.0),
        ("hdf", False, 0.01, 100.0, 4.0),
        ("none", True, 0.01, 100.0, 500.0),
        ("auto", True, "n/a", "n/a", 500.0),
        (scaling_of("MOD11A1.A2020150.h18.061.hdf", "auto", is_hdf4=True), True, 0.002,
         0.49, 1.49),
    ],
)  # fmt: skip
def test_each_rule_of_scaling(scaling, is_hdf4, factor, offset, expected):
    attrs = {"scale_factor": factor, "add_offset": offset}
    stored = xr.Variable(("y", "x"), np.full((1, 1), 500, "i2"), attrs)
    band = field_bands("a", stored, scaling, is_hdf4=is_hdf4)["a"]
    found = band.read(slice(0, 1), slice(0, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_several_grids_need_a_name(tmp_path):
    text = grid_text(1, "N") + grid_text(2, "S", (5, 6))
    path = write(tmp_path / "two.h5", text, {
        "GRIDS/N/Data Fields/north": (np.ones((10, 12), "f4"), {}),
        "GRIDS/S/Data Fields/south": (np.ones((5, 6), "f4"), {}),
    })  # fmt: skip
    with pytest.raises(SourceError, match=r"`grid` must say.*\['N', 'S'\]"):
        open_scene(path)
    assert open_scene(path, grid="S")["image"].shape == (1, 5, 6)
    assert open_scene(path, bands=["north"])["image"].shape == (1, 10, 12)
    with pytest.raises(SourceError, match="`grid` must be one of"):
        open_scene(path, grid="T")
    with pytest.raises(BandNotFoundError, match="south"):
        open_scene(path, grid="S", bands=["north"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HE5_GCTP_SNSOID", "HE5_GCTP_SOM", "must lie in one of"),
        ("XDim=12", "XDim=0", "sides of 1"),
        ("XDim=12", "", "lacks the element XDim"),
        ("6371007.181000", "nothing", "numbers as ProjParams"),
        ("(6371007.181000", "(0", "SphereCode"),
        ("GROUP=GRID_1", "GROUP=POINT_1", "grid or a swath"),
        ("-999950.5,", "-1111950.5,", "extent"),
    ],
)
def test_damaged_structure_is_named(tmp_path, old, new, message):
    text = grid_text().replace(old, new)
    path = write(tmp_path / "a.h5", text,
                 {"GRIDS/G/Data Fields/a": (np.zeros((10, 12), "f4"), {})})  # fmt: skip
    with pytest.raises(SourceError, match=message):
        open_scene(path)


def test_other_gaps_are_named(tmp_path):
    path = write(tmp_path / "none.h5", grid_text(), {})
    with pytest.raises(SourceError, match="lacks the readable group"):
        open_scene(path)
    bad = {"scale_factor": np.bytes_("much")}
    zeros = np.zeros((10, 12), "i2")
    path = write(
        tmp_path / "b.h5", grid_text(), {"GRIDS/G/Data Fields/a": (zeros, bad)}
    )
    with pytest.raises(SourceError, match="numbers as scale_factor"):
        open_scene(path)
    with pytest.raises(ValueError, match="`scaling` must be"):
        open_scene(path, scaling="half")
    with pytest.raises(ValueError, match="`valid_from` must be"):
        open_scene(path, valid_from="most")
    short = {"reflectance_scales": np.array([1.0]), "reflectance_offsets": [0.0]}
    path = write(
        tmp_path / "c.h5",
        grid_text(),
        {"GRIDS/G/Data Fields/a": (np.zeros((2, 10, 12), "i2"), short)},
    )
    with pytest.raises(SourceError, match="each of its 2 bands"):
        open_scene(path)
    odd = write(tmp_path / "d.h5", grid_text(), {
        "GRIDS/G/Data Fields/a": (np.zeros((10, 12), "f4"), {})},
        core=CORE.replace("2022-04-13", "someday"))  # fmt: skip
    assert "time" not in open_scene(odd).attrs


def test_hdf4_without_its_driver_names_the_way_out(tmp_path):
    path = tmp_path / "MOD09GA.hdf"
    path.write_bytes(b"\x0e\x03\x13\x01" + bytes(200))
    with rasterio.Env() as env:
        if "HDF4" in env.drivers():
            pytest.skip("this GDAL reads HDF4")
    with pytest.raises(SourceError, match=r"conda-forge.*gdal_translate"):
        open_scene(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_subdatasets_of_gdal_become_fields(tmp_path):
    """The way of HDF4, walked with the driver of HDF5 that wheels have."""
    structure = grid_text().replace("SphereCode=-1", """SphereCode=-1
		GROUP=DataField
			OBJECT=DataField_1
				DataFieldName="red"
				DimList=("YDim","XDim")
			END_OBJECT=DataField_1
		END_GROUP=DataField""")  # fmt: skip
    path = write(tmp_path / "a.h5", structure, {
        "GRIDS/G/Data Fields/red": (RED, MOD09),
        "GRIDS/G/Data Fields/two": (np.ones((2, 10, 12), "i2"), {}),
    })  # fmt: skip
    with ExitStack() as stack:
        (part,) = read_hdf4(str(path), stack, driver="HDF5")
        assert part.name == "G" and sorted(part.fields) == ["red", "two"]
        assert part.fields["two"].shape == (2, 10, 12)
        band = field_bands("red", part.fields["red"], "auto", is_hdf4=True)["red"]
        window = slice(0, 3), slice(1, 5)
        plain = open_scene(path, bands=["red"]).isel(y=window[0], x=window[1])
        np.testing.assert_allclose(band.read(*window), plain["image"].values[0])
        assert (band.read_valid(*window) == plain["valid"].values).all()
    with ExitStack() as stack, pytest.raises(SourceError, match="lacks the driver"):
        read_hdf4(str(path), stack, driver="HDF4b")
    assert split_subdataset('HDF4_SDS:MODIS_L1B:"C:/a b.hdf":12')[1] == "12"
