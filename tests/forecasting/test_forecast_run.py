"""Forecasts from YAML to files: a stack of known months, trained and scored."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from made_stack import YEARS, describe, make_sic, write_years

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, SceneError, SeriesError, SplitError
from arcticdl.evaluation.forecasts.fields import forecast_dataset
from arcticdl.evaluation.forecasts.issue import Issued
from arcticdl.experiment import predict, prepare
from arcticdl.experiment.build import build_feeds
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.network import build_network
from arcticdl.experiment.split import choose_folds
from arcticdl.metrics import cell_areas_km2
from arcticdl.tiles.views.forecast import sensor_changes


def configured(**sections):
    name = sections.setdefault("name", "made")
    Path(f"{name}.yaml").write_text(yaml.safe_dump(describe(**sections)))
    return load_config(f"{name}.yaml")


def with_series(**changes):
    """The data section with a changed series, or changed context."""
    data = describe()["data"]
    for key, value in changes.items():
        place = data["series"] if key in data["series"] else data["series"]["context"]
        place[key] = value
    return {"data": data}


def test_the_configuration_of_the_real_record_trains_a_step(
    project_root, tmp_path, monkeypatch
):
    # Files of the record's names and variables, of a made field that is smaller.
    years = range(2002, 2018)
    made = write_years(tmp_path / "made", make_sic(years), years)
    record = tmp_path / "nsidc_monthly"
    record.mkdir()
    for year in years:
        with xr.open_dataset(made / f"sic_{year}.nc") as stack:
            renamed = stack.rename(sic="cdr_seaice_conc_monthly")
            renamed.to_netcdf(record / f"nsidc_cdr_sic_{year}.nc")
    monkeypatch.setenv("ARCTICDL_SAMPLE_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = str(project_root / "configs" / "sea_ice_forecast.yaml")
    smaller = [
        "--set",
        "tiles.size_px=[24, 20]",
        "--set",
        "data.series.context.regions={}",
    ]
    assert main(["prepare", config, *smaller]) == 0
    short = ["--set", "train.epochs=1", "--set", "train.ensemble=null"]
    assert main(["train", config, "--fold", "0", *smaller, *short]) == 0
    split = json.loads(Path("runs/sea_ice_forecast/fold0/split.json").read_text())
    assert len(split["test"]) > 0
    assert Path("runs/sea_ice_forecast/fold0/model.keras").exists()


def test_daily_files_take_that_configuration_with_one_line_changed(
    project_root, tmp_path, monkeypatch
):
    years = (2002, 2003, 2004, 2015, 2016, 2017)
    sic = make_sic(years)  # taken for twelve days of March a year
    made = write_years(tmp_path / "made", sic, years)
    (tmp_path / "nsidc_monthly").mkdir()
    for year in years:
        days = np.datetime64(f"{year}-03-01", "ns") + np.arange(12) * np.timedelta64(
            1, "D"
        )
        with xr.open_dataset(made / f"sic_{year}.nc") as stack:
            daily = stack.rename(sic="cdr_seaice_conc_monthly").assign_coords(time=days)
            daily.to_netcdf(tmp_path / f"nsidc_monthly/nsidc_cdr_sic_{year}.nc")
    monkeypatch.setenv("ARCTICDL_SAMPLE_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    smaller = ("tiles.size_px=[24, 20]", "data.series.context.regions={}")
    path = project_root / "configs" / "sea_ice_forecast.yaml"
    config = load_config(path, ("data.series.step_h=24", *smaller))
    prepare(config)
    store = open_prepared(config)
    test = choose_folds(store, config)[0].test
    assert len(test) == 3 * 11  # what follows the last day of a year is not there
    found = store.read(test[:1])
    np.testing.assert_array_equal(found["sic_t3"][0], sic[39])
    usual = found["image"][0][..., store.bands.index("climatology_t3")]
    # All twelve days lie within 15 days of each other, in each year of reference.
    np.testing.assert_allclose(usual, sic[:36].mean(0), atol=1e-6)


@pytest.fixture
def here(made_stack, monkeypatch):
    monkeypatch.chdir(made_stack)
    return made_stack


@pytest.fixture(scope="module")
def found(made_stack):
    """What the command writes after two epochs, its folder, and what it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made_stack)
        configured()
        assert main(["train", "made.yaml", "--fold", "0"]) == 0
        assert main(["forecast", "runs/made"]) == 0
    return made_stack / "runs" / "made" / "fold0" / "forecast"


