"""NetCDF as people write it: right values and places, or a refusal that says why."""

import warnings

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from pyproj import CRS, Transformer

from arcticdl import open_scene
from arcticdl.errors import LabelError, SceneError, SourceError
from arcticdl.scene import is_swath, scene_geobox

POLAR = CRS("EPSG:3413")
IN_KM = CRS("+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84 +units=km")
NAMED = {"grid_mapping": "spatial_ref"}
MAPPING = {"spatial_ref": ((), 0, {"crs_wkt": POLAR.to_wkt()})}


def grid(variables, **coords):
    """Fields of 30 x 40 cells of 1 km."""
    x = np.arange(40) * 1000.0 + 500
    y = -np.arange(30) * 1000.0 - 500
    lines = {
        "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "m"}),
        "y": ("y", y, {"standard_name": "projection_y_coordinate", "units": "m"}),
    }
    return xr.Dataset(variables, {**lines, **coords})


def saved(path, dataset):
    dataset.to_netcdf(path)
    return path


def numbers(*shape):
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


@pytest.mark.parametrize(
    ("unit", "metres", "crs"),
    [
        ("m", 1, POLAR), ("km", 1e3, POLAR), ("100  km", 1e5, POLAR),
        ("1000 m", 1e3, POLAR), ("meters", 1, POLAR), ("mm", 1e-3, POLAR),
        ("km", 1e3, IN_KM), ("m", 1, IN_KM), ("", 1e3, IN_KM), ("", 1, POLAR),
    ],
)  # fmt: skip
def test_coordinates_are_read_in_their_own_unit(tmp_path, unit, metres, crs):
    x, y = (-475000 + 12500 * np.arange(40.0)), (-1e6 - 12500 * np.arange(30.0))
    attrs = {"units": unit} if unit else {}
    data = xr.Dataset(
        {"r": (("y", "x"), numbers(30, 40), {"grid_mapping": "g"})},
        {"x": ("x", x / metres, attrs), "y": ("y", y / metres, attrs),
         "g": ((), 0, {"crs_wkt": crs.to_wkt()})},
    )  # fmt: skip
    scene = open_scene(saved(tmp_path / "a.nc", data))
    here = Transformer.from_crs(scene_geobox(scene).crs.proj, 4326, always_xy=True)
    right = Transformer.from_crs(3413, 4326, always_xy=True)
    for row, col in ((0, 0), (29, 39)):
        found = here.transform(float(scene.x[col]), float(scene.y[row]))
        np.testing.assert_allclose(found, right.transform(x[col], y[row]), atol=1e-9)


@pytest.mark.parametrize("unit", ["kilo-meters", "pixel", "degrees", "hPa", "m" * 200])
def test_an_unknown_unit_of_coordinates_is_refused(tmp_path, unit):
    data = grid({"r": (("y", "x"), numbers(30, 40), NAMED)}, **MAPPING)
    data["x"].attrs["units"] = unit
    with pytest.raises(SourceError, match=r"Coordinate 'x' of .* some multiple of 'm'"):
        open_scene(saved(tmp_path / "a.nc", data))
    data["x"].attrs["units"] = "m"  # the way out that the message names
    assert float(open_scene(data).x[0]) == 500.0


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("degrees", 1), ("deg", 1), ("degrees north", 1), ("radians", 180 / np.pi)],
)
def test_positions_of_a_swath_are_read_in_their_own_unit(tmp_path, unit, factor):
    lat = 70 + 0.1 * np.arange(12.0).reshape(3, 4)
    planes = {
        name: (("line", "sample"), lat / factor, {"standard_name": standard,
                                                  "units": unit})
        for name, standard in (("lat", "latitude"), ("lon", "longitude"))
    }  # fmt: skip
    data = xr.Dataset({"t": (("line", "sample"), numbers(3, 4)), **planes})
    scene = open_scene(saved(tmp_path / "a.nc", data))
    np.testing.assert_allclose(scene.lat, lat, rtol=1e-12)


