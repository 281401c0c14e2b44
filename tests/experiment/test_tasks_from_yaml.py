"""Several heads, whole images and other splitters, from files to a report, by YAML."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import SplitError
from arcticdl.experiment import open_scenes
from arcticdl.experiment.build import build_feeds
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.split import choose_folds

SIZE = 32
NAMES = [f"{'thaw' if number % 2 else 'frost'}_{number}" for number in range(4)]
MODEL = {
    "backbone": "plain",
    "options": {
        "backbone_options": {"width": 4, "depth": 2},
        "decoder_options": {"channels": [8, 4]},
    },
}
TREE = {
    "name": "tiny",
    "data": {
        "scenes": "scenes/*_[0-9].tif",
        "labels": {
            "ice": {
                "classes": ["water", "ice"],
                "file": {"replace": {".tif": "_ice.tif"}},
            },
            "sic": {"file": {"replace": {".tif": "_sic.tif"}}, "units": "1"},
            "state": {"classes": ["frost", "thaw"], "attribute": "state"},
            "number": {"attribute": "number"},
        },
        "attributes": {
            "state": r"(frost|thaw)_\d",
            "group": r"(frost|thaw)_\d",
            "number": r"_(\d)\.",
        },
    },
    "tiles": {"size_px": 16},
    "folds": {"n_splits": 2},
    "model": MODEL,
    "train": {"epochs": 1, "batch_size": 4, "jit_compile": False},
}


def write(path, values, number, nodata=None):
    east = number * 10_000  # another place for each, or folds would overlap
    profile = {
        "driver": "GTiff",
        "width": SIZE,
        "height": SIZE,
        "count": 1,
        "dtype": values.dtype,
        "crs": "EPSG:3413",
        "transform": from_origin(east, 0, 100, 100),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(values[None])


@pytest.fixture(autouse=True)
def scenes(tmp_path, monkeypatch):
    """Four scenes, in which bright pixels are ice; a state and a number in the name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes").mkdir()
    for number, name in enumerate(NAMES):
        rng = np.random.default_rng(number)
        ice = (rng.random((SIZE, SIZE)) < 0.3).astype("uint8")
        noise = rng.normal(0, 0.1, ice.shape)
        write(Path(f"scenes/{name}.tif"), (ice + noise).astype("float32"), number)
        write(Path(f"scenes/{name}_ice.tif"), ice, number)
        sic = np.where(ice, 0.9, 0.1).astype("float32")
        sic[:4] = np.nan
        write(Path(f"scenes/{name}_sic.tif"), sic, number, np.nan)


def configure(**sections):
    path = Path("config.yaml")
    path.write_text(yaml.safe_dump({**TREE, **sections}))
    return str(path)


def run(*words):
    assert main([str(word) for word in words]) == 0


def whole_chain(config):
    run("prepare", config)
    run("train", config, "--fold", 0)
    run("evaluate", "runs/tiny")
    run("predict", "runs/tiny")
    run("report", "runs/tiny")
    assert "tiny" in Path("runs/tiny/report.html").read_text()
    return json.loads(Path("runs/tiny/summary.json").read_text())


def test_two_heads_are_trained_scored_and_mapped():
    summary = whole_chain(
        configure(heads={"ice": {"weight": 2.0}, "sic": {"loss": "MeanAbsoluteError"}})
    )
    assert set(summary["heads"]) == {"ice", "sic"}
    assert 0 <= summary["heads"]["ice"]["scores"]["mean_iou"] <= 1
    assert summary["heads"]["sic"]["scores"]["rmse"] > 0
    header = Path("runs/tiny/fold0/history.csv").read_text().splitlines()[0]
    assert {"ice_mean_iou", "sic_rmse"} <= set(header.split(","))
    maps = {path.name for path in Path("runs/tiny/maps").glob("*.tif")}
    assert any("sic" in name for name in maps)


def test_the_state_of_whole_images_is_learnt_from_their_names():
    config = configure(
        label="state", folds={"splitter": "hold_out", "group": "scene_id"}
    )
    summary = whole_chain(config)
    assert 0 <= summary["scores"]["accuracy"] <= 1
    store = open_prepared(load_config(config))
    states = store.read(range(len(store)), ["state"])["state"]
    names = store.manifest["scene_id"].str.startswith("thaw").to_numpy()
    assert (states == names).all()


def test_a_number_of_whole_images_is_read_as_it_is_written():
    config = configure(label="number")
    run("prepare", config)
    store = open_prepared(load_config(config))
    numbers = store.read(range(len(store)), ["number"])["number"]
    wanted = store.manifest["scene_id"].str[-1].astype(float).to_numpy()
    np.testing.assert_array_equal(np.ravel(numbers), wanted)


def test_a_state_that_is_no_class_is_refused(capsys):
    labels = {"state": {"classes": ["frost", "melt"], "attribute": "state"}}
    config = configure(data={**TREE["data"], "labels": labels})
    assert main(["prepare", config]) == 1
    said = capsys.readouterr().err
    assert "must be one of the classes of 'state'" in said
    assert "Received: 'thaw'" in said
    assert not Path("data/tiny.tiles").exists()


