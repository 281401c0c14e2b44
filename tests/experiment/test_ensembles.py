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
from arcticdl.inference.load import load_model
from arcticdl.models import get_card

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
    """Six scenes, a store of them and one of two others, and a run of two folds."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulate(Path("scenes"), range(6))
        simulate(Path("others"), (6, 7))
        assert main(["prepare", configure("plain")]) == 0
        moved = ("data.scenes=others/s?.tif", "tiles.store=data/others.tiles")
        sets = [word for text in moved for word in ("--set", text)]
        assert main(["prepare", "plain.yaml", *sets]) == 0
        for fold in "01":
            words = ["train", "plain.yaml", "--fold", fold, "--resume"]
            assert main(words) == 0
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "work"))


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def test_the_folds_as_one_file_map_as_they_do_together(project, capsys):
    assert main(["ensemble", "runs/plain"]) == 0
    joined = Path("runs/plain/ensemble.keras")
    assert str(joined) in capsys.readouterr().out
    card = get_card(load_model(joined))["ensemble"]
    assert card["members"] == {"fold0": 0.5, "fold1": 0.5}
    assert card["seen"] == [f"s{n}" for n in range(6)]
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
    assert "6 of 6 that trained one or chose it, 's0' the first" in error
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
