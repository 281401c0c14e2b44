"""POLARIS: the values of the circular, and outcomes computed by hand."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arcticdl.cli import main
from arcticdl.seaice.polaris import (
    RISK_VALUES,
    TYPES,
    operation_of,
    risk_outcome,
    types_of,
)

CHART = ("open water", "new ice", "young ice", "thin first-year ice",
         "thick first-year ice", "old ice")  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, values, size=100, height=None, **tags):
    profile = {"driver": "GTiff", "width": values.shape[1], "height": values.shape[0],
               "count": 1, "dtype": values.dtype, "crs": "EPSG:3413",
               "transform": rasterio.Affine(size, 0, 0, 0, -(height or size), 0)
               }  # fmt: skip
    if values.dtype == "uint8":
        profile["nodata"] = 255
    with rasterio.open(name, "w", **profile) as file:
        file.write(values, 1)
        file.update_tags(**tags)


def ice_map(name="ice.tif"):
    codes = np.zeros((8, 12), "uint8")
    codes[:, 2:4] = 1  # a half of the first cell is young ice
    codes[:4, 4:8] = 2
    codes[4:, 4:7] = 255
    codes[:4, 8:] = 255  # void
    write(name, codes, class_0="open_water", class_1="young_ice", class_2="old_ice")
    return name


def test_rows_fall_with_the_danger_of_ice_and_classes_with_their_strength():
    """Laws of the table that a slip of a digit would break nearly everywhere."""
    table = np.array(list(RISK_VALUES.values()))
    assert table.shape == (12, len(TYPES))
    assert (np.diff(table, axis=1) <= 0).all()
    polar = table[:7]
    assert (np.diff(polar, axis=0) <= 0).all()
    assert (np.diff(table[7:], axis=0) <= 0).all()
    assert (table[:, 0] == 3).all()
    # Added up by hand along the rows of another transcription of table 1.3.
    sums = [26, 24, 22, 18, 13, 4, -1, -2, -10, -19, -30, -40]
    assert table.sum(axis=1).tolist() == sums


def test_outcomes_are_those_of_the_worst_and_the_best_kinds_of_all():
    rng = np.random.default_rng(0)
    tenths = rng.dirichlet(np.ones(len(CHART)), 5).T * 10
    kinds = types_of(CHART)
    for ship, values in RISK_VALUES.items():
        every = [
            np.array([values[k] for k in chosen]) @ tenths
            for chosen in itertools.product(*(kinds[name] for name in CHART))
        ]
        found = risk_outcome(ship, tenths, CHART)
        np.testing.assert_allclose(found.low, np.min(every, axis=0))
        np.testing.assert_allclose(found.high, np.max(every, axis=0))


def test_thick_ice_may_be_medium_only_where_no_class_is():
    assert len(types_of(CHART)["thick first-year ice"]) == 3
    both = types_of(["medium_first_year_ice", "thick first-year ice", "water"])
    assert both["thick first-year ice"] == (TYPES.index("thick first-year"),)


def test_a_map_becomes_outcomes_of_cells_by_hand():
    words = ["measure", "polaris", ice_map(), "--ship", "PC7", "--cell-km", "0.4"]
    assert main(words) == 0
    with rasterio.open("polaris.tif") as file:
        low, high = file.read()
        assert file.tags()["warning"] == "NOT FOR NAVIGATION"
        assert "table 1.3" in file.tags()["definition"]
        assert file.transform.a == 400
        assert file.descriptions == ("lowest outcome", "highest outcome")
    # Young ice is grey or grey-white, both 2; old ice -3 throughout; a cell of which
    # a quarter is scored has no outcome.
    expected = [[5 * 3 + 5 * 2, -30, np.nan], [5 * 3 + 5 * 2, np.nan, 30]]
    np.testing.assert_allclose(low, expected)
    np.testing.assert_allclose(high, expected)
    told = json.loads(Path("polaris.json").read_text())
    assert told["kinds"]["young_ice"] == ["grey", "grey-white"]
    assert told["operations_at_low"]["normal operation"] == 0.75
    assert main([*words[:4], "IC", *words[5:], "--overwrite"]) == 0
    with rasterio.open("polaris.tif") as file:
        low, high = file.read()
    assert main([*words, "-o", "ice.tif", "--overwrite"]) == 1
    assert rasterio.open("ice.tif").count == 1  # what is read is never replaced
    # Of IC grey is 1 and grey-white 0; old ice -6 to -8.
    assert (low[0, 0], high[0, 0]) == (15, 20)
    assert (low[0, 1], high[0, 1]) == (-80, -60)


def test_cells_full_of_ice_are_judged_and_square_on_unequal_pixels():
    """Shares of sevenths add up to a little more than all in floating point."""
    codes = np.random.default_rng(0).integers(1, 5, (14, 700)).astype("uint8")
    names = ("water", "new ice", "grey ice", "thick first-year ice", "old ice")
    tags = {f"class_{code}": name for code, name in enumerate(names)}
    write("full.tif", codes, size=100, height=200, **tags)
    words = ["measure", "polaris", "full.tif", "--ship", "IC", "--cell-km", "1.4"]
    assert main(words) == 0
    with rasterio.open("polaris.tif") as file:
        low, _ = file.read()
        assert (file.transform.a, file.transform.e) == (1400, -1400)
        assert file.tags()["cell_km"] == "1.4"
    values = np.array([3, 2, 1, -5, -8])[codes]  # medium or thick, old: the worst
    expected = 10 * values.reshape(2, 7, 50, 14).mean(axis=(1, 3))
    np.testing.assert_allclose(low, expected, atol=1e-5)


def test_ice_counts_by_its_concentration_and_the_rest_is_ice_free():
    sic = np.full((8, 12), 0.4, "float32")
    write("sic.tif", sic)
    words = ["measure", "polaris", ice_map(), "--ship", "IC", "--cell-km", "0.4"]
    assert main([*words, "--concentration", "sic.tif"]) == 0
    with rasterio.open("polaris.tif") as file:
        low, _ = file.read()
    assert low[0, 0] == pytest.approx(0 * 2 + 3 * 8)
    assert low[0, 1] == pytest.approx(-8 * 4 + 3 * 6)


def test_a_ship_without_a_polar_class_knows_no_elevated_risk():
    outcomes = np.array([3.0, 0.0, -0.5, -10.0, -10.5, np.nan])
    assert operation_of("PC3", outcomes).tolist() == [0, 0, 1, 1, 2, -1]
    assert operation_of("none", outcomes).tolist() == [0, 0, 2, 2, 2, -1]


@pytest.mark.parametrize(
    ("change", "words", "told"),
    [
        ({"class_2": "fast ice"}, [], "kinds of ice that POLARIS"),
        ({"class_0": "grey ice"}, [], "one class of open water"),
        ({}, ["--ship", "PC8"], "ship"),
        ({}, ["--concentration", "percent.tif"], "fraction, 0 to 1"),
        ({}, ["--concentration", "other.tif"], "on the grid"),
        ({}, ["--out", "polaris.csv"], "must end in .tif"),
    ],
)
def test_what_is_wrong_is_one_error_and_no_file(change, words, told, capsys):
    path = ice_map()
    with rasterio.open(path, "r+") as file:
        file.update_tags(**change)
    write("percent.tif", np.full((8, 12), 40, "float32"))
    write("other.tif", np.full((8, 12), 0.4, "float32"), size=50)
    given = words if "--ship" in words else ["--ship", "PC6", *words]
    assert main(["measure", "polaris", path, *given]) == 1
    assert told in capsys.readouterr().err
    assert not list(Path().glob("polaris*"))
