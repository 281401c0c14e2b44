"""`arcticdl measure`: fronts, snow lines and melt onset from files of many dates."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
from shapely import LineString

from arcticdl.cli import main
from arcticdl.inference.lines import write_line

GRID = {
    "crs": rasterio.crs.CRS.from_epsg(3413),
    "transform": rasterio.Affine(50, 0, -2e5, 0, -50, -1.2e6),
}
POSITIONS = {"2020-08-01": 90, "2019-08-01": 100, "2021-08-01": 70}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def line(name, row, time, *, ends=(0, 120)):
    """A straight front along a row of pixels, as a prediction would write it."""
    cols = np.arange(*ends)
    path = np.stack([np.full(len(cols), row), cols], axis=1)
    return write_line(path, name, GRID, name="front", threshold=0.2, time=time)


def write_back(row, ends=(10, 110), crs=GRID["crs"], name="back.gpkg"):
    points = [GRID["transform"] * (col + 0.5, row + 0.5) for col in ends]
    geopandas.GeoDataFrame(geometry=[LineString(points)], crs=crs).to_file(name)
    return name


@pytest.fixture
def fronts():
    """Fronts 100, 90 and 70 rows ahead of the back, given out of order."""
    write_back(200)
    return [
        str(line(f"{day}_line.gpkg", 200 - rows, f"{day}T12:00:00Z"))
        for day, rows in POSITIONS.items()
    ]


def test_fronts_become_a_table_with_true_metres_and_its_definition(fronts, capsys):
    assert main(["measure", "fronts", *fronts, "--back", "back.gpkg"]) == 0
    assert "2019-08-01" in capsys.readouterr().out
    table = pd.read_csv("fronts.csv", parse_dates=["time"])
    assert table["file"].tolist() == [f"{d}_line.gpkg" for d in sorted(POSITIONS)]
    # Geodesic distances between points of the same column, apart from the box method.
    to_lonlat = pyproj.Transformer.from_crs(3413, 4326, always_xy=True)
    geod = pyproj.Geod(ellps="WGS84")
    points = {
        row: to_lonlat.transform(*(GRID["transform"] * (60.5, row + 0.5)))
        for row in (200, 100, 110, 130)
    }
    wanted = [geod.inv(*points[200], *points[row])[2] for row in (100, 110, 130)]
    np.testing.assert_allclose(table["position_m"], wanted, rtol=5e-4)
    assert abs(wanted[0] / (100 * 50) - 1) > 0.01  # the plane of the map would be off
    assert table["rate_m_per_year"].isna()[0]
    rate = (table["position_m"][1] - table["position_m"][0]) / (366 / 365.25)
    assert table["rate_m_per_year"][1] == pytest.approx(rate, abs=0.2)
    told = json.loads(Path("fronts.json").read_text())
    assert told["num_positions"] == 3 and told["trend_m_per_year"] < -700
    assert "box method" in told["definition"]
    assert Path("fronts.png").stat().st_size > 5000


def test_the_line_at_the_back_may_be_in_degrees(fronts):
    geopandas.read_file("back.gpkg").to_crs(4326).to_file("degrees.gpkg")
    for back in ("back.gpkg", "degrees.gpkg"):
        words = [*fronts, "--back", back, "-o", f"{back[:4]}.csv"]
        assert main(["measure", "fronts", *words]) == 0
    assert Path("back.csv").read_text() == Path("degr.csv").read_text()


def test_a_front_that_is_missing_or_too_short_has_no_position(fronts):
    short = line("short_line.gpkg", 80, "2022-08-01T12:00:00Z", ends=(30, 120))
    none = write_line(np.zeros((0, 2), int), "none_line.gpkg", GRID, name="front",
                      threshold=0)  # fmt: skip
    words = [*fronts, str(short), str(none), "--back", "back.gpkg"]
    assert main(["measure", "fronts", *words]) == 0
    table = pd.read_csv("fronts.csv")
    assert table["position_m"].isna().tolist() == [False] * 3 + [True] * 2
    told = json.loads(Path("fronts.json").read_text())
    assert (told["num_positions"], told["num_without"]) == (3, 2)


@pytest.mark.parametrize(
    "spoil,words",
    [
        (lambda: write_back(105), "must lie behind every front"),
        (lambda: write_back(200, ends=(10, 60, 110)), "one line of two points"),
        (lambda: write_back(200, crs=None), "must have a CRS"),
        (lambda: Path("back.gpkg").unlink(), "No such file: back.gpkg"),
        (lambda: Path("back.gpkg").write_bytes(b"II*"), "cannot be read as vectors"),
        (lambda: line("2020-08-01_line.gpkg", 110, ""), "attribute `time`"),
        (lambda: line("2020-08-01_line.gpkg", 110, "2019-08-01T12:00:00Z"),
         "a time of its own"),
        (lambda: Path("fronts.csv").touch(), "Choose another place (--out)"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_what_gives_no_positions_is_refused_in_one_line(fronts, spoil, words, capsys):
    spoil()
    before = sorted(Path().iterdir())
    assert main(["measure", "fronts", *fronts, "--back", "back.gpkg"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and words in told[0]
    assert sorted(Path().iterdir()) == before


def write(name, array, *, tags=None, transform=GRID["transform"], bands=(), crs=3413):
    layers = array if array.ndim == 3 else array[None]
    with rasterio.open(
        name, "w", driver="GTiff", height=layers.shape[1], width=layers.shape[2],
        count=len(layers), dtype=layers.dtype, transform=transform,
        crs=None if crs is None else f"EPSG:{crs}",
    ) as file:  # fmt: skip
        file.write(layers)
        file.update_tags(**(tags or {}))
        if bands:
            file.descriptions = bands
    return name


CLASSES = {"class_0": "bare ice", "class_1": "snow", "class_2": "cloud"}


@pytest.fixture
def glacier():
    """Snow above 612 m on a slope, a cloud, and a DEM of another grid."""
    height = np.linspace(1000, 0, 101)[:, None] + np.zeros(60)
    wide = rasterio.Affine(100, 0, -2.02e5, 0, -100, -1.198e6)
    x, y = wide * (np.arange(120) + 0.5, np.arange(120) + 0.5)
    rows = (y - GRID["transform"].f) / GRID["transform"].e - 0.5
    dem = np.repeat(1000 - 10 * rows[:, None], 120, axis=1).astype("float32")
    write("dem.tif", dem, transform=wide)
    codes = (height > 612).astype(np.uint8)
    codes[:, :10] = 2
    write("july.tif", codes, tags=CLASSES)
    assert x.min() < GRID["transform"].c
    return ["measure", "snow-line", "july.tif", "--elevation", "dem.tif"]


def test_a_snow_line_has_the_altitude_of_the_dem(glacier):
    assert main([*glacier, "--snow", "snow", "--no-snow", "bare ice"]) == 0
    table = pd.read_csv("snow_line.csv")
    assert table["altitude_m"][0] == pytest.approx(612, abs=5)
    assert table["agreement"][0] == 1.0 and table["num_pixels"][0] == 101 * 50
    assert (
        "fewest pixels" in json.loads(Path("snow_line.json").read_text())["definition"]
    )


@pytest.mark.parametrize(
    "more,words",
    [
        (["--snow", "firn", "--no-snow", "bare ice"], "firn"),
        (["--snow", "snow", "--no-snow", "bare ice,snow"], "['snow'] as both"),
        (["--snow", "snow", "--no-snow", "bare ice", "-o", "a.txt"], "end in .csv"),
    ],
)
def test_what_gives_no_snow_line_is_refused(glacier, more, words, capsys):
    assert main([*glacier, *more]) == 1
    assert words in capsys.readouterr().err
    assert not list(Path().glob("*.csv"))


def test_a_dem_must_lie_where_the_map_does(glacier, capsys):
    write(
        "dem.tif",
        np.ones((9, 9), "float32"),
        transform=rasterio.Affine(9, 0, 0, 0, -9, 0),
    )
    assert main([*glacier, "--snow", "snow", "--no-snow", "bare ice"]) == 1
    assert "must cover the map" in capsys.readouterr().err
    write("dem.tif", np.ones((9, 9), "float32"), crs=None)
    assert main([*glacier, "--snow", "snow", "--no-snow", "bare ice"]) == 1
    assert "must have a CRS" in capsys.readouterr().err


@pytest.fixture
def backscatter():
    """Twelve weeks of HH: column c is wet from week 5 + c on, the last one never."""
    days = np.arange("2019-12-29", "2020-03-22", 7, dtype="M8[D]")
    names = []
    for week, day in enumerate(days):
        hh = np.full((300, 4), -10.0, "float32")
        hh[:, [week >= 5, week >= 6, week >= 7, False]] = -14.0
        tags = {"time": f"{day}T06:00:00Z"}
        both = np.stack([hh, hh - 8])
        names.append(write(f"{week:02d}.tif", both, tags=tags, bands=("HH", "HV")))
    onset = ["measure", "melt-onset", *names[::-1], "--band", "HH", "--change=-3"]
    return [*onset, "--winter", "2019-12-01", "2020-01-20"], days


def test_melt_onset_is_a_map_of_days(backscatter):
    words, days = backscatter
    assert main(words) == 0
    with rasterio.open("melt_onset.tif") as file:
        found = file.read(1)
        assert file.transform == GRID["transform"] and file.tags()["year"] == "2020"
        assert "3 scenes in a row" in file.tags()["definition"]
        assert "2019-12-01 to 2020-01-20 by -3" in file.tags()["definition"]
    wanted = [pd.Timestamp(days[week]).day_of_year for week in (5, 6, 7)]
    np.testing.assert_array_equal(found[:, :3], np.tile(wanted, (300, 1)))
    assert np.isnan(found[:, 3]).all()
    assert main([*words, "-o", "03.tif", "--overwrite"]) == 1
    assert rasterio.open("03.tif").count == 2  # what is read is never replaced


@pytest.mark.parametrize(
    "spoil,words",
    [
        ({"bands": ("VV", "VH")}, "`band` (--band)"),
        ({"tags": {}}, "must tell its time"),
        ({"transform": rasterio.Affine(50, 0, 0, 0, -50, 0)}, "must lie on one grid"),
        ({"tags": {"time": "2019-12-29T06:00:00Z"}}, "must rise"),
    ],
)
def test_scenes_that_make_no_series_are_refused(backscatter, spoil, words, capsys):
    given = {"tags": {"time": "2020-01-05T06:00:00Z"}, "bands": ("HH", "HV")} | spoil
    write("01.tif", np.zeros((2, 300, 4), "float32"), **given)
    assert main(backscatter[0]) == 1
    assert words in capsys.readouterr().err
    assert not Path("melt_onset.tif").exists()