def test_packed_coordinates_are_unpacked(tmp_path):
    """As GOES stores its scan angles: short integers of radians."""
    fixed = {
        "grid_mapping_name": "geostationary", "perspective_point_height": 35786023.0,
        "semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.31414,
        "longitude_of_projection_origin": -75.0, "sweep_angle_axis": "x",
    }  # fmt: skip
    step, start = 5.6e-5, -0.0252
    packing = {"scale_factor": step, "add_offset": start, "units": "rad"}
    data = xr.Dataset(
        {"rad": (("y", "x"), numbers(20, 30), {"grid_mapping": "goes"})},
        {
            "x": ("x", np.arange(30, dtype="i2"), packing),
            "y": ("y", -np.arange(20, dtype="i2"), packing),
            "goes": ((), 0, fixed),
        },
    )
    scene = open_scene(saved(tmp_path / "goes.nc", data))
    metres = (start + step * np.arange(30)) * 35786023.0
    np.testing.assert_allclose(scene.x, metres, atol=1e-3)


def test_coordinates_of_32_bits_are_regular_but_for_rounding(tmp_path):
    """At 4000 km they round by 0.25 m, which is 0.025 of a pixel of 10 m."""
    data = grid({"sic": (("y", "x"), numbers(30, 40), NAMED), **MAPPING})
    right = 3_999_995.0 - 10.0 * np.arange(40) - 0.1
    data = data.assign_coords(x=("x", right.astype("f4"), data.x.attrs))
    scene = open_scene(saved(tmp_path / "a.nc", data))
    assert np.abs(scene.x.values - right).max() < 0.13
    assert abs(scene_geobox(scene).transform.a + 10.0) < 0.01
    bent = data.assign_coords(x=("x", right + np.arange(40) % 2, data.x.attrs))
    with pytest.raises(SourceError, match=r"regular x coordinates.*pass that to"):
        open_scene(saved(tmp_path / "b.nc", bent))


def test_a_gap_in_a_coordinate_is_refused(tmp_path):
    data = grid({"r": (("y", "x"), numbers(30, 40), NAMED)}, **MAPPING)
    data["x"].attrs["missing_value"] = 3500.0
    with pytest.raises(SourceError, match="some are missing"):
        open_scene(saved(tmp_path / "a.nc", data))


@pytest.mark.parametrize(
    "dims", [("y", "x", "band"), ("band", "y", "x"), ("x", "y", "band"),
             ("x", "band", "y")]
)  # fmt: skip
def test_axes_are_told_by_name_and_not_by_place(tmp_path, dims):
    values = numbers(30, 40, 3)
    turned = np.moveaxis(values, [("y", "x", "band").index(d) for d in dims], [0, 1, 2])
    data = grid({"sar": (dims, turned, NAMED)}, band=["HH", "HV", "VV"], **MAPPING)
    scene = open_scene(saved(tmp_path / "a.nc", data))
    assert list(scene.band.values) == ["sar_HH", "sar_HV", "sar_VV"]
    assert scene_geobox(scene).crs.epsg == 3413
    np.testing.assert_array_equal(scene.image.values, np.moveaxis(values, 2, 0))
    part = scene.image[1:, 3:9, 5:7].values
    np.testing.assert_array_equal(part, np.moveaxis(values, 2, 0)[1:, 3:9, 5:7])


def test_axes_are_told_by_cf_attributes_before_names(tmp_path):
    """Dimensions called b and a, of which ``axis`` says which is which."""
    values = numbers(4, 5)
    data = xr.Dataset(
        {"t": (("a", "b"), values)},
        {"a": ("a", np.arange(4.0), {"axis": "X"}),
         "b": ("b", np.arange(5.0), {"axis": "Y"})},
    )  # fmt: skip
    scene = open_scene(saved(tmp_path / "a.nc", data))
    np.testing.assert_array_equal(scene.image.values[0], values.T)


def test_an_order_that_nothing_tells_is_refused_or_told(tmp_path):
    data = xr.Dataset({"v": (("p", "q", "r"), numbers(3, 4, 5))})
    path = saved(tmp_path / "a.nc", data)
    with pytest.raises(SourceError, match=r"p: 3, q: 4, r: 5.*`dims=\(ROWS"):
        open_scene(path)
    scene = open_scene(path, dims=("r", "p"))
    assert list(scene.band.values) == ["v_0", "v_1", "v_2", "v_3"]
    np.testing.assert_array_equal(
        scene.image.values, numbers(3, 4, 5).transpose(1, 2, 0)
    )


