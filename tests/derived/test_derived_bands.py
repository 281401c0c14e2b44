"""Derived bands against NumPy, SciPy and published values, whatever window is read."""

import pickle

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from made_scenes import COLS, GRID, RNG, ROWS, band, field, make
from odc.geo.geobox import GeoBox
from shapely import Point

from arcticdl.derived import FORMULAS, add_bands, check_steps
from arcticdl.errors import BandNotFoundError, SceneError
from arcticdl.grid import align
from arcticdl.seaice.microwave import bootstrap_concentration, nasa_team_concentration


def units_of(scene):
    names = scene["band"].values.tolist()
    return dict(zip(names, scene["band_units"].values.tolist(), strict=True))


# --- radar ---------------------------------------------------------------------------


def test_a_ratio_is_a_difference_of_decibels_and_a_quotient_of_power():
    hh, hv = field(-20, -5), field(-30, -15)
    step = {"formula": "ratio", "of": ["HV", "HH"], "name": "HV_HH"}
    scene = add_bands(make({"HH": hh, "HV": hv}, "dB"), [step])
    assert scene["band"].values.tolist() == ["HH", "HV", "HV_HH"]
    assert scene["image"].attrs["units"] == "dB"
    np.testing.assert_array_equal(scene["image"].values[:2], [hh, hv])
    np.testing.assert_allclose(scene["image"].values[2], hv - hh, atol=1e-5)
    power = np.where(np.arange(COLS) == 3, 0, field(0.1, 1)).astype("float32")
    found = band(make({"HH": power, "HV": hv}, "1"), step)
    assert np.isnan(found[:, 3]).all()
    np.testing.assert_allclose(found[:, 4:], hv[:, 4:] / power[:, 4:], rtol=1e-6)


def test_decibels_and_power_are_each_others_inverse():
    scene = make({"HH": field(-20, -5)}, "dB")
    steps = [{"formula": "power", "of": ["HH"]}, {"formula": "db", "of": ["HH_power"]}]
    found = add_bands(scene, steps)
    assert units_of(found) == {"HH": "dB", "HH_power": "1", "HH_power_db": "dB"}
    hh, power, back = found["image"].values
    np.testing.assert_allclose(power, 10 ** (hh.astype("f8") / 10), rtol=1e-6)
    np.testing.assert_allclose(back, hh, atol=1e-5)
    dark = band(
        make({"p": 0.0}, "1"), {"formula": "db", "of": ["p"], "floor_db": -40}, "p_db"
    )
    assert (dark == -40).all()


def test_backscatter_is_brought_to_one_incidence_angle():
    hh, angle = field(-20, -5), field(20, 45)
    scene = make({"HH": hh, "incidence_angle": angle}, ["dB", "degree"])
    step = {"formula": "incidence_corrected", "of": ["HH"]}
    told = step | {"slope_db": -0.2, "reference_deg": 30, "name": "flat"}
    np.testing.assert_allclose(band(scene, told), hh + 0.2 * (angle - 30), atol=1e-4)
    known = band(scene, step, "HH_corrected")  # -0.25 dB/degree at 34.5 degrees
    np.testing.assert_allclose(known, hh + 0.25 * (angle - 34.5), atol=1e-4)
    radians = make({"VV": hh, "incidence_angle": angle}, ["dB", "rad"])
    with pytest.raises(SceneError, match="'degree'"):
        add_bands(radians, [step | {"of": ["VV"]}])
    with pytest.raises(SceneError, match="slope_db"):
        vv = make({"VV": hh, "incidence_angle": angle}, ["dB", "degree"])
        add_bands(vv, [step | {"of": ["VV"]}])


def test_bands_of_two_units_or_of_none_have_no_ratio():
    scene = make({"HH": field(-20, -5), "HV": field(0, 1)}, ["dB", "1"])
    step = {"formula": "ratio", "of": ["HV", "HH"]}
    with pytest.raises(SceneError, match="one known unit"):
        add_bands(scene, [step])
    bare = make({"HH": field(-20, -5), "HV": field(-9, -8)}, "")
    with pytest.raises(SceneError, match="say what no file tells"):
        add_bands(bare, [step])
    found = add_bands(bare, [step | {"units": {"HH": "dB", "HV": "dB"}}])
    assert units_of(found) == {"HH": "", "HV": "", "HV_HH": "dB"}
    with pytest.raises(SceneError, match="is in 'dB'"):
        add_bands(scene, [step | {"units": {"HH": "1"}}])


# --- indices -------------------------------------------------------------------------

FAMILIES = [
    ("B02 B03 B04 B08 B11", None),
    ("SR_B2 SR_B3 SR_B4 SR_B5 SR_B6", "LANDSAT_8 OLI_TIRS"),
    ("SR_B1 SR_B2 SR_B3 SR_B4 SR_B5", "LANDSAT_7 ETM"),
    ("B2 B3 B4 B5 B6", "LANDSAT_9 OLI_TIRS"),
    ("sur_refl_b03 sur_refl_b04 sur_refl_b01 sur_refl_b02 sur_refl_b06", "MODIS"),
    ("blue green red nir swir", None),
]
INDICES = {
    "ndwi_green_nir": ("green", "nir"),
    "ndwi_blue_red": ("blue", "red"),
    "ndwi_nir_swir": ("nir", "swir"),
    "ndsi": ("green", "swir"),
}


