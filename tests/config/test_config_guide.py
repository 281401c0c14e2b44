"""Keys, JSON Schema and templates follow from the sections, and agree with them."""

import jsonschema
import pytest
import yaml

from arcticdl.config import load_config
from arcticdl.config.guide.keys import build_schema, list_keys, write_keys
from arcticdl.config.guide.template import new_config
from arcticdl.config.heads import tasks_of
from arcticdl.errors import ConfigError
from arcticdl.losses.table import NAMED_LOSSES


@pytest.fixture(scope="module")
def schema():
    found = build_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def plain(path):
    return yaml.safe_load(path.read_text())


def test_every_configuration_of_the_project_keeps_the_schema(schema, project_root):
    found = sorted((project_root / "configs").glob("*.yaml"))
    assert len(found) >= 4
    for path in found:
        assert not list(schema.iter_errors(plain(path))), path


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "backbone", "resnet17"),
        ("model", "bakbone", "resnet18"),
        ("train", "epochs", 0),
        ("train", "optimizer", "AdamX"),
        ("train", "augment", [{"name": "hflop"}]),
        ("train", "augment", [{"p": 0.5}]),
        ("tiles", "edge", "wrap"),
        ("folds", "splitter", {"name": "groups"}),
    ],
)
def test_the_schema_refuses_what_loading_refuses(
    schema, project_root, tmp_path, section, key, value
):
    tree = plain(project_root / "configs" / "demo.yaml")
    tree[section] = {**tree[section], key: value}
    assert list(schema.iter_errors(tree))
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError):
        load_config(path)


@pytest.mark.parametrize(
    "value", ["SGD", {"name": "SGD", "options": {"momentum": 0.9}}]
)
def test_the_schema_takes_a_name_with_and_without_options(schema, project_root, value):
    tree = plain(project_root / "configs" / "demo.yaml")
    tree["train"]["optimizer"] = value
    assert not list(schema.iter_errors(tree))


def test_keys_say_type_default_and_meaning():
    keys = {key.path: key for key in list_keys()}
    assert keys["train.epochs"][1:4] == (
        "integer > 0",
        "20",
        "Epochs of the whole training.",
    )
    assert keys["name"].default is None
    assert keys["train.ema"].type == "number > 0, < 1 or null"
    assert keys["tiles.size_px"].type == ("integer > 0 or [integer > 0, integer > 0]")
    assert keys["loss"].choices == tuple(sorted(NAMED_LOSSES))
    assert keys["model.backbone"].type == "name of a backbone"
    assert keys["data.labels.NAME.rules.N.where"].type == (
        "mapping of text to [number, number]"
    )
    assert len(keys) == len(list_keys()) > 100


def test_defaults_that_are_listed_are_those_of_a_loaded_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(new_config("a", "*.tif"))
    config = load_config(path)
    assert yaml.safe_load(list_keys("train.repeats")[0].default) == config.train.repeats
    assert list_keys("train.optimizer")[0].default == config.train.optimizer.name


def test_a_key_that_is_none_is_refused_with_those_beside_it():
    with pytest.raises(ValueError, match=r"\['predict.allow'.*'predict.tta'"):
        list_keys("predict.ttta")


def test_the_page_of_keys_is_a_table():
    lines = write_keys(list_keys("predict")).splitlines()
    assert lines[1] == "|---|---|---|---|"
    assert len(lines) == 2 + len(list_keys("predict"))
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines[2:])


@pytest.mark.parametrize("task", [*tasks_of("class"), *tasks_of("value")])
def test_a_new_configuration_is_valid_for_each_task_and_tells_every_key(
    task, tmp_path, schema
):
    text = new_config("ice", "data/*.nc", task=task, label="sic", classes=["a", "b"])
    path = tmp_path / "new.yaml"
    path.write_text(text)
    config = load_config(path)
    assert config.task_of("sic") == task
    assert config.data.labels["sic"].file.replace == {".nc": "_sic.nc"}
    assert not list(schema.iter_errors(plain(path)))
    for key in list_keys():
        depth = key.path.count(".")
        if depth == 0 or (depth == 1 and not key.path.startswith(("heads", "search"))):
            name = key.path.rpartition(".")[2]
            assert f"{name}:" in text, key.path
    assert max(map(len, text.splitlines())) <= 88


def test_every_comment_of_a_new_configuration_can_be_taken_away(tmp_path):
    text = new_config("ice", "data/*.tif")
    bare = load_text(tmp_path, text)
    for number, line in enumerate(text.splitlines()[4:], start=4):
        key = line.strip().removeprefix("# ")
        words, is_key, _ = key.partition(":")
        if not line.strip().startswith("# ") or " " in words or words == "null":
            continue
        if not is_key:  # the last word of a description
            continue
        lines = text.splitlines()
        lines[number] = line.replace("# ", "", 1)
        assert load_text(tmp_path, "\n".join(lines)) == bare, line


def load_text(folder, text):
    path = folder / "text.yaml"
    path.write_text(text)
    return load_config(path)


def test_a_task_that_no_map_of_labels_teaches_is_refused():
    with pytest.raises(ValueError, match=r"`task` must be .*'segmentation'"):
        new_config("ice", "*.tif", task="segmentatio")


def test_masks_of_photographs_are_looked_for_as_png():
    text = new_config("ponds", "photos/*.jpg", classes=["ice", "pond"], label="pond")
    replace = yaml.safe_load(text)["data"]["labels"]["pond"]["file"]["replace"]
    assert replace == {".jpg": "_pond.png"}
