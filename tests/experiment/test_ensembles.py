"""Ensembles of runs, from a configuration to one file that maps and is scored."""

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
from arcticdl.experiment.ensembles.members import plan_parts
from arcticdl.experiment.split import Split
from arcticdl.inference.load import load_model
from arcticdl.models import get_card
from arcticdl.tiles import open_store

TREE = {
    "name": "plain",
    "data": {
        "scenes": "scenes/s?.tif",
        "labels": {
            "ice": {
                "classes": ["water", "ice"],
                "file": {"replace": {".tif": "_ice.tif"}},
            }
        },
    },
    "tiles": {"size_px": 16, "store": "data/all.tiles"},
    "folds": {"n_splits": 2, "validation_groups": 1},
    "loss": {"name": "Crossentropy"},
    "model": {
        "backbone": "plain",
        "options": {
            "backbone_options": {"width": 4, "depth": 2},
            "decoder_options": {"channels": [4, 4]},
        },
    },
    "train": {"epochs": 2, "batch_size": 4, "jit_compile": False},
}


def write(path, values, number):
    with rasterio.open(
        path, "w", driver="GTiff", width=32, height=32, count=1, dtype=values.dtype,
        crs="EPSG:3413", transform=from_origin(number * 10_000, 0, 100, 100),
    ) as file:  # fmt: skip
        file.write(values[None])


def simulate(folder, numbers):
    """Scenes whose bright pixels are ice, up to noise."""
    folder.mkdir()
    for number in numbers:
        rng = np.random.default_rng(number)
        ice = (rng.random((32, 32)) < 0.2 + 0.1 * number).astype("uint8")
        image = (ice + rng.normal(0, 0.4, ice.shape)).astype("float32")
        image[:3, :5] = np.nan
        write(folder / f"s{number}.tif", image, number)
        write(folder / f"s{number}_ice.tif", ice, number)