@pytest.mark.parametrize(("names", "sensor"), FAMILIES)
@pytest.mark.parametrize("formula", INDICES)
def test_an_index_finds_its_bands_by_the_names_of_each_sensor(names, sensor, formula):
    colours = {r: field(0, 1) for r in ("blue", "green", "red", "nir", "swir")}
    attrs = {"sensor": sensor} if sensor else {}
    bands = dict(zip(names.split(), colours.values(), strict=True))
    a, b = (colours[role].astype("f8") for role in INDICES[formula])
    found = band(make(bands, "1", **attrs), {"formula": formula})
    np.testing.assert_allclose(found, (a - b) / (a + b), atol=1e-6)


def test_an_index_is_nan_where_the_sum_is_not_positive_or_a_pixel_invalid():
    green = np.full((ROWS, COLS), 0.3)
    green[0, :3] = [0.0, -0.2, 0.1]
    valid = np.ones((ROWS, COLS), bool)
    valid[5, 5] = False
    scene = make({"B03": green, "B08": 0.0 * green}, "1", valid=valid)
    found = band(scene, {"formula": "ndwi_green_nir"})
    assert np.isnan(found[0, :2]).all() and np.isnan(found[5, 5])
    assert np.isfinite(found).sum() == found.size - 3
    assert found[0, 2] == 1.0


@pytest.mark.parametrize("units", ["", "W m-2 sr-1 um-1", "K"])
def test_an_index_of_anything_but_reflectance_is_refused(units):
    scene = make({"B03": field(0, 9e3), "B08": field(0, 9e3)}, units, dtype="uint16")
    with pytest.raises(SceneError, match="scale: true"):
        add_bands(scene, [{"formula": "ndwi_green_nir"}])


def test_bands_of_other_names_are_told_and_unclear_ones_refused():
    scene = make({"g": field(0, 1), "n": field(0, 1)}, "1")
    step = {"formula": "ndwi_green_nir", "bands": {"green": "g", "nir": "n"}}
    g, n = scene["image"].values.astype("f8")
    np.testing.assert_allclose(band(scene, step), (g - n) / (g + n), atol=1e-6)
    with pytest.raises(BandNotFoundError, match=r"bands: \{green: NAME"):
        add_bands(scene, [{"formula": "ndwi_green_nir"}])
    landsat = make({"SR_B2": 0.1, "SR_B3": 0.1, "SR_B4": 0.1, "SR_B5": 0.1}, "1")
    with pytest.raises(BandNotFoundError, match="sensor"):
        add_bands(landsat, [{"formula": "ndwi_green_nir"}])


def test_concentrations_are_those_of_the_algorithms_and_weather_is_water():
    names = ("18_7h", "18_7v", "23_8v", "36_5v", "36_5h")
    scene = make({f"btemp_{n}": field(110, 270) for n in names}, "K")
    scene["image"].values[:, 0, 0] = (110.0, 191.0, 214.0, 213.0, 140.0)  # cloud
    h18, v18, v24, v37, h37 = scene["image"].values.astype("f8")
    calm = ((v37 - v18) / (v37 + v18) <= 0.05) & ((v24 - v18) / (v24 + v18) <= 0.045)
    assert 0.1 < calm.mean() < 0.9 and not calm[0, 0]
    team = np.where(calm, np.clip(nasa_team_concentration(h18, v18, v37)[0], 0, 1), 0)
    found = band(scene, {"formula": "nasa_team"})
    np.testing.assert_allclose(found, team, atol=1e-5)
    boot = np.where(calm, bootstrap_concentration(v18, v37, h37), 0)
    found = band(scene, {"formula": "bootstrap"})
    np.testing.assert_allclose(found, boot, atol=1e-5)
    scene["image"].values[:, 3, 3] = np.nan
    assert np.isnan(band(scene, {"formula": "nasa_team"})[3, 3])
    with pytest.raises(SceneError, match="in 'K'"):
        add_bands(scene.assign(image=scene.image.assign_attrs(units="1")),
                  [{"formula": "bootstrap"}])  # fmt: skip


# --- laws ----------------------------------------------------------------------------


def every_step(path):
    gpd.GeoDataFrame(geometry=[Point(4e5, -1e6)], crs=3413).to_file(path)
    made = {
        "ratio": {"of": ["HV", "HH"]},
        "db": {"of": ["B03"]},
        "power": {"of": ["HH", "HV"]},
        "incidence_corrected": {"of": ["HH"]},
        "relative_elevation": {"window_m": 450},
        "distance_to": {"file": str(path)},
        "cloud": {"of": ["SCL"]},
        "min_sun_elevation": {"degrees": 20},
    }
    return [{"formula": name, **made.get(name, {})} for name in FORMULAS]