def test_every_score_is_of_the_cells_and_dates_it_says(found):
    """The climatology's MAE and IIEE, from the raw stack by NumPy."""
    sic = make_sic()
    x, y = -237500.0 + 25000 * np.arange(20), 312500.0 - 25000 * np.arange(24)
    area = cell_areas_km2(x, y, "EPSG:3413")
    counted = np.isfinite(sic).all(0) & (np.nan_to_num(sic[:96]).max(0) > 0)
    rows = json.loads((found / "forecast.json").read_text())["scores"]
    told = {(r["method"], r["lead"]): r for r in rows}
    for lead in (1, 2):
        mae, iiee = [], []
        for target in range(96 + lead, 120):
            usual = sic[target % 12 : 96 : 12].mean(0)
            off = np.abs(usual - sic[target])[counted]
            mae.append((off * area[counted]).sum() / area[counted].sum())
            differs = (usual >= 0.15) != (sic[target] >= 0.15)
            iiee.append(area[counted & differs].sum() / 1e6)
        assert told["climatology", lead]["mae"] == pytest.approx(np.mean(mae), 1e-4)
        assert told["climatology", lead]["iiee"] == pytest.approx(np.mean(iiee), 1e-4)
        assert told["climatology", lead]["num_dates"] == 24 - lead
    assert {m for m, _ in told} == {
        "network", "anomaly_persistence", "climatology", "damped_anomaly",
        "damped_median",
        "persistence", "trend",
    }  # fmt: skip


def test_what_tells_its_spread_is_scored_by_it(found):
    rows = json.loads((found / "forecast.json").read_text())
    scores = {(r["method"], r["lead"]): r for r in rows["scores"]}
    assert scores["climatology", 1]["crps"] < scores["climatology", 1]["mae"]
    assert scores["trend", 1]["crps"] == pytest.approx(scores["trend", 1]["mae"])
    assert scores["trend", 1]["sps"] == pytest.approx(scores["trend", 1]["iiee"])
    told = {(r["method"], r["lead"]) for r in rows["spread_skill"]}
    assert told == {(m, k) for m in ("network", "climatology") for k in (1, 2)}


def test_strata_average_to_the_whole(found):
    """Each date counts once; the region of all cells is the whole."""
    table = pd.read_csv(found / "scores.csv")
    whole = table[(table["region"] == "all") & (table["method"] == "network")]
    rows = json.loads((found / "forecast.json").read_text())
    for column in ("month", "season", "year"):
        mine = [r for r in rows["strata"][column] if r["method"] == "network"]
        for lead in (1, 2):
            parts = [r for r in mine if r["lead"] == lead]
            count = sum(r["num_dates"] for r in parts)
            mean = sum(r["mae"] * r["num_dates"] for r in parts) / count
            expected = whole[whole["lead"] == lead]["mae"].mean()
            assert mean == pytest.approx(expected)
    assert {r["region"] for r in rows["strata"]["region"]} == {"all", "north"}


def test_skills_are_against_the_best_baseline_with_intervals_over_years(found):
    result = json.loads((found / "forecast.json").read_text())
    scores = {(r["method"], r["lead"]): r for r in result["scores"]}
    for row in result["skill"]:
        others = [r[row["score"]] for (m, k), r in scores.items()
                  if m != "network" and k == row["lead"]]  # fmt: skip
        assert row["of_baseline"] == pytest.approx(min(others))
        assert row["skill"] == pytest.approx(1 - row["value"] / min(others))
        assert row["interval"][0] <= row["skill"] <= row["interval"][1]
        assert row["num_years"] == 2