def configure(name, **train):
    tree = {**TREE, "name": name, "train": {**TREE["train"], **train}}
    Path(f"{name}.yaml").write_text(yaml.safe_dump(tree))
    return f"{name}.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Six scenes, a store of them, one of two others, and two runs.

    Of ``bag`` one fold is trained, an ensemble of two; ``plain`` has these as folds.
    """
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulate(Path("scenes"), range(6))
        simulate(Path("others"), (6, 7))
        assert main(["prepare", configure("plain")]) == 0
        moved = ("data.scenes=others/s?.tif", "tiles.store=data/others.tiles")
        sets = [word for text in moved for word in ("--set", text)]
        assert main(["prepare", "plain.yaml", *sets]) == 0
        bag = {"kind": "bagging", "members": 2, "combine": "greedy"}
        config = configure("bag", epochs=1, ensemble=bag)
        assert main(["train", config, "--fold", "0"]) == 0
        for number in (0, 1):
            fold = Path(f"runs/plain/fold{number}")
            shutil.copytree(f"runs/bag/fold0/member{number}", fold)
        shutil.copy("runs/bag/config.yaml", "runs/plain/config.yaml")
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "work"))


def seen():
    """Scenes that a member of ``plain`` was trained or chosen on."""
    splits = [json.loads(p.read_text()) for p in Path("runs/plain").rglob("split.json")]
    return sorted({s for part in splits for s in part["train"] + part["validation"]})


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def test_the_folds_as_one_file_map_as_they_do_together(project, capsys):
    assert main(["ensemble", "runs/plain"]) == 0
    joined = Path("runs/plain/ensemble.keras")
    assert str(joined) in capsys.readouterr().out
    card = get_card(load_model(joined))["ensemble"]
    assert card["members"] == {"fold0": 0.5, "fold1": 0.5}
    assert card["seen"] == seen()
    scene = "others/s6.tif"
    assert main(["predict", str(joined), scene, "-o", "one.tif"]) == 0
    words = ["predict", "runs/plain", scene, "--fold", "all", "-o", "several.tif"]
    assert main(words) == 0
    np.testing.assert_array_equal(read("one.tif"), read("several.tif"))
    assert (read("one.tif")[0, :3, :5] == 255).all()
    np.testing.assert_allclose(
        read("one_confidence.tif"), read("several_confidence.tif"), atol=1e-6
    )


def test_an_ensemble_is_scored_on_scenes_that_no_member_has_seen(project, capsys):
    assert main(["ensemble", "runs/plain", "-o", "a.keras"]) == 0
    assert main(["evaluate", "a.keras", "--data", "data/others.tiles"]) == 0
    found = json.loads(Path("a_metrics_others.json").read_text())
    assert sorted(image["image_id"] for image in found["images"]) == ["s6", "s7"]
    assert main(["evaluate", "a.keras", "--data", "data/all.tiles"]) == 1
    error = capsys.readouterr().err
    known = seen()
    told = f"{len(known)} of 6 that trained one or chose it, {known[0]!r} the first"
    assert told in error
    assert not Path("a_metrics_all.json").exists()
    assert main(["evaluate", "a.keras"]) == 1
    assert "--data OTHER.tiles" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--members", "fold0,fold7"], "must be one of ['fold0', 'fold1']"),
        (["--members", "fold0"], "at least two members"),
        (["--weights", "1,2,3"], "`weights` must be 2 finite numbers"),
        (["-o", "a.onnx"], "must name a .keras file"),
    ],
)
def test_members_that_are_none_are_refused(project, capsys, words, message):
    assert main(["ensemble", "runs/plain", *words]) == 1
    assert message in capsys.readouterr().err
    assert not list(Path().rglob("ensemble.keras"))
    assert main(["ensemble", "runs/plain", "--weights", "1,x"]) == 2


def test_bagged_members_become_the_folds_model_and_are_scored_on_what_it_holds_out(
    project,
):
    fold = Path("runs/bag/fold0")
    split = json.loads((fold / "split.json").read_text())
    parts = [json.loads(p.read_text()) for p in sorted(fold.glob("member*/split.json"))]
    assert all(set(part["train"]) <= set(split["train"]) for part in parts)
    assert all(part["test"] == split["test"] for part in parts)
    card = get_card(load_model(fold / "model.keras"))["ensemble"]
    assert set(card["seen"]) == {*split["train"], *split["validation"]}
    assert main(["evaluate", "runs/bag"]) == 0
    found = json.loads(Path("runs/bag/summary.json").read_text())
    assert sorted(i["image_id"] for i in found["images"]) == sorted(split["test"])
    assert main(["predict", "runs/bag", "others/s7.tif", "-o", "bag.tif"]) == 0
    assert main(["report", "runs/bag"]) == 0
    assert "curves are those of member0" in Path("runs/bag/report.html").read_text()


def test_members_that_an_earlier_start_finished_are_left_alone(project, capsys):
    fold = Path("runs/bag/fold0")
    (fold / "model.keras").unlink()  # as if it had ended before the members were joined
    first = fold / "member0" / "model.keras"
    before = first.stat().st_mtime_ns
    whole = json.loads((fold / "ensemble.json").read_text())
    assert main(["train", "bag.yaml", "--fold", "0", "--resume"]) == 0
    assert "ensemble: bagging of 2, weights member0" in capsys.readouterr().out
    assert first.stat().st_mtime_ns == before
    assert json.loads((fold / "ensemble.json").read_text()) == whole
    told = whole["validation"]["ice"]
    assert told["ensemble"] >= max(told["members"].values())  # greedy begins with it
    assert sum(whole["weights"].values()) == pytest.approx(1)


def test_members_differ_in_seed_and_draw_and_the_first_is_the_plain_network(project):
    store = open_store("data/all.tiles")
    whole = Split(np.arange(len(store)), np.arange(0), np.arange(0))
    scenes = store.manifest["scene_id"].to_numpy()
    for kind in ("seeds", "bagging"):
        rule = {"kind": kind, "members": 3}
        config = load_config(configure("planned", ensemble=rule))
        parts = plan_parts(config, store, whole, Path("fold0"), 7)
        assert [part.folder.name for part in parts] == ["member0", "member1", "member2"]
        assert len({part.seed for part in parts}) == 3 and parts[0].seed == 7
        for part in parts:
            drawn, times = np.unique(scenes[part.split.train], return_counts=True)
            tiles = {s: int((scenes == s).sum()) for s in drawn}
            draws = [t / tiles[s] for s, t in zip(drawn, times, strict=True)]
            assert sum(draws) == len(set(scenes))  # as many scenes as there are
            assert all(draw == int(draw) for draw in draws)  # each whole
            if kind == "seeds":
                assert set(draws) == {1}
    plain = plan_parts(load_config("plain.yaml"), store, whole, Path("fold0"), 7)
    assert [(part.folder, part.seed) for part in plain] == [(Path("fold0"), 7)]


def test_snapshots_of_one_training_are_stacked(project):
    config = configure(
        "snap",
        epochs=2,
        schedule={"name": "cosine_restarts", "options": {"num_cycles": 2}},
        ensemble={"kind": "snapshots", "members": 2, "combine": "stack"},
    )
    assert main(["train", config, "--fold", "0"]) == 0
    fold = Path("runs/snap/fold0")
    members = [load_model(fold / f"member{k}" / "model.keras") for k in range(2)]
    assert any(
        (a != b).any() for a, b in zip(*(m.get_weights() for m in members), strict=True)
    )
    card = get_card(load_model(fold / "model.keras"))["ensemble"]
    assert card["stacked"] == ["ice"]
    assert main(["evaluate", "runs/snap"]) == 0
    summary = json.loads(Path("runs/snap/summary.json").read_text())
    assert 0 < summary["scores"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("train", "folds", "message"),
    [
        ({"ensemble": {"kind": "boosting"}}, {}, "train.ensemble.kind"),
        ({"ensemble": {"kind": "seeds", "members": 1}}, {}, "greater than or equal"),
        (
            {"ensemble": {"kind": "seeds", "combine": "stack"}},
            {"validation_groups": 0},
            "must not choose the weights",
        ),
        ({"ensemble": {"kind": "snapshots"}}, {}, "num_cycles: 5"),
        (
            {
                "ensemble": {"kind": "snapshots", "members": 2},
                "schedule": {"name": "cyclic", "options": {"num_cycles": 2}},
                "ema": 0.9,
            },
            {},
            "leave out `early_stopping` and `ema`",
        ),
        (
            {"ensemble": {"kind": "bagging"}, "feed": "scenes"},
            {},
            "draws scenes more than once",
        ),
    ],
)
def test_ensembles_that_cannot_be_are_refused_before_work(
    tmp_path, monkeypatch, capsys, train, folds, message
):
    monkeypatch.chdir(tmp_path)
    tree = {**TREE, "train": {**TREE["train"], **train}}
    tree["folds"] = {**TREE["folds"], **folds}
    Path("a.yaml").write_text(yaml.safe_dump(tree))
    assert main(["train", "a.yaml"]) == 1
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()
