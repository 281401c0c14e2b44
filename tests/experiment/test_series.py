"""Series from YAML: scenes that move, seen over several dates, from files to maps."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from affine import Affine
from pyproj import CRS

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, SeriesError, SplitError
from arcticdl.experiment import evaluate, predict, prepare, train
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.split import choose_everything, choose_folds

SIZE = 32
SITES, DAYS = ("fram", "kara", "laptev"), (1, 2, 3, 4)


def write_raster(path, values, **tags):
    path.parent.mkdir(exist_ok=True, parents=True)
    east = 10_000 * SITES.index(path.stem.split("_")[0])  # apart from each other
    transform = Affine(100, 0, east, 0, -100, 0)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype=values.dtype, crs="EPSG:3413",
        height=SIZE, width=SIZE, transform=transform,
    ) as out:  # fmt: skip
        out.write(values, 1)
        out.update_tags(**tags)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noise whose bright pixels are ice the day after: one date tells nothing."""
    root = tmp_path_factory.mktemp("series")
    rng = np.random.default_rng(0)
    for site in SITES:
        before = rng.random((SIZE, SIZE)) > 0.5
        for day in DAYS:
            bright = rng.random((SIZE, SIZE)) > 0.5
            if (site, day) != ("kara", 3):
                image = np.where(bright, 1.0, -1.0).astype("float32")
                time = f"2021-03-0{day}T12:00:00Z"
                write_raster(root / "sar" / f"{site}_{day}.tif", image, time=time)
                write_raster(root / "ice" / f"{site}_{day}.tif", before.astype("u1"))
            before = bright
    return root


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


def configure(name="moving", series=None, **sections):
    label = {"classes": ["water", "ice"], "file": {"replace": {"sar/": "ice/"}}}
    tree = {
        "name": name,
        "data": {
            "scenes": "sar/*.tif",
            "bands": ["HH"],
            "attributes": {"group": r"sar/(\w+)_\d"},
            "series": series or {"history": 2},
            "labels": {"ice": label},
        },
        "tiles": {"size_px": 16},
        "folds": {"n_splits": 3, "group": "group"},
        "model": {
            "backbone": "plain",
            "options": {
                "backbone_options": {"width": 8, "depth": 2},
                "decoder_options": {"channels": [8, 8]},
            },
        },
        "train": {"epochs": 40, "batch_size": 8, "learning_rate": 0.02,
                  "jit_compile": False},
    }  # fmt: skip
    for key, value in sections.items():
        tree[key] = {**tree.get(key, {}), **value}
    Path(f"{name}.yaml").write_text(yaml.safe_dump(tree))
    return load_config(f"{name}.yaml")


def truth(scene_id):
    with rasterio.open(Path("ice") / f"{scene_id}.tif") as source:
        return source.read(1)


def test_a_network_learns_from_the_date_before_and_maps_with_it(here):
    config = configure()
    prepare(config)
    run = train(config, 0)
    summary = evaluate(run, fold=0)
    (site,) = {name.split("_")[0] for name in held_out(run)}
    # Only yesterday's image tells; by today's alone half of the pixels would be wrong.
    assert summary["scores"]["accuracy"] > 0.7
    written = [path for path in predict(run, fold=0) if path.suffix == ".tif"]
    maps = {path.stem: path for path in written}
    assert set(held_out(run)) <= set(maps)
    for day in DAYS[1:]:
        dates = [Path("sar") / f"{site}_{d}.tif" for d in (day - 1, day)]
        if all(path.exists() for path in dates):
            with rasterio.open(maps[f"{site}_{day}"]) as found:
                agreement = np.mean(found.read(1) == truth(f"{site}_{day}"))
            assert agreement > 0.95


def held_out(run):
    return json.loads((Path(run) / "fold0" / "split.json").read_text())["test"]