def rich_scene():
    bands = {name: field(0.1, 1) for name in ("B02", "B03", "B04", "B08", "B11")}
    units = dict.fromkeys(bands, "1")
    bands |= {"HH": field(-20, -5), "HV": field(-30, -15), "dem": field(0, 900)}
    units |= {"HH": "dB", "HV": "dB", "dem": "m", "incidence_angle": "degree"}
    bands |= {
        "incidence_angle": field(20, 45),
        "SCL": RNG.integers(0, 12, (ROWS, COLS)),
    }
    valid = RNG.random((ROWS, COLS)) > 0.05
    for name in ("18_7h", "18_7v", "23_8v", "36_5v", "36_5h"):
        bands[f"btemp_{name}"], units[f"btemp_{name}"] = field(110, 270), "K"
    scene = make(bands, [units.get(b, "") for b in bands], valid=valid,
                 time="2022-06-13T15:00:00Z")  # fmt: skip
    return scene.assign(ice=(("y", "x"), np.ones((ROWS, COLS), "uint8")))


def test_no_value_of_any_formula_depends_on_the_window_that_is_read(tmp_path):
    found = add_bands(rich_scene(), every_step(tmp_path / "a.gpkg"))
    assert found["image"].shape[0] > 15 + len(FORMULAS) - 3
    assert found["image"].dtype == "float32" and "ice" in found
    whole, valid = found["image"].values, found["valid"].values
    again = pickle.loads(pickle.dumps(found))
    for rows, cols in ((slice(0, 5), slice(3, 30)), (slice(7, 8), slice(11, 12))):
        part = again.isel(y=rows, x=cols)
        np.testing.assert_array_equal(part["image"].values, whole[:, rows, cols])
        np.testing.assert_array_equal(part["valid"].values, valid[rows, cols])
    order = found["image"].isel(band=[17, 0, 16], y=slice(4, 9)).values
    np.testing.assert_array_equal(order, whole[[17, 0, 16], 4:9])


def test_the_page_lists_every_formula_as_the_table_has_it(project_root):
    page = (project_root / "docs/howto/derived-bands.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in page.splitlines() if row.startswith("| `")]
    listed = {row[0].strip("| `"): [c.strip(" |") for c in row[1:]] for row in rows}
    assert listed == {
        name: [f.needs, f.formula, f.units, f.source] for name, f in FORMULAS.items()
    }


def test_derived_decibels_are_resampled_as_power():
    hh = np.broadcast_to(np.where(np.arange(COLS) % 2, -20.0, -10.0), (ROWS, COLS))
    scene = make({"HH": hh, "HV": hh - 5}, "dB")
    both = add_bands(scene, [{"formula": "power", "of": ["HH"]}])
    coarse = align(both, GeoBox((12, 15), GRID.transform * Affine.scale(2), 3413))
    hh, _, power = coarse["image"].values[:, 5, 5]
    assert abs(hh - 10 * np.log10(0.055)) < 1e-3 and abs(power - 0.055) < 1e-6


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"formula": "ndwi_gren_nir"}, "Did you mean 'ndwi_green_nir'"),
        ({"formula": "slope", "windw": 3}, "steps.0"),
        ({"formula": "db", "of": ["HH"], "flor_db": 3}, "Did you mean 'floor_db'"),
        ({"formula": "ndsi", "bands": {"gren": "B3"}}, "Did you mean 'green'"),
        ({"name": "ndsi"}, "with `formula`"),
        ({"formula": "ratio"}, "must give"),
        ({"formula": "ratio", "of": ["HH"]}, "must name 2"),
        ({"formula": "power", "of": "HH"}, "must be a list"),
        ({"formula": "power", "of": ["a", "b"], "name": "c"}, "one band"),
        ({"formula": "relative_elevation", "window_m": "far"}, "must be a number"),
        ({"formula": "cloud", "of": ["SCL"], "classes": ["x"]}, "whole numbers"),
        ({"formula": "slope", "units": ["m"]}, "must map"),
        ({"formula": "slope", "name": 3}, "must be text"),
    ],
)
def test_a_wrong_step_is_refused_before_anything_is_read(step, message):
    with pytest.raises(ValueError, match=message):
        check_steps([step])


def test_what_is_not_there_or_taken_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.gpkg"):
        check_steps([{"formula": "distance_to", "file": "nowhere.gpkg"}])
    scene = make({"HH": 0.0, "HV": 0.0}, "dB")
    with pytest.raises(SceneError, match="'HH'"):
        add_bands(scene, [{"formula": "power", "of": ["HV"], "name": "HH"}])
    with pytest.raises(BandNotFoundError, match="Did you mean 'HV'"):
        add_bands(scene, [{"formula": "power", "of": ["HVV"]}])
