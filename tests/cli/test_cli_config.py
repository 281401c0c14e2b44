"""``arcticdl config`` and ``init`` write what is valid; a refusal is one line."""

import json
import re

import pytest
import yaml

from arcticdl.cli import main
from arcticdl.config import dump_config, load_config


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def demo(project_root):
    return str(project_root / "configs" / "demo.yaml")


def test_a_new_configuration_is_printed_or_written_once(capsys, tmp_path):
    words = ["config", "new", "--data", "d/*.tif", "--classes", "water, ice"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert main([*words, "-o", "sub/ice.yaml"]) == 0
    assert (tmp_path / "sub" / "ice.yaml").read_text() == shown
    assert load_config("sub/ice.yaml").data.labels["label"].classes == ("water", "ice")
    capsys.readouterr()
    assert main([*words, "-o", "sub/ice.yaml"]) == 1
    assert "sub/ice.yaml exists" in capsys.readouterr().err
    assert main([*words, "-o", "sub/ice.yaml", "--overwrite"]) == 0


def test_init_makes_a_folder_that_checks_and_is_never_replaced(capsys, tmp_path):
    words = ["init", "ice_edge", "--data", "d/*.tif", "--task", "dense_regression"]
    assert main(words) == 0
    made = sorted(path.name for path in (tmp_path / "ice_edge").iterdir())
    assert made == ["arcticdl.schema.json", "config.yaml"]
    schema = json.loads((tmp_path / "ice_edge" / "arcticdl.schema.json").read_text())
    assert schema["properties"]["train"]
    first = (tmp_path / "ice_edge" / "config.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=arcticdl.schema.json"
    assert load_config("ice_edge/config.yaml").name == "ice_edge"
    assert main(["config", "check", "ice_edge/config.yaml", "--names-only"]) == 0
    capsys.readouterr()
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("error: ice_edge/config.yaml exists")


@pytest.mark.parametrize(
    ("folder", "name"),
    [("ice edge", "ice_edge"), ("_1 (new)", "1_new_"), ("\u51b0", "experiment")],
)
def test_init_in_a_folder_that_no_run_could_be_named_after(folder, name, tmp_path):
    assert main(["init", str(tmp_path / folder)]) == 0
    assert load_config(tmp_path / folder / "config.yaml").name == name


def test_show_prints_what_loading_resolves(demo, capsys):
    assert main(["config", "show", demo, "--set", "train.epochs=5"]) == 0
    shown = capsys.readouterr().out
    assert shown == dump_config(load_config(demo, ("train.epochs=5",)))
    assert yaml.safe_load(shown)["train"]["epochs"] == 5


def test_check_takes_both_steps_unless_told(demo, capsys):
    wrong = ["--set", "loss.options={gama: 2}"]
    assert main(["config", "check", demo, *wrong, "--names-only"]) == 0
    assert "names are right; 0 paths" in capsys.readouterr().out
    assert main(["config", "check", demo, *wrong]) == 1
    assert "`loss.options.gama` is no option of DiceFocal" in capsys.readouterr().err
    assert main(["config", "check", demo]) == 0
    assert "names and options are right" in capsys.readouterr().out


def test_keys_are_listed_with_choices_and_options(capsys):
    assert main(["config", "keys"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 200
    assert main(["config", "keys", "model.decoder"]) == 0
    assert "deeplabv3plus fpn linear linknet" in capsys.readouterr().out
    assert main(["config", "keys", "train.optimizer=SGD"]) == 0
    assert "train.optimizer.options.nesterov: " in capsys.readouterr().out
    assert main(["config", "keys", "predict", "--markdown"]) == 0
    assert "| `predict.tta` |" in capsys.readouterr().out


def test_the_schema_is_json(capsys):
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "arcticdl experiment"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["config", "show", "absent.yaml"], "No configuration at absent.yaml"),
        (["config", "check", "absent.yaml"], "No configuration at absent.yaml"),
        (["config", "new", "--task", "segment"], "`task` must be one of"),
        (["config", "new", "--classes", ","], "need `classes`|must be one of"),
        (["config", "new", "--classes", "a,a"], "must differ"),
        (["config", "new", "--name", "a b"], "name: must consist of letters, digits"),
        (["config", "keys", "train.epoch"], "Did you mean 'train.epochs'"),
        (["config", "keys", "train.optimizer=SDG"], "Did you mean 'SGD'"),
        (["config", "schema", "-o", "/proc/none/schema.json"], "/proc/none"),
        (["init", "x", "--task", "classification"], "`task` must be one of"),
    ],
)
def test_wrong_words_are_one_line_and_write_nothing(words, message, capsys, tmp_path):
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert re.search(message, said)
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())