def test_the_file_of_forecasts_keeps_the_conventions(found):
    with xr.open_dataset(found / "forecast.nc") as data:
        assert data["sic"].dims == ("issue", "lead", "y", "x")
        assert data["sic_quantile"].dims == ("issue", "lead", "quantile", "y", "x")
        assert data["sic"].attrs["standard_name"] == "sea_ice_area_fraction"
        assert data.attrs["Conventions"].startswith("CF-")
        assert data["lead"].values.tolist() == [1, 2]
        first, second = data["issue"].values[0], data["time"].values[0]
        assert str(first)[:10] == "2008-01-01"
        assert [str(t)[:10] for t in second] == ["2008-02-01", "2008-03-01"]
        assert data["forecast_period"].values[0].tolist() == [31, 60]
        assert data["y"].attrs["standard_name"] == "projection_y_coordinate"
        known = np.isfinite(data["sic"].values)
        assert (
            (data["sic"].values[known] >= 0) & (data["sic"].values[known] <= 1)
        ).all()
        rise = np.diff(data["sic_quantile"].values, axis=2)
        assert (rise[np.isfinite(rise)] >= 0).all()
        np.testing.assert_allclose(
            data["sic_quantile"].sel(quantile=0.5), data["sic"], equal_nan=True
        )
        np.testing.assert_array_equal(data["observed"][0, 0], make_sic()[97])
        chance, q = data["ice_probability"].values, data["sic_quantile"].values
        np.testing.assert_array_equal(np.isfinite(chance), known)
        # A tenth lies below the lowest quantile, and a tenth above the highest.
        assert (chance[known & (q[:, :, 0] >= 0.15)] >= 0.9 - 1e-6).all()
        assert (chance[known & (q[:, :, 2] < 0.15)] <= 0.1 + 1e-6).all()
        even = known & (np.abs(q[:, :, 1] - 0.15) < 1e-3)
        np.testing.assert_allclose(chance[even], 0.5, atol=0.1)
    with xr.open_dataset(found / "latest.nc") as latest:
        assert str(latest["issue"].values[0])[:10] == "2009-12-01"
        assert np.isnan(latest["observed"]).all()
        assert np.isfinite(latest["sic"]).any()


def test_a_grid_in_degrees_has_axes_in_degrees():
    """As the conventions have them, which know no projection there."""
    when, day = np.datetime64("2020-03-01"), np.datetime64("2020-03-04")
    field = np.zeros((1, 2, 3), "float32")
    issued = [Issued("a", when, (3,), (day,), field, {"persistence": field})]
    data = forecast_dataset(
        issued,
        "persistence",
        grid=(np.array([0.5, 1.5, 2.5]), np.array([80.5, 79.5]), "EPSG:4326"),
        quantity="sic",
        units="1",
        step_h=24,
    )
    told = {axis: data[axis].attrs for axis in "xy"}
    assert (told["x"]["standard_name"], told["x"]["units"]) == (
        "longitude",
        "degrees_east",
    )
    assert (told["y"]["standard_name"], told["y"]["units"]) == (
        "latitude",
        "degrees_north",
    )
    assert data["forecast_period"].values.tolist() == [[3.0]]


def test_the_page_stands_alone_and_the_film_has_frames(found):
    page = (found / "forecast.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "https://matplotlib.org", ""
    ).replace("http://purl.org", "").replace("http://creativecommons.org", "")
    assert "Sensor changes at 2004-01-01: SSM/I" in page
    from PIL import Image

    with Image.open(found / "forecast.gif") as film:
        assert film.n_frames == 23


def test_an_untrained_network_answers_as_the_baseline_it_starts_from(here):
    config = configured()
    store = open_prepared(config)
    split = choose_folds(store, config)[0]
    feed, _ = build_feeds(config, store, split, seed=0)
    model = build_network(config, feed.card, 10)
    image, _ = feed[0]
    answers = model.predict_on_batch(image)
    for name in ("sic_t1", "sic_t2"):
        base = image[..., store.bands.index(store.starts[name])]
        np.testing.assert_allclose(answers[name][..., 1], base, atol=1e-6)
        assert (np.diff(answers[name], axis=-1) >= 0).all()


@pytest.mark.parametrize("fusion", ["attention", "convgru", "convlstm", "transformer"])
def test_every_fusion_gives_each_date_the_context(here, fusion):
    options = describe()["model"]["options"] | {"series": {"fusion": fusion}}
    config = configured(name="fused", model={"options": options},
                        tiles={"store": "data/made.tiles"})  # fmt: skip
    store = open_prepared(config)
    split = choose_folds(store, config)[0]
    feed, _ = build_feeds(config, store, split, seed=0)
    model = build_network(config, feed.card, 10)
    answers = model(feed[0][0])
    assert all(np.isfinite(np.asarray(answer)).all() for answer in answers.values())
    backbone = next(layer for layer in model.layers if layer.name == "backbone")
    assert backbone.input.shape[-1] == 1 + store.num_context


