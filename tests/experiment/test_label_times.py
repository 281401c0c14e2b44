"""Times of label maps: composites by name, and scores by the gap to the scene."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin
from shapely import box

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, LabelError
from arcticdl.experiment import open_scenes, prepare
from arcticdl.experiment.labels.times import composite_gap_h

SIZE = 16
SIC = ["open water", *[f"{p} percent" for p in range(10, 110, 10)]]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path, values, east=0, **tags):
    profile = {
        "driver": "GTiff",
        "width": SIZE,
        "height": SIZE,
        "count": 1,
        "dtype": values.dtype,
        "crs": "EPSG:3413",
        "transform": from_origin(east, 0, 100, 100),
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(values[None])
        file.update_tags(**tags)


def chart(name, time="2022-04-10T06:00:00Z"):
    """A scene, and a chart whose western half is ice of 8/10, the rest water."""
    write("a.tif", np.ones((SIZE, SIZE), "float32"), time=time)
    row = {"CA": "-9", "SA": "-9", "FA": "-9"}
    rows = [row | {"POLY_TYPE": "I", "CT": "80"}, row | {"POLY_TYPE": "W", "CT": "98"}]
    half, edge = SIZE * 50, SIZE * 100
    outlines = [box(0, -edge, half, 0), box(half, -edge, edge, 0)]
    table = gpd.GeoDataFrame(rows, geometry=outlines, crs="EPSG:3413")
    table.to_file(f"{name}.gpkg", driver="GPKG")
    return name


def configure(name, **label):
    label = {"file": f"{name}.gpkg", "classes": SIC} | label
    data = {"scenes": "a.tif", "bands": ["HH"], "labels": {"SIC": label}}
    tree = {"name": "tiny", "data": data, "tiles": {"size_px": 8}}
    Path("config.yaml").write_text(yaml.safe_dump(tree))
    return load_config("config.yaml")


def opened(name, **label):
    (scene,) = open_scenes(configure(name, **label))
    return scene


@pytest.mark.parametrize(
    ("composite", "day", "hours"),
    [
        # The scene is of 6 o'clock on the 10th; a day lasts from 0 to 24 o'clock.
        ("daily", "20220410", 0.0),
        ("daily", "20220409", 6.0),
        ("daily", "20220407", 54.0),
        ("daily", "20220411", 18.0),
        ("daily", "20220410T1800Z", 0.0),
        # Seven days: of the 9th from the 3rd on, of the 16th from the 10th on.
        ("weekly", "20220409", 6.0),
        ("weekly", "20220410", 0.0),
        ("weekly", "20220416", 0.0),
        ("weekly", "20220417", 18.0),
        (None, "20220410T1800Z", 12.0),
        (None, "20220409T2330Z", 6.5),
    ],
)
def test_the_gap_is_to_the_days_for_which_a_chart_stands(composite, day, hours):
    given = {} if composite is None else {"composite": composite}
    scene = opened(chart(f"nic_{day}_pl_a"), max_time_gap_h=1000.0, **given)
    assert scene.attrs["columns"]["SIC_time_gap_h"] == hours
    assert np.unique(scene["SIC"].values).tolist() == [0, 8]


def test_the_ends_of_the_days_belong_to_them():
    assert composite_gap_h("2022-04-11T00:00:00Z", "2022-04-10", "daily") == 0.0
    assert composite_gap_h("2022-04-04T00:00:00Z", "2022-04-10", "weekly") == 0.0
    assert composite_gap_h("2022-04-03T23:00:00Z", "2022-04-10", "weekly") == 1.0


def test_a_chart_of_a_day_is_taken_only_by_name():
    name = chart("nic_20220410_pl_a")
    with pytest.raises(LabelError, match=r"no hour.*`data.labels.SIC.composite`: dai"):
        prepare(configure(name))
    with pytest.raises(LabelError, match="tells the day 2022-04-10"):
        opened(name, beyond_gap="void")
    assert opened(name, composite="daily").attrs["columns"]["SIC_time_gap_h"] == 0.0
    # Any gap is taken, and none is known.
    assert "columns" not in opened(name, max_time_gap_h=float("inf")).attrs


def test_a_raster_of_a_day_is_taken_only_by_name_as_well():
    chart("none")
    write("map.tif", np.ones((SIZE, SIZE), "uint8"), time="2022-04-09")
    label = {"classes": ["water", "ice"], "file": "map.tif"}
    with pytest.raises(LabelError, match="tells the day 2022-04-09 and no hour"):
        opened("none", **label)
    label |= {"composite": "daily", "max_time_gap_h": 6}
    assert opened("none", **label).attrs["columns"]["SIC_time_gap_h"] == 6.0
    # Midnight is an hour.
    write("map.tif", np.ones((SIZE, SIZE), "uint8"), time="2022-04-10T00:00:00Z")
    label |= {"composite": None}
    assert opened("none", **label).attrs["columns"]["SIC_time_gap_h"] == 6.0


def test_a_composite_too_far_off_is_refused_or_void():
    name = chart("nic_20220409_pl_a")
    with pytest.raises(LabelError, match=r"a daily map of 2022-04-09, 6\.0 h off"):
        opened(name, composite="daily")
    void = opened(name, composite="daily", beyond_gap="void")
    assert (void["SIC"].values == 255).all()
    assert void.attrs["columns"]["SIC_time_gap_h"] == 6.0
    assert opened(name, composite="daily", max_time_gap_h=6).attrs["columns"]


def test_what_has_no_time_of_its_own_is_no_composite():
    rules = [{"name": "ice", "where": {"HH": [0, 1]}}]
    label = {"classes": ["water", "ice"], "rules": rules, "composite": "daily"}
    with pytest.raises(ConfigError, match="map with a time of its own"):
        configure("none", **label, file=None)
    with pytest.raises(ConfigError, match=r"composite.*'daily' or 'weekly'"):
        configure("none", composite="monthly")


def four_scenes():
    """Bright pixels are ice; maps lie 0.5, 2, 2 and 5 h off their scenes."""
    for number, minutes in enumerate((30, 120, 120, 300)):
        rng = np.random.default_rng(number)
        ice = (rng.random((SIZE, SIZE)) < 0.4).astype("uint8")
        noise = rng.normal(0, 0.05, ice.shape)
        east = 100_000 * number
        season = "melt" if number % 2 else "freeze-up"
        tags = {"time": f"2022-04-1{number}T06:00:00Z", "season": season}
        write(f"s{number}.tif", (ice + noise).astype("float32"), east, **tags)
        later = f"2022-04-1{number}T{6 + minutes // 60:02}:{minutes % 60:02}:00Z"
        write(f"s{number}_ice.tif", ice, east, time=later)


def run(*words):
    assert main([str(word) for word in words]) == 0


def experiment(**sections):
    label = {
        "classes": ["water", "ice"],
        "file": {"replace": {".tif": "_ice.tif"}},
        "max_time_gap_h": 6,
    }
    tree = {
        "name": "gaps",
        "data": {"scenes": "s?.tif", "bands": ["HH"], "labels": {"ice": label}},
        "tiles": {"size_px": 8},
        "folds": {"n_splits": 2, "group": "scene_id"},
        "model": {
            "backbone": "plain",
            "options": {
                "backbone_options": {"width": 4, "depth": 2},
                "decoder_options": {"channels": [4, 4]},
            },
        },
        "train": {"epochs": 1, "jit_compile": False},
        **sections,
    }
    Path("gaps.yaml").write_text(yaml.safe_dump(tree))
    return "gaps.yaml"


def test_scores_by_gap_and_season_from_yaml_to_report():
    four_scenes()
    config = experiment(strata=["season"])
    run("prepare", config)
    run("train", config, "--fold", "all")
    run("evaluate", "runs/gaps")
    run("report", "runs/gaps")
    summary = json.loads(Path("runs/gaps/summary.json").read_text())
    by_gap = {e["stratum"]: e for e in summary["strata"]["ice_time_gap_h"]}
    assert {name: sorted(e["images"]) for name, e in by_gap.items()} == {
        "up to 1 h": ["s0"],
        "1 to 3 h": ["s1", "s2"],
        "3 to 6 h": ["s3"],
    }
    counts = {i["image_id"]: i["confusion_matrix"] for i in summary["images"]}
    both = np.array(counts["s1"]) + np.array(counts["s2"])
    near = by_gap["1 to 3 h"]
    assert near["num_pixels"] == both.sum() == 2 * SIZE * SIZE
    assert near["scores"]["accuracy"] == pytest.approx(np.trace(both) / both.sum())
    seasons = [e["stratum"] for e in summary["strata"]["season"]]
    assert seasons == ["freeze-up", "melt"]
    fold = json.loads(Path("runs/gaps/fold0/metrics.json").read_text())
    assert sum(e["num_images"] for e in fold["strata"]["season"]) == 2
    page = Path("runs/gaps/report.html").read_text()
    assert "By time between the scene and the label" in page and "By season" in page


@pytest.mark.parametrize(
    ("column", "said"),
    [("sesaon", "must name columns"), ("row", "differs between tiles of a scene")],
)
def test_strata_that_are_none_are_refused_before_training(column, said, capsys):
    four_scenes()
    config = experiment(strata=[column])
    run("prepare", config)
    capsys.readouterr()
    assert main(["train", config, "--fold", "0"]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert not Path("runs/gaps/fold0").exists()
