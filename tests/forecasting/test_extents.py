"""Extents of regions: measured on known maps, forecast by an LSTM, scored by hand."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
import yaml
from made_stack import describe, make_sic

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, SeriesError
from arcticdl.evaluation.forecasts.region_page import far_off
from arcticdl.experiment import measure_extents, prepare
from arcticdl.experiment.build import build_feeds
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.forecasts.ground import _boxes as region_boxes
from arcticdl.experiment.forecasts.ground import ground_of
from arcticdl.experiment.network import build_network
from arcticdl.experiment.split import choose_folds
from arcticdl.inference.series.extents import region_extents, write_extents
from arcticdl.metrics import cell_areas_km2

REGIONS = {"west": [-180, -45, 60, 90], "east": [-45, 180, 60, 90]}
AREA = cell_areas_km2(
    -237500.0 + 25000 * np.arange(20), 312500.0 - 25000 * np.arange(24), "EPSG:3413"
)
FIRST = 48  # months of the stack before the years that are forecast
SMALLER = (
    "data.scenes=extent/extent_200[4-9].nc",
    "data.series.context.reference=[2004, 2007]",
    "folds.test={year: ['2008', '2009']}",
    "folds.allow=[duplicates]",
    "tiles.size_px=[1, 3]",
    "model.options.backbone_options.width=8",
    "train.epochs=2",
    "train.ensemble=null",
)
"""From ``configs/extent.yaml`` to the extents of the made stack."""


def maps_config(**context):
    tree = describe()
    tree["data"]["series"]["context"] |= {"regions": REGIONS, **context}
    Path("maps.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return load_config("maps.yaml")


def words(*further):
    return [word for setting in (*SMALLER, *further) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def real(project_root):
    """The configuration of the real record, in small: settings -> experiment."""
    path = project_root / "configs" / "extent.yaml"
    return lambda *further: load_config(path, (*SMALLER, *further))


@pytest.fixture(scope="module")
def measured(made_stack, real):
    """A folder with the table of a made stack, and the store of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made_stack)
        maps_config()
        assert main(["measure", "extent", "maps.yaml", "-o", "extent"]) == 0
        prepare(real())
    return made_stack


@pytest.fixture
def there(measured, monkeypatch):
    monkeypatch.chdir(measured)
    return measured