@pytest.mark.parametrize("leads", ["conditioned", "rollout"])
def test_one_network_answers_all_leads_from_the_configuration(here, leads):
    options = describe()["model"]["options"]
    options |= {"series": {"fusion": "convlstm", "leads": leads}}
    config = configured(name="leads", model={"options": options},
                        tiles={"store": "data/made.tiles"})  # fmt: skip
    store = open_prepared(config)
    split = choose_folds(store, config)[0]
    feed, _ = build_feeds(config, store, split, seed=0)
    model = build_network(config, feed.card, 10)
    image, _ = feed[0]
    answers = model.predict_on_batch(image)
    for name in ("sic_t1", "sic_t2"):
        base = image[..., store.bands.index(store.starts[name])]
        np.testing.assert_allclose(answers[name][..., 1], base, atol=1e-6)
    direct = build_network(configured(), feed.card, 10)
    assert list(answers) == list(direct.predict_on_batch(image))


def test_cells_that_one_date_lacks_are_void_at_all_dates(here):
    sic = make_sic()
    sic[:30, 0, 0] = np.nan  # a hole of an earlier sensor
    write_years(Path("hole"), sic)
    data = describe(folder="hole")["data"]
    config = configured(name="hole", data=data)
    prepare(config)
    store = open_prepared(config)
    last = store.read([len(store) - 1])
    assert np.isnan(last["sic_t1"][0, 0, 0]) and not last["valid"][0, 0, 0]
    assert np.isfinite(last["sic_t1"][0, 0, 1])


def test_a_band_is_missing_until_it_is_known(here):
    sic = make_sic()
    write_years(Path("two"), sic)
    for path in sorted(Path("two").glob("*.nc")):
        with xr.open_dataset(path) as data:
            more = data.assign(sst=data["sic"] * 0 + 1.5).load()
        more["sst"].attrs = dict(more["sic"].attrs)
        more.to_netcdf(path)
    data = describe(folder="two")["data"]
    data["series"]["context"]["delay_steps"] = {"sst": 1}
    config = configured(name="two", data=data)
    prepare(config)
    store = open_prepared(config)
    image = dict(zip(store.bands, np.moveaxis(store.read([5])["image"][0], -1, 0),
                     strict=True))  # fmt: skip
    assert np.isnan(image["sst"]).all()
    assert image["sst_t-1"][0, 0] == 1.5
    assert np.isfinite(image["sic"][0, 0])


def test_a_change_of_sensor_is_told(here):
    assert sensor_changes(open_prepared(configured())) == [
        "sensor changes at 2004-01-01: SSM/I -> SSMIS"
    ]


def test_a_variable_that_ends_before_its_dates_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    years = range(2000, 2004)
    sic = make_sic(years)
    sic[45:] = np.nan
    write_years(Path("stack"), sic, years)
    with pytest.raises(SceneError, match=r"sic_2003_0\d\d., all nodata or outside"):
        prepare(configured())


def test_a_further_variable_that_ends_early_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    years = range(2000, 2004)
    write_years(Path("stack"), make_sic(years), years)
    for year in years:
        path = f"stack/sic_{year}.nc"
        with xr.open_dataset(path) as data:
            both = data.load().assign(sst=data["sic"] * (np.nan if year > 2002 else 2))
        both["sst"].attrs = both["sic"].attrs | {"units": "degC"}
        both.to_netcdf(path)
    with pytest.raises(SceneError, match=r"sic_2003_0\d\d., whose bands \['sst'\]"):
        prepare(configured())