def test_several_grids_are_settled_by_the_user_or_by_coordinates(tmp_path):
    bare = {"tb06": (("y6", "x6"), numbers(20, 20)), "tb36": (("y3", "x3"),
            numbers(40, 40))}  # fmt: skip
    path = saved(tmp_path / "a.nc", xr.Dataset(bare))
    with pytest.raises(SourceError, match=r"tb06.*tb36.*Name those of one by `bands`"):
        open_scene(path)
    np.testing.assert_array_equal(
        open_scene(path, bands=["tb06"]).image.values[0], numbers(20, 20)
    )
    with pytest.raises(SourceError, match="fields of one grid"):
        open_scene(path, bands=["tb06", "tb36"])
    mixed = {**bare, "sic": (("y", "x"), numbers(30, 40), NAMED)}
    scene = open_scene(saved(tmp_path / "b.nc", grid(mixed, **MAPPING)))
    assert list(scene.band.values) == ["sic"]


@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("file_format", ["NETCDF4", "NETCDF3_64BIT_DATA"])
def test_default_fill_is_missing_as_netcdf4_says(tmp_path, kind, file_format):
    with netCDF4.Dataset(tmp_path / "a.nc", "w", format=file_format) as file:
        file.createDimension("y", 16)
        file.createDimension("x", 16)
        file.createVariable("sst", kind, ("y", "x"))[:8] = 7
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        right = ~np.ma.getmaskarray(file["sst"][:])
    valid = open_scene(tmp_path / "a.nc").valid.values
    np.testing.assert_array_equal(valid, right)
    assert right[:8].all() and not right[8:].any()


@pytest.mark.parametrize("kind", ["i1", "u1"])
def test_bytes_have_no_default_fill(tmp_path, kind):
    """NetCDF Users Guide, appendix A: without ``_FillValue`` all bytes are values."""
    values = np.arange(256, dtype="u1").view(kind).reshape(16, 16)
    path = saved(tmp_path / "a.nc", xr.Dataset({"v": (("y", "x"), values)}))
    scene = open_scene(path)
    assert scene.valid.values.all()
    np.testing.assert_array_equal(scene.image.values[0], values)