@pytest.fixture(scope="module")
def scored(measured, project_root):
    """What an LSTM of two epochs forecasts."""
    config = str(project_root / "configs" / "extent.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(measured)
        assert main(["train", config, "--fold", "0", *words()]) == 0
        assert main(["forecast", "runs/extent"]) == 0
    return measured / "runs" / "extent" / "fold0" / "forecast"


def by_hand():
    """(date,) extents of the whole field in million km2, and its sea."""
    sic = make_sic()
    seen = np.isfinite(sic).all(0)
    icy = np.nan_to_num(sic) >= 0.15
    sea = AREA[seen & icy[:96].any(0)].sum() / 1e6
    return np.array([AREA[seen & ice].sum() / 1e6 for ice in icy]), sea


def test_extents_are_of_true_areas_over_cells_that_all_dates_have(there):
    table = pd.read_csv("extent/extents.csv", parse_dates=["time"])
    whole = table[table["region"] == "whole field"].sort_values("time")
    extents, sea = by_hand()
    np.testing.assert_allclose(whole["extent_million_km2"], extents, atol=1e-6)
    told = json.loads(Path("extent/extents.json").read_text())
    assert told["regions_km2"]["whole field"] == pytest.approx(sea * 1e6)
    assert "at all dates" in told["definition"]
    sic = make_sic()
    seen, ice = np.isfinite(sic).all(0), np.nan_to_num(sic)
    areas = [(AREA * s * (s >= 0.15))[seen].sum() / 1e6 for s in ice]
    np.testing.assert_allclose(whole["area_million_km2"], areas, atol=1e-6)


def test_regions_that_share_no_cell_add_up_to_the_whole(there):
    table = pd.read_csv("extent/extents.csv")
    wide = table.pivot(index="time", columns="region", values="extent_million_km2")
    parts = wide["west"] + wide["east"]
    np.testing.assert_allclose(parts, wide["whole field"], atol=2e-6)
    assert (wide["west"] > 0).any() and (wide["east"] > 0).any()


def test_shares_are_a_series_of_maps_of_one_row(there, real):
    store = open_prepared(real())
    names = list(json.loads(store.store.manifest["regions_km2"].iloc[0]))
    assert names == ["whole field", "west", "east"]
    extents, sea = by_hand()
    shares = extents[FIRST:] / sea
    read = store.read([13])
    np.testing.assert_allclose(read["extent_t1"][0, 0, 0], shares[14], rtol=1e-5)
    bands = dict(zip(store.bands, read["image"][0, 0, 0], strict=True))
    np.testing.assert_allclose(bands["extent_share_t-2"], shares[11], rtol=1e-5)
    others = shares[[1, 25, 37]]  # the same month of the other years of reference
    np.testing.assert_allclose(bands["anomaly"], shares[13] - others.mean(), atol=1e-5)


@pytest.mark.parametrize("fusion", ["gru", "lstm", "transformer"])
def test_an_untrained_network_of_extents_is_the_baseline_it_starts_from(
    there, real, fusion
):
    config = real(f"model.options.series.fusion={fusion}")
    store = open_prepared(config)
    split = choose_folds(store, config)[0]
    feed, _ = build_feeds(config, store, split, seed=0)
    model = build_network(config, feed.card, 10)
    image, _ = feed[0]
    answers = model.predict_on_batch(image)
    assert any(layer.name == "fuse_time_P0" for layer in model.layers)
    for name in ("extent_t1", "extent_t2", "extent_t3"):
        base = image[..., store.bands.index(store.starts[name])]
        np.testing.assert_allclose(answers[name][..., 2], base, atol=1e-6)


def test_extents_are_scored_in_million_km2(scored):
    """The errors of climatology and of anomalies that persist, by NumPy."""
    result = json.loads((scored / "forecast.json").read_text())
    rows = {(r["method"], r["lead"]): r for r in result["scores"]}
    extents, sea = by_hand()
    usual = np.stack([extents[FIRST + m : 96 : 12].mean() for m in range(12)])
    for lead in (1, 2, 3):
        targets = np.arange(96 + lead, 120)
        off = usual[targets % 12] - extents[targets]
        assert rows["climatology", lead]["mae"] == pytest.approx(
            np.abs(off).mean(), 1e-4
        )
        rmse = np.sqrt((off**2).mean())
        assert rows["climatology", lead]["rmse"] == pytest.approx(rmse, 1e-4)
        now = extents[targets - lead] - usual[(targets - lead) % 12]
        kept = np.clip(usual[targets % 12] + now, 0, sea) - extents[targets]
        found = rows["anomaly_persistence", lead]
        assert found["mae"] == pytest.approx(np.abs(kept).mean(), 1e-4)
        assert found["crps"] == pytest.approx(found["mae"])
        assert found["covered"] is None
        assert found["num_dates"] == 24 - lead
    assert result["regions"]["whole field"] == pytest.approx(sea)


def test_an_interval_covers_the_share_that_is_counted(scored):
    result = json.loads((scored / "forecast.json").read_text())
    rows = {(r["method"], r["lead"]): r for r in result["scores"]}
    assert result["covering"] == pytest.approx({"network": 0.9, "climatology": 0.9})
    for method in ("network", "climatology"):
        mine = [r for r in result["extents"]
                if r["lead"] == 1 and r["region"] == "whole field"]  # fmt: skip
        inside = [r[f"{method}_low"] <= r["truth"] <= r[f"{method}_high"] for r in mine]
        assert rows[method, 1]["covered"] == pytest.approx(np.mean(inside))
        assert rows[method, 1]["crps"] < rows[method, 1]["mae"] or method == "network"


def test_every_region_has_a_skill_of_its_own(scored):
    result = json.loads((scored / "forecast.json").read_text())
    table = pd.read_csv(scored / "scores.csv")
    assert len(result["skill"]) == 3 * 3 * 2  # regions, leads, scores
    row = next(r for r in result["skill"] if r["region"] == "east" and r["lead"] == 2)
    part = table[(table["region"] == "east") & (table["lead"] == 2)]
    means = part.groupby("method")["mae"].mean()
    assert row["value"] == pytest.approx(means["network"])
    assert row["of_baseline"] == pytest.approx(means.drop("network").min())
    assert row["num_years"] == 2


def test_files_and_page_are_of_regions(scored):
    with xr.open_dataset(scored / "forecast.nc") as data:
        assert data["extent"].dims == ("issue", "lead", "region")
        assert data["region"].values.tolist() == ["whole field", "west", "east"]
        extents, _ = by_hand()
        np.testing.assert_allclose(data["observed"][0, 0, 0], extents[97], rtol=1e-5)
        middle = data["extent_quantile"].sel(quantile=0.5)
        np.testing.assert_allclose(middle, data["extent"], equal_nan=True)
    page = (scored / "forecast.html").read_text()
    assert "whole field" in page and "IIEE" not in page
    assert not (scored / "forecast.gif").exists()


def test_a_rival_far_above_most_is_far_off_at_whatever_lead():
    errors = {"network": (0.2, 0.3), "trend": (0.4, 0.4), "persistence": (0.3, 1.3)}
    rows = [
        {"method": method, "lead": lead, "mae": mae}
        for method, values in errors.items()
        for lead, mae in enumerate(values, 1)
    ]
    assert far_off(rows) == ["persistence"]
    assert far_off(rows[:4]) == []


def test_a_missing_month_is_void_and_no_error(there, real):
    store = open_prepared(real("tiles.select=scene_id != 'extent_2004_003'"))
    times = store.manifest["time"].astype(str).str[:7].tolist()
    assert "2004-04" not in times
    after = store.read([times.index("2004-05")])["image"][0, 0, 0]
    bands = dict(zip(store.bands, after, strict=True))
    assert np.isnan(bands["extent_share_t-1"]) and np.isfinite(bands["extent_share"])


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("history=300", SeriesError, "must not be longer than the series"),
        ("step_h=24", SeriesError, "has a label at the steps"),
        ("answers=[0]", ConfigError, "leads of 1 step and more"),
    ],
    ids=["history", "step", "lead"],
)
def test_tables_that_cannot_be_forecast_are_refused(
    there, real, setting, error, message
):
    with pytest.raises(error, match=message):
        open_prepared(real(f"data.series.{setting}"))