def test_a_grid_that_moves_by_half_a_cell_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    years = range(2000, 2004)
    write_years(Path("stack"), make_sic(years), years)
    with xr.open_dataset("stack/sic_2003.nc") as data:
        changed = data.load()
    changed["x"] = ("x", changed["x"].values + 12_500, changed["x"].attrs)
    changed.to_netcdf("stack/sic_2003.nc")
    series = with_series(reference=[2000, 2002])
    config = configured(**series, folds={"test": {"year": ["2003"]}})
    prepare(config)
    with pytest.raises(SeriesError, match=r"must lie on one grid.*0\.5 px apart"):
        open_prepared(config)


def test_a_date_that_lacks_most_cells_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    years = range(2000, 2004)
    sic = make_sic(years)
    sic[20, 3:] = np.nan
    write_years(Path("stack"), sic, years)
    config = configured(**with_series(reference=[2000, 2002]))
    prepare(config)
    with pytest.raises(SeriesError, match="less than half, such as 'sic_2001_008'"):
        open_prepared(config).read([0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (with_series(history=300), SeriesError, "must not be longer than the series"),
        (with_series(step_h=24), SeriesError, "has a label at the steps"),
        (with_series(reference=[1980, 1990]), SeriesError, "at least 3 years"),
        (with_series(limits=[0, 0.5]), SeriesError, "values from 0 to 1. Set"),
        ({"folds": {"test": {"year": ["2005"]}}}, SplitError, "lie outside the years"),
    ],
    ids=["history", "step", "reference", "limits", "test inside"],
)
def test_series_that_cannot_be_forecast_are_refused(here, changes, error, message):
    config = configured(name="no", tiles={"store": "data/made.tiles"}, **changes)
    with pytest.raises(error, match=message):
        store = open_prepared(config)
        choose_folds(store, config)
        store.read([0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (with_series(answers=[0]), "leads of 1 step and more"),
        (with_series(of="snow"), "must name a label that is a quantity"),
        (with_series(delay_steps={"sic": 1}), "which is what is forecast"),
    ],
)
def test_a_configuration_that_cannot_forecast_is_refused(here, changes, message):
    with pytest.raises(ConfigError, match=message):
        configured(name="no", **changes)


@pytest.mark.parametrize("kind", ["versions", "doubled", "grid"])
def test_stacks_that_do_not_belong_together_are_refused(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    years = range(2000, 2004)
    sic = make_sic(years)
    if kind == "versions":
        told = {year: "v04r00" if year < 2002 else "v05r00" for year in years}
        write_years(Path("stack"), sic, years, version=told)
    else:
        write_years(Path("stack"), sic, years)
        with xr.open_dataset("stack/sic_2003.nc") as data:
            changed = data.load()
        if kind == "doubled":
            changed["time"] = changed["time"] - np.timedelta64(366, "D")
        else:
            changed["x"] = changed["x"] + 50_000
        changed.to_netcdf("stack/sic_2003.nc")
    series = {"reference": [2000, 2002]}
    config = configured(**with_series(**series), folds={"test": {"year": ["2003"]}})
    messages = {
        "versions": "one version of its product.*v04r00 from 2000-01",
        "doubled": "must have one scene|h apart",
        "grid": "must lie on one grid",
    }
    with pytest.raises(SeriesError, match=messages[kind]):
        prepare(config)  # refuses dates that stand twice; the store refuses the rest
        open_prepared(config)


def test_a_field_cut_into_tiles_is_not_scored_as_a_whole(here, found):
    store = open_prepared(configured())
    from arcticdl.evaluation.forecasts.issue import issue_forecasts

    table = store.store.manifest
    store.store.manifest = table.assign(scene_id="one")
    with pytest.raises(SeriesError, match="one tile a scene"):
        next(issue_forecasts({}, store, [0], progress=False))


def test_a_run_without_context_makes_no_forecast(here, found, monkeypatch):
    assert sorted(YEARS)[0] == 2000
    data = describe()["data"]
    del data["series"]["context"]
    config = configured(name="plain", data=data, tiles={"store": "data/made.tiles"})
    from arcticdl.experiment.forecasts import run

    monkeypatch.setattr(run, "load_run", lambda folder: (Path("runs/made"), config))
    with pytest.raises(ConfigError, match="judged: set"):
        run.forecast("runs/made")


def test_files_are_not_mapped_by_what_needs_the_years_of_a_store(here, found):
    with pytest.raises(ConfigError, match="arcticdl forecast runs/made"):
        predict("runs/made")