def test_dates_of_one_netcdf_file_are_a_series(here):
    time = np.array(["2021-03-01", "2021-03-02", "2021-03-03"], "datetime64[ns]")
    axes = {
        "time": time,
        "y": -50.0 - 100 * np.arange(16),
        "x": 50.0 + 100 * np.arange(16),
    }
    rng = np.random.default_rng(0)
    tb = rng.normal(200, 20, (3, 16, 16)).astype("float32")
    ice = (tb > 200).astype("int8")
    coords = {**axes, "crs": ((), 0)}
    data = xr.Dataset({"tb": (("time", "y", "x"), tb)}, coords)
    data["crs"].attrs = CRS("EPSG:3413").to_cf()
    data["tb"].attrs = {"grid_mapping": "crs", "units": "K"}
    data["x"].attrs = {"units": "m", "standard_name": "projection_x_coordinate"}
    data["y"].attrs = {"units": "m", "standard_name": "projection_y_coordinate"}
    labels = data.rename(tb="ice").assign(ice=(("time", "y", "x"), ice))
    labels["ice"].attrs = {"grid_mapping": "crs"}
    data.to_netcdf("days.nc")
    labels.to_netcdf("days_ice.nc")
    tree = {
        "name": "one_file",
        "data": {
            "scenes": "days.nc",
            "each_index": True,
            "rename": {},
            "attributes": {"group": "(days)"},
            "series": {"history": 2, "answers": [0, 1]},
            "labels": {
                "ice": {
                    "classes": ["water", "ice"],
                    "file": {"path": "days_ice.nc"},
                }
            },
        },
        "tiles": {"size_px": 16},
        "heads": {"ice": {}, "ice_t1": {}},
        "folds": {"group": "scene_id"},
    }
    Path("one.yaml").write_text(yaml.safe_dump(tree))
    config = load_config("one.yaml")
    prepare(config)
    store = open_prepared(config)
    assert len(store) == 3
    read = store.read([1], ["image", "ice", "ice_t1"])
    np.testing.assert_array_equal(np.moveaxis(read["image"][0], -1, 0), tb[:2])
    np.testing.assert_array_equal(read["ice"][0], ice[1])
    np.testing.assert_array_equal(read["ice_t1"][0], ice[2])
    # Every date of one series is seen from the next: no fold by date is left to train.
    with pytest.raises(SplitError, match="shares a date"):
        choose_folds(store, config)


def test_the_full_model_shares_no_date_with_what_validates_it(here):
    config = configure("whole", folds={"group": "scene_id", "validation_groups": 1})
    prepare(config)
    store = open_prepared(config)
    split = choose_everything(store, config)
    learnt, watched = (store.tiles_of(split.train), store.tiles_of(split.validation))
    assert len(split.train) and len(split.validation)
    assert not np.intersect1d(learnt, watched).size


def test_scenes_without_a_common_series_are_refused(here):
    config = configure("alone", {"history": 2, "by": "scene_id"})
    prepare(config)
    with pytest.raises(SeriesError, match="must have several dates"):
        open_prepared(config)


def test_scenes_that_make_no_series_are_refused_before_they_are_cut(here, capsys):
    """Which was seen only when training began."""
    shutil.copytree("ice", "old/ice")
    shutil.copytree("ice", "old/sar")  # whose files tell no time
    undated = configure("undated", data={"scenes": "old/sar/*.tif"})
    with pytest.raises(SeriesError, match="'fram', of which 4 of 4 do not"):
        prepare(undated)
    assert not undated.store_path.exists()
    assert main(["config", "check", "undated.yaml"]) == 1
    assert "must tell its time" in capsys.readouterr().err
    for scenes in ("sar/*.tif", "elsewhere/*.tif"):
        configure("dated", data={"scenes": scenes})
        assert main(["config", "check", "dated.yaml"]) == 0
    with pytest.raises(SeriesError, match="must lie 36 h apart"):
        prepare(configure("uneven", {"history": 2, "step_h": 36.0}))
    odd = {"size_px": 16, "select": "time.dt.day != 2 and time.dt.day != 4"}
    assert prepare(configure("even", {"history": 2, "step_h": 48.0}, tiles=odd))
    by = configure("by", {"history": 2, "step_h": 24.0, "by": "regoin"})
    with pytest.raises(SeriesError, match=r"'group'.*'scene_id'.*Received: 'regoin'"):
        prepare(by)
    assert not by.store_path.exists()


@pytest.mark.parametrize(
    ("series", "sections", "message"),
    [
        ({"history": 0}, {}, "data.series.history"),
        ({"tolerance_h": 13}, {}, "below half of `step_h`"),
        ({"answers": [1]}, {"heads": {"ice": {}}}, "ice_t1"),
    ],
)
def test_a_series_that_cannot_be_is_refused_before_data(
    here, series, sections, message
):
    with pytest.raises(ConfigError, match=message):
        configure("wrong", series, **sections)