@pytest.mark.parametrize(
    ("folds", "tests"),
    [
        ({"splitter": "leave_one_out", "group": "scene_id"}, [1, 1, 1, 1]),
        ({"splitter": {"name": "hold_out", "options": {"test_fraction": 0.5}}}, [2]),
        ({"n_splits": 4}, [1, 1, 1, 1]),
        ({"splitter": "group", "group": "group", "n_splits": 2}, [2, 2]),
    ],
)
def test_each_splitter_makes_its_folds(folds, tests, capsys):
    config = configure(label="ice", folds=folds)
    run("prepare", config)
    checked = load_config(config)
    store = open_prepared(checked)
    scene = store.manifest["scene_id"].to_numpy()
    splits = list(choose_folds(store, checked).values())
    assert [len(set(scene[split.test])) for split in splits] == tests
    for split in splits:
        assert not set(scene[split.test]) & set(scene[split.train])
    beyond = ["train", config, "--fold", str(len(tests))]
    assert main(beyond) == 1
    assert f"a number from 0 to {len(tests) - 1}" in capsys.readouterr().err


def test_a_fold_that_cannot_be_used_stands_in_no_other_s_way(capsys):
    folds = {
        "splitter": "leave_one_out",
        "group": "scene_id",
        "test_only": {"group": "thaw"},
    }
    config = configure(label="ice", folds=folds)
    run("prepare", config)
    checked = load_config(config)
    store = open_prepared(checked)
    scene = store.manifest["scene_id"].to_numpy()
    frost, thaw = NAMES.index("frost_0"), NAMES.index("thaw_1")
    held = {name: number for number, name in enumerate(sorted(NAMES))}
    usable, empty = held[NAMES[thaw]], held[NAMES[frost]]
    splits = choose_folds(store, checked, [usable])
    assert list(splits) == [usable]
    assert set(scene[splits[usable].test]) == {"thaw_1"}
    with pytest.raises(SplitError, match=f"Fold {empty} has 12 training and 0 test"):
        choose_folds(store, checked, [empty])
    run("train", config, "--fold", usable)
    assert main(["train", config, "--fold", str(empty)]) == 1
    assert f"Fold {empty} has 12 training and 0 test" in capsys.readouterr().err
    assert not Path(f"runs/tiny/fold{empty}").exists()


def test_a_label_of_one_class_is_written_only_where_that_is_allowed(capsys):
    for number, name in enumerate(NAMES):
        ice = np.zeros((SIZE, SIZE), "uint8")
        write(Path(f"scenes/{name}_ice.tif"), ice, number)
    assert main(["prepare", configure(label="ice")]) == 1
    assert "one class only" in capsys.readouterr().err
    assert not Path("data/tiny.tiles").exists()
    config = configure(label="ice", tiles={"size_px": 16, "allow": ["one_class"]})
    run("prepare", config)
    assert len(open_prepared(load_config(config))) == 16


def test_nothing_is_trained_from_a_store_that_lost_a_file_unless_allowed(capsys):
    config = configure(label="ice")
    run("prepare", config)
    Path("data/tiny.tiles/tiles.zarr/valid/c/0/0/0").unlink()
    assert main(["train", config, "--fold", "0"]) == 1
    said = capsys.readouterr().err
    assert "lost: 1 file of array 'valid' is lost" in said
    assert not Path("runs").exists()
    # The manifest says that every pixel is valid, so that the lost file is not missed.
    run("train", config, "--fold", 0, "--set", "tiles.allow=[lost]")
    assert Path("runs/tiny/fold0/model.keras").is_file()


def test_a_sampler_by_name_chooses_the_tiles_of_an_epoch():
    sampler = {"name": "class_balance", "options": {"size": 6}}
    config = configure(label="ice", train={**TREE["train"], "sampler": sampler})
    run("prepare", config)
    checked = load_config(config)
    store = open_prepared(checked)
    split = choose_folds(store, checked)[0]
    feed, _ = build_feeds(checked, store, split, seed=0)
    drawn = np.concatenate([feed.tiles_of(0, number) for number in range(len(feed))])
    assert type(feed.sampler).__name__ == "WeightedSampler"
    assert feed.sampler.size == 6
    assert set(drawn) <= set(split.train)


def test_given_constants_scale_the_bands():
    train = {
        **TREE["train"],
        "normalizer": "constants",
        "constants": {"band_1": [0.5, 2.0]},
    }
    config = configure(label="ice", train=train, folds={"n_splits": 2})
    run("prepare", config)
    checked = load_config(config)
    store = open_prepared(checked)
    assert store.bands == ("band_1",)
    split = choose_folds(store, checked)[0]
    feed, _ = build_feeds(checked, store, split, seed=0)
    image, _ = feed[0]
    source = store.read(feed.tiles_of(0, 0), ["image"])["image"]
    np.testing.assert_allclose(image, (source - 0.5) / 2.0, atol=1e-6)


def test_reader_options_reach_the_image_and_the_label_each():
    labels = {
        "ice": {
            "classes": ["water", "ice"],
            "file": {"replace": {".tif": "_ice.tif"}},
            "options": {"nodata": 0},
        }
    }
    data = {**TREE["data"], "labels": labels, "reader": "geotiff"}
    config = configure(data={**data, "reader_options": {"sensor": "toy"}})
    first, *_ = open_scenes(load_config(config))
    assert first.attrs["sensor"] == "toy"
    assert set(np.unique(first["ice"].values)) == {1, 255}