def test_regions_of_a_table_are_told_where_it_is_measured(
    there, real, scored, monkeypatch
):
    from arcticdl.experiment.forecasts import run

    config = real("data.series.context.regions={north: [-180, 180, 60, 90]}")
    monkeypatch.setattr(run, "load_run", lambda folder: (Path("runs/extent"), config))
    with pytest.raises(ConfigError, match="whose cells are the regions"):
        run.forecast("runs/extent")


APART = {"west": [-170, -46, 60, 90], "east": [-44, 170, 60, 90]}
"""Boxes whose edges no centre of a cell lies on."""


def write_halves(path, names=("west", "east"), crs="EPSG:4326"):
    """The boxes of ``APART`` as areas of a vector file."""
    boxes = [(w, s, e, n) for w, e, s, n in APART.values()]
    shapes = [shapely.segmentize(shapely.box(*box), 0.1) for box in boxes]
    table = gpd.GeoDataFrame({"SEA": names}, geometry=shapes, crs="EPSG:4326")
    table.to_crs(crs).to_file(path)
    return path


@pytest.mark.parametrize("first_lon", [-180, 0])
def test_boxes_are_the_same_where_a_grid_tells_longitudes_to_360(first_lon):
    place = shapely.box(first_lon, 50, first_lon + 360, 90)
    tile = gpd.GeoDataFrame(geometry=[place], crs="EPSG:4326")
    boxes = {
        "Greenwich": (-20, 40, 60, 70),
        "Bering": (160, -160, 60, 70),
        "to 360": (160, 200, 60, 70),
        "all": (-180, 180, 60, 70),
    }
    found = region_boxes(tile, boxes, (40, 360))
    assert {name: int(cells.sum()) for name, cells in found.items()} == {
        "Greenwich": 600, "Bering": 400, "to 360": 400, "all": 3600,
    }  # fmt: skip
    lon = (first_lon + np.arange(360) + 0.5 + 180) % 360 - 180
    of_row = found["Greenwich"][25]
    np.testing.assert_array_equal(of_row, (lon > -20) & (lon < 40))


