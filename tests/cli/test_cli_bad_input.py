"""Every command meets bad input with one line and a status, and leaves nothing."""

import pytest
import yaml

from arcticdl.cli import main

CONFIG = {
    "name": "x",
    "data": {
        "scenes": "scenes/*.tif",
        "labels": {
            "ice": {
                "classes": ["water", "ice"],
                "file": {"replace": {".tif": "_ice.tif"}},
            }
        },
    },
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a configuration, files that are none, and empty folders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "text.txt").write_text("nothing of use")
    for name in ("empty.keras", "a.weights.h5", "model.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.yaml").write_text("name: [")
    (tmp_path / "odd.tiles").mkdir()
    (tmp_path / "odd.tiles" / "store.json").write_text("{")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("prepare x.yaml", "No file matches `data.scenes`"),
        ("prepare x.yaml --set tiles.size_px=0", "greater than 0, or a valid tuple"),
        ("prepare x.yaml --set tiles.sizepx=3", "Did you mean `size_px`"),
        ("prepare x.yaml --set folds.splitter=block", "must give ['block_size']"),
        ("prepare x.yaml --set train.augment=[hflop]", "train.augment.0"),
        ("prepare empty", "No configuration at empty"),
        ("prepare text.txt", "must hold sections"),
        ("train x.yaml --fold 0", "No tile store at data/x.tiles"),
        ("train x.yaml --fold nine", "`fold` must be"),
        ("train x.yaml --fold 0 --set model.backbone=resnet19", "resnet18"),
        ("train x.yaml --fold 0 --run-dir text.txt", "text.txt"),
        ("evaluate empty", "is no run folder"),
        ("evaluate odd", "is not YAML"),
        ("predict empty.keras x.tif -o m.tif", "no file x.tif"),
        ("predict odd x.tif", "is not YAML"),
        ("export empty.keras", "empty.keras"),
        ("export text.txt", "is no run folder"),
        ("report empty", "empty"),
        ("check empty", "empty"),
        ("check odd.tiles", "store.json"),
        ("check text.txt", "text.txt"),
        ("simulate text.txt --scenes 1 --size 64", "text.txt"),
        ("demo text.txt", "text.txt"),
        ("weights list resnet19", "resnet18"),
        ("weights fetch resnet18.imagnet", "Did you mean"),
        ("data fetch melt_pond", "Did you mean 'meltpond_tir'"),
        ("data fetch seals", "Its boxes come as YOLO"),
        ("weights convert absent.pth", "absent.pth"),
        ("weights convert model.pth", "model.pth"),
        ("weights convert a.safetensors", "a.safetensors"),
        ("weights verify a.weights.h5", "a.json"),
        ("weights verify absent.weights.h5", "absent.json"),
    ],
)
def test_bad_input_is_one_line_and_status_1(words, message, capsys, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert main(words.split()) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [
        "prepare",
        "train",
        "evaluate",
        "predict",
        "export",
        "report",
        "check",
        "simulate",
        "init",
        "config show",
        "weights fetch",
        "data fetch",
        "weights convert",
        "weights verify",
        "simulate out --size 10",
        "simulate out --scenes 0",
        "simulate out --schema safee",
        "predict run --tta d8",
        "train x.yaml --epochs 3",
        "no-such-command",
        "doctor now",
    ],
)
def test_wrong_usage_is_status_2_and_says_how(words, capsys, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert main(words.split()) == 2
    assert "Usage: arcticdl" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "one"), [("", "prepare"), ("config", "keys"), ("weights", "list")]
)
def test_no_command_shows_the_commands(words, one, capsys):
    assert main(words.split()) in (0, 2)
    shown = capsys.readouterr()
    assert one in shown.out + shown.err