@pytest.mark.parametrize(
    ("kind", "attrs"),
    [
        ("f4", {"missing_value": np.float32(5)}),
        ("i2", {"missing_value": np.int16(5), "_FillValue": np.int16(9)}),
        ("u1", {"missing_value": np.int16(300)}),
        ("u1", {"missing_value": -9999.0}),
        ("i2", {"valid_min": np.int16(3), "valid_max": np.int16(11)}),
        ("i2", {"valid_range": np.array([3, 11], "i2"), "scale_factor": 0.1}),
    ],
)
def test_what_is_missing_is_what_netcdf4_masks(tmp_path, kind, attrs):
    values = np.arange(-4, 12).reshape(4, 4)
    values = values.astype(kind) if kind != "u1" else (values + 4).astype(kind)
    fill = {"fill_value": attrs["_FillValue"]} if "_FillValue" in attrs else {}
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("y", 4)
        file.createDimension("x", 4)
        variable = file.createVariable("v", kind, ("y", "x"), **fill)
        variable.set_auto_maskandscale(False)
        variable[:] = values
        variable.setncatts({k: v for k, v in attrs.items() if k != "_FillValue"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a missing value is of another type
        with netCDF4.Dataset(tmp_path / "a.nc") as file:
            right = file["v"][:]
    scene = open_scene(tmp_path / "a.nc")
    mask = np.ma.getmaskarray(right)
    np.testing.assert_array_equal(scene.valid.values, ~mask)
    np.testing.assert_allclose(
        scene.image.values[0][~mask], right.data[~mask], rtol=1e-6
    )


def test_a_range_of_a_wider_type_is_of_the_values(tmp_path):
    """NetCDF Users Guide: stored 0 to 150 by 0.01 with a valid range of 0.0 to 1.0."""
    stored = np.array([[0, 100, 101], [50, 150, 1]], "i2")
    attrs = {"scale_factor": np.float32(0.01), "valid_range": np.array([0, 1], "f4")}
    data = grid({})[[]].assign(v=(("row", "col"), stored, attrs))
    scene = open_scene(saved(tmp_path / "a.nc", data))
    assert scene.valid.values.tolist() == [[True, True, False], [True, False, True]]


@pytest.mark.parametrize(
    ("kind", "attrs", "lost"),
    [
        ("f4", {"missing_value": "-3.40282e+38"}, np.finfo("f4").min),
        ("f4", {"missing_value": "-9999, -1.0E20"}, -1e20),
        ("f4", {"valid_range": "0.0 40.f"}, -5),
        ("i2", {"valid_range": "0s, 40s"}, -5),
        ("i2", {"missing_value": np.float32(-9.99), "scale_factor": 0.01}, -999),
    ],
)
def test_missing_values_and_ranges_are_known_as_people_write_them(
    tmp_path, kind, attrs, lost
):
    """As text, of the values in place of the packed numbers, with too few digits."""
    values = np.arange(12).reshape(3, 4).astype(kind)
    values[1, 2] = lost
    data = xr.Dataset({"v": (("y", "x"), values)})
    path = saved(tmp_path / "a.nc", data)
    with netCDF4.Dataset(path, "a") as file:
        file["v"].setncatts(attrs)
    np.testing.assert_array_equal(open_scene(path).valid.values, values != values[1, 2])


def test_amsr2_of_jaxa_is_scaled_though_its_attributes_are_no_cf(tmp_path):
    """Level 3 as JAXA writes it; its numbers came as they are stored."""
    kelvin = np.array([[25000, 65534], [65535, 9050]], "u2")
    percent = np.array([[9950, -32768], [-32767, 0]], "i2")
    with h5py.File(tmp_path / "GW1AM2_20200101_01D.h5", "w") as file:
        for name, values, unit in (("Brightness Temperature (H)", kelvin, "K"),
                                   ("Geophysical Data", percent, "%")):  # fmt: skip
            file[name] = values
            file[name].attrs["SCALE FACTOR"] = np.array([0.01], "f4")
            file[name].attrs["UNIT"] = np.bytes_(unit)
    for name, right in (("Brightness Temperature (H)", [250.0, 90.5]),
                        ("Geophysical Data", [99.5, 0.0])):  # fmt: skip
        scene = open_scene(tmp_path / "GW1AM2_20200101_01D.h5", bands=[name])
        assert scene.valid.values.tolist() == [[True, False], [False, True]]
        found = scene.image.values[0][scene.valid.values]
        np.testing.assert_allclose(found, right, rtol=1e-6)
    assert scene.image.attrs["units"] == "%"


def test_nodata_of_odc_stac_is_missing(tmp_path):
    values = np.zeros((30, 40), "u2")
    values[10:] = 1000
    data = grid({"B04": (("y", "x"), values, {**NAMED, "nodata": 0})}, **MAPPING)
    scene = open_scene(saved(tmp_path / "a.nc", data))
    np.testing.assert_array_equal(scene.valid.values, values > 0)
    assert scene.image.values[0][scene.valid.values].mean() == 1000


def record(tmp_path, **changed):
    """Packed concentration with flags, opened by xarray and saved again."""
    stored = np.array([[0, 15, 100, 29], [251, 252, 253, 254]], "u1")
    attrs = {
        "_FillValue": np.uint8(255), "scale_factor": np.float32(0.01), "units": "1",
        "standard_name": "sea_ice_area_fraction",
        "valid_range": np.array([0, 100], "u1"),
        "flag_values": np.array([251, 252, 253, 254], "u1"),
        "flag_meanings": "pole_hole lakes coastal land", **changed,
    }  # fmt: skip
    attrs = {k: v for k, v in attrs.items() if v is not None}
    first = saved(tmp_path / "a.nc", xr.Dataset({"conc": (("y", "x"), stored, attrs)}))
    with xr.open_dataset(first) as decoded:
        decoded.load().drop_encoding().to_netcdf(tmp_path / "again.nc")
    return tmp_path / "again.nc"


def test_flags_of_a_field_that_was_unpacked_and_saved_again_are_flags(tmp_path):
    scene = open_scene(record(tmp_path))
    assert scene.valid.values.tolist() == [[True] * 4, [False] * 4]
    np.testing.assert_allclose(scene.image.values[0, 0], [0, 0.15, 1, 0.29], rtol=1e-6)
    names = scene.reason.attrs["flag_meanings"].split()
    assert [names[c] for c in scene.reason.values[1]] == [
        "pole_hole", "lakes", "coastal", "land",
    ]  # fmt: skip


def test_flags_of_an_unknown_scale_are_refused_or_told(tmp_path):
    path = record(tmp_path, valid_range=None, scale_factor=np.float32(0.1), units="K")
    with pytest.raises(SourceError, match=r"Open the original, or .* `packed_scale`"):
        open_scene(path)
    scene = open_scene(path, packed_scale=0.1)
    assert scene.valid.values.tolist() == [[True] * 4, [False] * 4]
    np.testing.assert_allclose(scene.image.values[0, 0], [0, 1.5, 10, 2.9], rtol=1e-6)


def test_float_flags_among_measurements_are_missing(tmp_path):
    attrs = {"flag_values": np.array([-1, -2], "f4"), "flag_meanings": "land void",
             "units": "K"}  # fmt: skip
    values = np.array([[270, -1], [-2, 265]], "f4")
    data = xr.Dataset({"t": (("y", "x"), values, attrs)})
    scene = open_scene(saved(tmp_path / "a.nc", data))
    np.testing.assert_array_equal(scene.valid.values, values > 0)


@pytest.mark.parametrize(
    "attrs", [{"scale_factor": 0.0}, {"scale_factor": "much"}, {"add_offset": np.nan},
              {"valid_range": np.array([9, 1], "i2")}]
)  # fmt: skip
def test_attributes_that_contradict_themselves_are_refused(tmp_path, attrs):
    data = xr.Dataset({"v": (("y", "x"), np.ones((3, 4), "i2"), attrs)})
    with pytest.raises(SourceError, match="variable 'v' must"):
        open_scene(saved(tmp_path / "a.nc", data))


@pytest.fixture
def grouped(tmp_path):
    with netCDF4.Dataset(tmp_path / "g.nc", "w") as file:
        for dim, size in (("y", 30), ("x", 40)):
            file.createDimension(dim, size)
            line = file.createVariable(dim, "f8", (dim,))
            line.units, line[:] = (
                "m",
                np.arange(size) * (1000.0 if dim == "x" else -1e3),
            )
        file.createVariable("crs", "i4").crs_wkt = POLAR.to_wkt()
        file.createVariable("land", "i1", ("y", "x"))[:] = 1
        inner = file.createGroup("monthly").createVariable("fb", "f4", ("y", "x"))
        inner[:], inner.grid_mapping = 0.3, "crs"
    return tmp_path / "g.nc"


def test_fields_in_several_groups_are_chosen_by_name(grouped):
    with pytest.raises(SourceError, match=r"'/': \['land'\]; '/monthly': \['fb'\]"):
        open_scene(grouped)
    scene = open_scene(grouped, file_group="monthly", group="train")
    assert list(scene.band.values) == ["fb"] and scene.attrs["group"] == "train"
    np.testing.assert_allclose(scene.image, 0.3, rtol=1e-6)
    assert scene_geobox(scene).crs.epsg == 3413  # of the root
    assert list(open_scene(grouped, bands=["land"]).band.values) == ["land"]
    assert list(open_scene(grouped, file_group="/").band.values) == ["land"]
    with pytest.raises(ValueError, match="Did you mean '/monthly'"):
        open_scene(grouped, file_group="montly")


def test_a_group_of_a_zarr_store_is_opened(tmp_path):
    store = tmp_path / "a.zarr"
    inner = xr.Dataset({"fb": (("y", "x"), numbers(4, 5))})
    inner.to_zarr(store, group="monthly", zarr_format=3, consolidated=False)
    scene = open_scene(store)
    assert list(scene.band.values) == ["fb"]  # the only group with a field
    np.testing.assert_array_equal(scene.image.values[0], numbers(4, 5))


SIC = {"sic": (("y", "x"), np.zeros((30, 40)))}


@pytest.mark.parametrize(
    "data",
    [
        grid(SIC).assign_attrs(crs_wkt=POLAR.to_wkt()),
        grid(SIC).assign_attrs(crs="EPSG:3413"),
        grid(SIC, crs=((), 0, POLAR.to_cf())),
        grid(SIC, epsg=((), 3413)),
        grid(SIC).assign_coords({"proj:epsg": ((), 3413)}),
        grid(SIC).assign_coords({"proj:code": ((), "EPSG:3413")}),
        grid({"sic": (("y", "x"), np.zeros((30, 40)), {"crs": "epsg:3413"})}),
    ],
    ids=["wkt", "text", "unnamed mapping", "epsg", "proj:epsg", "proj:code", "field"],
)
def test_the_crs_is_found_wherever_it_is_kept(tmp_path, data):
    box = scene_geobox(open_scene(saved(tmp_path / "a.nc", data)))
    assert box.crs.epsg == 3413 and tuple(box.transform)[:6] == (1e3, 0, 0, 0, -1e3, 0)


def test_a_crs_that_is_doubtful_is_refused_until_it_is_named(tmp_path):
    two = grid(SIC, a=((), 0, POLAR.to_cf()), b=((), 0, CRS(3031).to_cf()))
    vague = grid(SIC).assign_attrs(projection="Polar Stereographic North")
    lost = grid({"sic": (("y", "x"), np.zeros((30, 40)), {"grid_mapping": "gone"})})
    for name, data, message in (
        ("two", two, "variable 'a': EPSG:3413; variable 'b': EPSG:3031"),
        ("vague", vague, "'projection' 'Polar Stereographic North'"),
        ("lost", lost, "the grid mapping 'gone'"),
    ):
        path = saved(tmp_path / f"{name}.nc", data)
        with pytest.raises(SourceError, match=f"{message}.*by `crs`"):
            open_scene(path)
        assert scene_geobox(open_scene(path, crs="EPSG:3413")).crs.epsg == 3413
    with pytest.raises(ValueError, match="`crs` must be something"):
        open_scene(tmp_path / "two.nc", crs="EPSG:nothing")


def test_coordinates_without_any_crs_are_spoken_of(tmp_path):
    scene = open_scene(saved(tmp_path / "a.nc", grid(SIC)))
    assert scene.attrs["georeferenced"] is False
    assert "no CRS" in scene.attrs["georeferencing"]


@pytest.mark.parametrize("with_planes", [False, True])
def test_a_rotated_pole_is_a_swath(tmp_path, with_planes):
    pole = {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 39.25,
        "grid_north_pole_longitude": -162.0,
    }
    rlon, rlat = -5 + 0.1 * np.arange(20), 3 - 0.1 * np.arange(10)
    lines = {
        "rlon": ("rlon", rlon, {"standard_name": "grid_longitude", "units": "degrees"}),
        "rlat": ("rlat", rlat, {"standard_name": "grid_latitude", "units": "degrees"}),
        "pole": ((), 0, pole),
    }
    right = Transformer.from_crs(CRS.from_cf(pole), 4326, always_xy=True)
    lon, lat = right.transform(*np.meshgrid(rlon, rlat))
    if with_planes:
        planes = {"lon": (lon, "degrees_east"), "lat": (lat, "degrees_north")}
        for name, (values, unit) in planes.items():
            lines[name] = (("rlat", "rlon"), values, {"units": unit})
    field = (("rlat", "rlon"), numbers(10, 20), {"grid_mapping": "pole"})
    scene = open_scene(saved(tmp_path / "a.nc", xr.Dataset({"t": field}, lines)))
    assert is_swath(scene)
    np.testing.assert_allclose(scene.lat.values, lat, atol=1e-6)
    np.testing.assert_allclose(scene.lon.values, lon, atol=1e-6)


def test_the_positions_that_a_field_names_are_its_own(tmp_path):
    """Ocean models keep two sets, of cells and of corners."""
    shape = (6, 7)
    planes = {
        f"{cell}{name}": (("nj", "ni"), np.full(shape, value), {"units": unit})
        for cell, value in (("U", 71.0), ("T", 72.0))
        for name, unit in (("LAT", "degrees_north"), ("LON", "degrees_east"))
    }
    data = xr.Dataset({"aice": (("nj", "ni"), numbers(*shape)), **planes})
    path = saved(tmp_path / "two.nc", data)
    with pytest.raises(SourceError, match=r"attribute `coordinates`.*TLAT.*ULAT"):
        open_scene(path)
    data["aice"].encoding["coordinates"] = "TLON TLAT"
    scene = open_scene(saved(tmp_path / "one.nc", data))
    assert (scene.lat.values == 72.0).all()


@pytest.mark.parametrize(
    ("told", "right"),
    [
        ("unknown", None), ("n/a", None), ("now", None), ("2021-13-45", None),
        ("2021-02-14T24:00:00Z", "2021-02-15T00:00:00Z"),
        ("2021-045T12:30:00Z", "2021-02-14T12:30:00Z"),
        ("2021045", "2021-02-14T00:00:00Z"),
        ("20210214T1800Z", "2021-02-14T18:00:00Z"),
        ("2021-02-14 18:00:00+02:00", "2021-02-14T16:00:00Z"),
    ],
)  # fmt: skip
def test_times_are_read_as_people_write_them(tmp_path, told, right):
    data = grid(SIC).assign_attrs(time_coverage_start=told)
    scene = open_scene(saved(tmp_path / "a.nc", data))
    assert scene.attrs.get("time") == right


@pytest.mark.parametrize(
    ("calendar", "days", "right"),
    [
        ("noleap", 20 * 365 + 59, "2020-03-01T00:00:00Z"),  # no 29 February
        ("all_leap", 20 * 366 + 59, "2020-02-29T00:00:00Z"),
        ("360_day", 20 * 360 + 2 * 30 + 14.5, "2020-03-15T12:00:00Z"),
        ("julian", 366, "2001-01-14T00:00:00Z"),  # 2001-01-01 there, 13 days behind
        ("standard", 20 * 365 + 5 + 59, "2020-02-29T00:00:00Z"),
        ("standard", 365 * 300 + 73, "2300-01-01T00:00:00Z"),  # beyond nanoseconds
    ],
)
@pytest.mark.parametrize("decoded", [False, True])
def test_times_of_models_calendars_are_times(tmp_path, calendar, days, right, decoded):
    told = {"units": "days since 2000-01-01", "calendar": calendar}
    data = grid({"sic": (("time", "y", "x"), numbers(1, 30, 40))})
    path = saved(tmp_path / "a.nc", data.assign_coords(time=("time", [days], told)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)
        source = xr.open_dataset(path) if decoded else path
        assert open_scene(source).attrs.get("time") == right


@pytest.mark.parametrize(
    "time", ["03/04/2022", "3.4.2022", "12:30", "now", 20220403, 1.6e9, "2022-13-04"]
)
def test_a_time_is_told_with_the_year_before_the_day(time):
    """The third of April was the fourth of March, and a number was of 1970."""
    field = xr.DataArray(np.ones((4, 5)), dims=("y", "x"), name="sic")
    with pytest.raises(SceneError, match=r"begins with the year.*Received: time="):
        open_scene(field, time=time)
    for told in ("2022/4/3", "20220403T00", np.datetime64("2022-04-03")):
        assert open_scene(field, time=told).attrs["time"] == "2022-04-03T00:00:00Z"


def timed(path, values, told, **attrs):
    """The times of a file of a field for each of these, NumPy decoding nothing."""
    data = grid({"sic": (("time", "y", "x"), numbers(len(values), 30, 40))})
    data = data.assign_coords(time=("time", values, told)).assign_attrs(attrs)
    path = saved(path, data)
    return [open_scene(path, time_index=k).attrs.get("time") for k in (0, 1)]


@pytest.mark.parametrize(
    ("units", "numbers", "right"),
    [
        ("months since 1999-11-01", [2, 15], ["2000-01-01", "2001-02-01"]),
        ("Month since 2000-01-15", [0.0, -1.0], ["2000-01-15", "1999-12-15"]),
        ("years since 1850-07-01", [150, 151], ["2000-07-01", "2001-07-01"]),
        ("Days Since 2000-01-01", [31, 60], ["2000-02-01", "2000-03-01"]),
    ],
)
def test_months_and_years_since_a_date_are_those_of_the_calendar(
    tmp_path, units, numbers, right
):
    """Which xarray does not decode, so that the times were lost."""
    found = timed(tmp_path / "a.nc", numbers, {"units": units})
    assert found == [f"{day}T00:00:00Z" for day in right]


@pytest.mark.parametrize(
    ("units", "number", "calendar"),
    [
        ("months since 2000-01-01", 1.5, "standard"),  # of 30.44 days, or of how many?
        ("months since 2000-01-31", 1, "standard"),
        ("day as %Y%m%d.%f", 20200101.5, "standard"),
        ("fortnights since 2000-01-01", 1, "standard"),
        ("days since the flood", 1, "standard"),
        ("days since 2000-01-01", 59, "360_day"),  # 30 February
        ("days since 2000-01-01", 59, "martian"),
    ],
)
def test_times_that_nobody_can_read_are_refused(tmp_path, units, number, calendar):
    told = {"units": units, "calendar": calendar}
    with pytest.raises(SourceError, match=r"'time' of .*a.nc, .* Write the times"):
        timed(tmp_path / "a.nc", [number, number], told)


def test_a_missing_time_is_none_and_no_first_day_of_the_calendar(tmp_path):
    """Which xarray makes of NaN in a calendar without leap days."""
    told = {"units": "days since 1850-01-01", "calendar": "noleap"}
    second = [None, "1850-01-04T00:00:00Z"]
    assert timed(tmp_path / "a.nc", [np.nan, 3.0], told) == second
    told |= {"missing_value": -1.0}
    assert timed(tmp_path / "b.nc", [-1.0, 3.0], told) == second


def test_a_start_that_a_file_tells_is_no_time_of_each_of_its_fields(tmp_path):
    start = {"time_coverage_start": "2000-01-01T00:00:00Z"}
    assert timed(tmp_path / "a.nc", [1, 2], {}, **start) == [None, None]


def test_a_scene_comes_back_as_it_was_written(tmp_path):
    values = numbers(1, 30, 40)
    valid = np.ones((30, 40), bool)
    valid[3:5] = False
    data = grid({"image": (("band", "y", "x"), values, NAMED), "valid": (("y", "x"),
                valid)}, band=["HH"], **MAPPING)  # fmt: skip
    scene = open_scene(saved(tmp_path / "a.nc", data))
    assert list(scene.band.values) == ["HH"]
    np.testing.assert_array_equal(scene.valid.values, valid)


def test_a_label_of_a_netcdf_file_keeps_its_classes(tmp_path):
    codes = np.tile(np.array([[0, 1], [2, 255]], "u1"), (15, 20))
    attrs = {**NAMED, "_FillValue": np.uint8(255),
             "flag_values": np.array([0, 1, 2], "u1"),
             "flag_meanings": "water thin_ice thick_ice"}  # fmt: skip
    data = grid({"sod": (("y", "x"), codes, attrs)}, **MAPPING)
    path = saved(tmp_path / "label.nc", data)
    image = saved(tmp_path / "a.nc", grid({"hh": (("y", "x"), numbers(30, 40), NAMED)},
                                          **MAPPING))  # fmt: skip
    with xr.open_dataset(path) as decoded:  # floats, with NaN for the fill value
        decoded.load().drop_encoding().to_netcdf(tmp_path / "again.nc")
    for label in (path, tmp_path / "again.nc"):
        sod = open_scene(image, labels={"sod": label}).sod
        assert sod.attrs["flag_meanings"] == "water thin_ice thick_ice"
        assert sod.dtype == np.uint8
        np.testing.assert_array_equal(sod.values, codes)


def test_raw_label_values_are_told_by_intervals(tmp_path):
    from PIL import Image

    raw = np.array([[0, 7, 250, 255], [3, 248, 128, 0]], "u1")
    Image.fromarray(raw).save(tmp_path / "m.png")
    Image.fromarray(raw).save(tmp_path / "i.png")
    spec = {"slump": (tmp_path / "m.png", ("background", "slump"))}
    codes = {"0-7": 0, "248-255": 1, 128: "void"}
    scene = open_scene(tmp_path / "i.png", labels=spec, label_codes=codes)
    assert scene.slump.values.tolist() == [[0, 0, 1, 1], [0, 1, 255, 0]]
    for wrong in ({"0-7": 0, "7-255": 1}, {"a-b": 1}, {"9-2": 1}, {0: -1}, {0: "x"}):
        with pytest.raises(LabelError, match="`label_codes` must"):
            open_scene(tmp_path / "i.png", labels=spec, label_codes=wrong)
    with pytest.raises(LabelError, match=r"values \[128\] that it lacks"):
        open_scene(tmp_path / "i.png", labels=spec,
                   label_codes={"0-7": 0, (248, 255): 1})  # fmt: skip
    with pytest.raises(LabelError, match=r"codes up to 255. Received: 300"):
        open_scene(tmp_path / "i.png", labels={"s": tmp_path / "m.png"},
                   label_codes=lambda values: np.full(values.shape, 300))  # fmt: skip