@pytest.mark.parametrize(
    ("name", "crs"), [("halves.geojson", "EPSG:4326"), ("halves.gpkg", "EPSG:3413")]
)
def test_areas_of_a_file_are_measured_as_boxes_are(there, name, crs):
    file = {"file": write_halves(name, ("left", "right"), crs), "names": "SEA"}
    config = maps_config(region_file=file, regions=APART)
    table = measure_extents(config, f"of_{name}").pivot(
        index="time", columns="region", values="extent_km2"
    )
    assert set(table) == {"whole field", "left", "right", "west", "east"}
    np.testing.assert_allclose(table["left"], table["west"])
    np.testing.assert_allclose(table["right"], table["east"])


def test_forecasts_are_scored_in_the_areas_of_a_file(there):
    file = {"file": write_halves("scored.gpkg", ("a", "b")), "names": "SEA"}
    config = maps_config(region_file=file, regions={})
    ground = ground_of(open_prepared(config), config)
    boxes = maps_config(regions=APART)
    expected = ground_of(open_prepared(boxes), boxes).regions
    assert list(ground.regions) == ["a", "b"]
    np.testing.assert_array_equal(ground.regions["a"], expected["west"])
    np.testing.assert_array_equal(ground.regions["b"], expected["east"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "halves.json"}, r"`names` must be one of \['SEA'\]"),
        ({"file": "halves.json", "names": "SEA", "layer": "x"}, "`layer`"),
        ({"file": "taken.json", "names": "SEA"}, r"Received: \['west'\]"),
        ({"file": "whole.json", "names": "SEA"}, r"Received: \['all'\]"),
        ({"file": "nameless.json", "names": "SEA"}, "must have a name"),
    ],
)
def test_files_of_regions_are_refused_before_any_work(there, options, message):
    for stem, names in {
        "halves": ("left", "right"),
        "taken": ("west", "b"),
        "whole": ("all", "b"),
        "nameless": ("", "b"),
    }.items():
        write_halves(f"{stem}.json", names)
    with pytest.raises(ConfigError, match=message):
        prepare(maps_config(region_file=options))


def test_an_area_without_ice_and_an_absent_file_are_refused(there):
    write_halves("far.json")
    table = gpd.read_file("far.json").assign(geometry=shapely.box(0, -80, 10, -70))
    table.to_file("far.json")
    config = maps_config(region_file={"file": "far.json", "names": "SEA"}, regions={})
    with pytest.raises(ConfigError, match=r"'west', an area of far.json; 'east'"):
        measure_extents(config, "none")
    with pytest.raises(FileNotFoundError, match="No file of areas at nowhere"):
        prepare(maps_config(region_file="nowhere.gpkg"))


def test_extents_that_cannot_be_measured_are_refused(there):
    with pytest.raises(FileExistsError, match="overwrite"):
        measure_extents(load_config("maps.yaml"), "extent")
    with pytest.raises(ConfigError, match="must hold cells with ice"):
        measure_extents(maps_config(regions={"south": [0, 10, -90, -80]}), "none")
    percent = np.array([[0.0, 15.0]])
    with pytest.raises(ValueError, match="Divide percent by"):
        region_extents(
            [(np.datetime64("2020-01"), percent)], 625.0 + 0 * percent,
            {"all": percent >= 0},
        )  # fmt: skip
    lone = pd.DataFrame({"time": [pd.Timestamp("2020-01-01")], "region": ["a"],
                         "extent_km2": [1.0], "area_km2": [1.0]})  # fmt: skip
    with pytest.raises(ValueError, match=r"\['b'\] without some dates"):
        write_extents(lone, {"a": 2.0, "b": 2.0}, "other")
    assert not Path("none").exists() and not Path("other").exists()
