"""Warm starts and gradual unfreezing from a configuration, from files to weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.inference.load import load_model

TREE = {
    "name": "first",
    "data": {
        "scenes": "scenes/*_[0-9].tif",
        "labels": {
            "ice": {
                "classes": ["water", "ice"],
                "file": {"replace": {".tif": "_ice.tif"}},
            }
        },
        "attributes": {"group": r"([ab])_\d"},
    },
    "tiles": {"size_px": 16, "store": "data/all.tiles"},
    "folds": {"n_splits": 2},
    "loss": {"name": "Crossentropy", "options": {"class_weights": "inverse"}},
    "model": {
        "backbone": "plain",
        "options": {
            "backbone_options": {"width": 2, "depth": 2},
            "decoder_options": {"channels": [2, 2]},
        },
    },
    "train": {
        "epochs": 1,
        "batch_size": 4,
        "jit_compile": False,
        "optimizer": "SGD",
        "learning_rate": 1e-9,
    },
}


def write(path, values, number):
    with rasterio.open(
        path, "w", driver="GTiff", width=32, height=32, count=1, dtype=values.dtype,
        crs="EPSG:3413", transform=from_origin(number * 10_000, 0, 100, 100),
    ) as file:  # fmt: skip
        file.write(values[None])


def configure(name, **changes):
    tree = {**TREE, "name": name}
    for path, value in changes.items():
        section, _, key = path.partition("__")
        tree[section] = {**tree.get(section, {}), key: value} if key else value
    Path(f"{name}.yaml").write_text(yaml.safe_dump(tree))
    return f"{name}.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four scenes of two groups with ice of unlike amounts, a store, a trained run."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("scenes").mkdir()
        for number, name in enumerate(("a_0", "a_1", "b_2", "b_3")):
            rng = np.random.default_rng(number)
            ice = (rng.random((32, 32)) < 0.1 + 0.2 * number).astype("uint8")
            image = (ice + rng.normal(0, 0.1, ice.shape)).astype("float32")
            write(f"scenes/{name}.tif", image, number)
            write(f"scenes/{name}_ice.tif", ice, number)
        assert main(["prepare", configure("first")]) == 0
        assert main(["train", "first.yaml", "--fold", "0"]) == 0
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "work"))


def weights(path):
    return load_model(path).get_weights()


def scenes_of(run):
    return json.loads(Path(run, "split.json").read_text())


def test_class_weights_count_the_training_scenes_alone(project):
    counts = np.zeros(2)
    for scene in scenes_of("runs/first/fold0")["train"]:
        with rasterio.open(f"scenes/{scene}_ice.tif") as file:
            counts += np.bincount(file.read(1).ravel(), minlength=2)
    loss = load_model("runs/first/fold0/model.keras", compile=True).loss
    np.testing.assert_allclose(loss.class_weights, counts.sum() / (2 * counts))


def test_a_run_starts_from_the_weights_of_another_and_remembers_its_scenes(
    project, capsys
):
    told = []
    for name, change in (
        ("second", {"model__warm_start": "runs/first"}),
        ("third", {"train__batch_size": 8}),
    ):
        config = configure(name, seed=9, **change)
        assert main(["train", config, "--fold", "0"]) == 0
        told.append(capsys.readouterr().out)
    first, second, third = (
        weights(f"runs/{run}/fold0/model.keras")[0]
        for run in ("first", "second", "third")
    )
    # At this rate weights hardly move: the second run has those of the first.
    np.testing.assert_allclose(second, first, atol=1e-6)
    assert np.abs(third - first).max() > 0.01
    assert "begins as runs/first/fold0: " in told[0] and "begins as" not in told[1]
    assert "fold 0: tiles of 16 x 16 px, bands" in told[1]
    assert "8 tiles of 2 scenes train, 8 tiles of 2 scenes test" in told[1]
    assert "loss Crossentropy (classes weigh water " in told[1]
    assert "optimiser: SGD, rate 1e-09 cosine" in told[1]
    assert "epochs: 1 of 2 batches of 4 tiles" in told[0]
    assert "epochs: 1 of 1 batches of 8 tiles" in told[1]
    before = scenes_of("runs/second/fold0")["before"]
    assert before == scenes_of("runs/first/fold0")["train"]


def test_a_batch_larger_than_a_fold_is_refused_before_any_is_trained(project, capsys):
    config = configure("large", train__batch_size=9)
    for command in ("train", "rate"):
        assert main([command, config]) == 1
        error = " ".join(capsys.readouterr().err.split())
        assert "9 for fold 0 of 8 tiles x 1. Set it to 8 or less" in error
    assert not Path("runs/large").exists()
    repeated = configure("large", train__batch_size=9, train__repeats=2)
    assert main(["train", repeated, "--fold", "0"]) == 0
    assert "1 batches of 9 tiles" in capsys.readouterr().out


def test_the_default_batch_gives_way_to_a_smaller_fold(project, capsys):
    train = {k: v for k, v in TREE["train"].items() if k != "batch_size"}
    assert main(["train", configure("few", train=train), "--fold", "0"]) == 0
    assert "1 batches of 8 tiles" in capsys.readouterr().out
    select = {"size_px": 32, "store": "data/whole.tiles"}
    few = configure("fewer", train=train, tiles=select)
    assert main(["prepare", few]) == 0 == main(["train", few, "--fold", "0"])
    assert "1 batches of 2 tiles" in capsys.readouterr().out


def test_a_start_that_has_seen_the_test_fold_is_refused(project, capsys):
    config = configure("leak", model__warm_start={"run": "runs/first", "fold": 0})
    for fold in ("1", "all"):
        assert main(["train", config, "--fold", fold]) == 1
        error = capsys.readouterr().err
        assert "must not have seen the scenes that fold 1 is tested on" in error
    assert not Path("runs/leak").exists()
    assert main(["train", config, "--fold", "0"]) == 0


def test_a_start_that_has_seen_the_group_of_a_test_scene_is_refused(project, capsys):
    split = Path("runs/first/fold0/split.json")
    found = scenes_of(split.parent)
    split.write_text(json.dumps({**found, "train": ["a_0"]}))
    config = configure(
        "group",
        model__warm_start={"run": "runs/first", "fold": 0},
        folds={"n_splits": 2, "group": "group"},
    )
    codes = [main(["train", config, "--fold", fold]) for fold in ("0", "1")]
    assert sorted(codes) == [0, 1]  # the fold that holds out the scenes of group a
    assert "others of their group" in capsys.readouterr().err


def test_a_start_that_is_not_there_is_refused(project, capsys):
    assert main(["train", configure("x", model__warm_start="runs/none")]) == 1
    assert "runs/none is no run folder" in capsys.readouterr().err
    config = configure("x", model__warm_start={"run": "runs/first", "fold": "full"})
    assert main(["train", config, "--fold", "0"]) == 1
    assert "Trained folds of runs/first: [0]" in capsys.readouterr().err
    assert not Path("runs/x").exists()


def test_stages_are_freed_from_a_configuration(project):
    config = configure("thaw", train__unfreeze={"start": 1, "num_frozen": 1})
    assert main(["train", config, "--fold", "0", "--set", "train.epochs=2"]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train__unfreeze": {}, "train__freeze": {}},
            "`freeze` and `unfreeze` both say",
        ),
        (
            {"model__warm_start": "runs/first", "model__weights": "a/b.npz"},
            "`weights` and `warm_start` both say",
        ),
        ({"train__unfreeze": {"evry": 2}}, "Did you mean `every`"),
        ({"model__warm_start": {"run": "r", "fold": -1}}, "warm_start.fold"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        load_config(configure("x", **change))


SHOWN = {
    "folds": {"n_splits": 2, "validation_groups": 1},
    "train__epochs": 3,
    "train__learning_rate": 0.05,
}


def events(folder):
    """(step, tag, value) of every scalar, and the steps at which a start began."""
    import tensorflow as tf

    values, starts = [], []
    for path in sorted(Path(folder).iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            if event.HasField("session_log"):
                starts.append(event.step)
            values += [
                (event.step, value.tag, value.simple_value)
                for value in event.summary.value
            ]
    return values, starts


def test_curves_and_pictures_are_written_and_change_nothing(project):
    shown = configure(
        "shown",
        **SHOWN,
        train__callbacks=[
            {"name": "images", "options": {"every": 2, "num_tiles": 3}},
        ],
    )
    assert main(["train", shown, "--fold", "0"]) == 0
    plain = configure("plain", **SHOWN, train__tensorboard=False)
    assert main(["train", plain, "--fold", "0"]) == 0
    assert not Path("runs/plain/fold0/tensorboard").exists()
    for one, other in zip(
        weights("runs/shown/fold0/model.keras"),
        weights("runs/plain/fold0/model.keras"),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    folder = Path("runs/shown/fold0")
    assert [path.name for path in sorted((folder / "images").iterdir())] == [
        "epoch00002.png",
        "epoch00003.png",  # the last one
    ]
    rows = (folder / "history.csv").read_text().splitlines()
    names = rows[0].split(",")
    for part, mark in (("train", ""), ("validation", "val_")):
        values, starts = events(folder / "tensorboard" / part)
        assert starts == [0]
        for epoch, row in enumerate(rows[1:]):
            told = dict(zip(names, map(float, row.split(",")), strict=True))
            (value,) = (v for s, t, v in values if (s, t) == (epoch, "epoch_loss"))
            assert value == pytest.approx(told[f"{mark}loss"], rel=1e-6)
    rates = [v for _, tag, v in events(folder / "tensorboard/train")[0]
             if tag == "epoch_learning_rate"]  # fmt: skip
    assert len(rates) == 3 and rates[0] > rates[-1] > 0
    assert main(["train", shown, "--fold", "0", "--overwrite"]) == 0
    assert events(folder / "tensorboard/train")[1] == [0]


def test_curves_that_are_asked_for_are_written_once_and_not_refused_in_a_breath(
    project,
):
    from arcticdl.experiment.callbacks import build_callbacks

    named = load_config(configure("x", train__callbacks=["tensorboard"]))
    (log,) = build_callbacks(named, Path("fold0"), None, None)
    assert log.folder == Path("fold0/tensorboard")
    both = {"train__callbacks": ["tensorboard"], "train__tensorboard": False}
    with pytest.raises(ConfigError, match="`tensorboard` must be true where"):
        load_config(configure("x", **both))


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("image", "Did you mean 'images'"),
        ("images", "needs `folds.validation_groups`"),
        ({"name": "tensorboard", "options": {"every": 2}}, "`every`|no option"),
        ({"name": "images", "options": {"folder": "x"}}, "is set by"),
    ],
)
def test_a_callback_that_cannot_be_is_refused(project, callback, message):
    from arcticdl.experiment import check_options

    with pytest.raises(ConfigError, match=message):
        check_options(load_config(configure("x", train__callbacks=[callback])))


def test_pictures_of_a_head_that_is_none_are_refused(project):
    from arcticdl.experiment import check_options

    wanted = {"name": "images", "options": {"head": "iec"}}
    config = configure("x", **{**SHOWN, "train__callbacks": [wanted]})
    with pytest.raises(ConfigError, match=r"callbacks\.0\.options`: `head` must be"):
        check_options(load_config(config))
