"""Configurations: completed, checked, and refused with the key's path."""

from pathlib import Path

import pytest
import yaml

from arcticdl.config import dump_config, load_config
from arcticdl.errors import ConfigError

LABEL = {"file": {"replace": {"images": "masks"}}, "classes": ["water", "ice"]}
MINIMAL = {"name": "x", "data": {"scenes": "*.tif", "labels": {"ice": LABEL}}}


def write(folder: Path, tree) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def changed(**sections):
    return {**MINIMAL, **sections}


def test_a_minimal_configuration_is_completed_and_survives_a_round_trip(tmp_path):
    config = load_config(write(tmp_path, MINIMAL))
    assert config.label_name == "ice"
    assert config.store_path == Path("data/x.tiles")
    again = tmp_path / "again.yaml"
    again.write_text(dump_config(config))
    assert load_config(again) == config


def test_overrides_are_read_as_yaml_and_applied_in_order(tmp_path):
    path = write(tmp_path, MINIMAL)
    config = load_config(
        path, ("train.epochs=3", "train.epochs=4", "tiles.size_px=[30, 20]")
    )
    assert config.train.epochs == 4
    assert config.tiles.size_px == (30, 20)


@pytest.mark.parametrize(
    ("sets", "begins"),
    [
        (("train.epochs=0",), "`--set train.epochs=0` is not a valid"),
        (("train.epochs=0", "train.epochs=-1"), "`--set train.epochs=-1` is not a"),
        (("train={epochs: 0}", "seed=1"), "`--set train={epochs: 0}` is not a valid"),
        (("train.epoch=3",), "`--set train.epoch=3` is not a valid"),
        (("seed=1",), "FILE is not a valid"),  # what is wrong stands in the file
        (("train.epochs=0", "tiles.size_px=0", "seed=1"), "`--set t"),
    ],
)
def test_a_value_that_was_set_is_not_blamed_on_the_file(tmp_path, sets, begins):
    """Every message began with the file, which an override had spoilt."""
    in_file = {"tiles": {"size_px": 0}} if sets == ("seed=1",) else {}
    path = write(tmp_path, changed(**in_file))
    with pytest.raises(ConfigError) as told:
        load_config(path, sets)
    assert str(told.value).startswith(begins.replace("FILE", str(path)))


def test_a_rule_over_file_and_override_names_both(tmp_path):
    path = write(tmp_path, changed(train={"batch_size": "auto"}))
    with pytest.raises(ConfigError) as told:
        load_config(path, ("train.devices=2",))
    assert str(told.value).startswith(f"{path} with `--set train.devices=2` is not")
    with pytest.raises(ConfigError) as told:
        load_config(write(tmp_path, changed(sed=1)), ("train.epochs=0",))
    assert str(told.value).startswith(f"{path} with `--set train.epochs=0` is not")


@pytest.mark.parametrize(
    ("sets", "begins"),
    [
        # Plateau needs a validation part, which nothing else here has to do with.
        (
            ("seed=1", "train.schedule=plateau", "train.epochs=3"),
            "FILE with `--set train.schedule=plateau` is not",
        ),
        # The second says what the file says, and is not to blame.
        (
            ("train.early_stopping={}", "seed=1", "folds.validation_groups=0"),
            "FILE with `--set train.early_stopping={}` is not",
        ),
        # A label that is not there is asked for twice.
        (
            ("seed=1", "label=snow", "name=a"),
            "FILE with `--set label=snow` is not",
        ),
    ],
)
def test_a_fault_between_sections_is_blamed_on_what_made_it(tmp_path, sets, begins):
    """Every `--set` of the call was named for a fault at the top."""
    path = write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError) as told:
        load_config(path, sets)
    assert str(told.value).startswith(begins.replace("FILE", str(path)))


def test_a_fault_between_sections_of_the_file_is_blamed_on_no_override(tmp_path):
    path = write(tmp_path, changed(label="snow"))
    with pytest.raises(ConfigError) as told:
        load_config(path, ("seed=1", "train.epochs=3"))
    assert str(told.value).startswith(f"{path} is not a valid configuration")


def test_overrides_that_are_wrong_only_together_are_both_to_blame(tmp_path):
    path = write(tmp_path, MINIMAL)
    sets = ("train.devices=2", "seed=1", "train.batch_size=auto")
    with pytest.raises(ConfigError) as told:
        load_config(path, sets)
    assert str(told.value).startswith(
        f"{path} with `--set train.devices=2`, `--set train.batch_size=auto` is not"
    )


def test_environment_variables_are_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("ICE", "/somewhere")
    data = {**MINIMAL["data"], "scenes": "${ICE}/*.tif"}
    config = load_config(write(tmp_path, changed(data=data)))
    assert config.data.scenes == "/somewhere/*.tif"


def test_an_unset_variable_is_named_with_its_key(tmp_path, monkeypatch):
    monkeypatch.delenv("ICE", raising=False)
    data = {**MINIMAL["data"], "scenes": "${ICE}/*.tif"}
    with pytest.raises(ConfigError, match=r"`data\.scenes` uses \$\{ICE\}"):
        load_config(write(tmp_path, changed(data=data)))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"train": {"epoch": 3}}, r"train\.epoch: unknown key.*epochs"),
        ({"train": {"epochs": 0}}, r"train\.epochs: .*greater than 0.*Received: 0"),
        ({"tiles": {"edge": "wrap"}}, r"tiles\.edge: .*'shift', 'pad' or 'drop'"),
        ({"label": "floe"}, r"`label` must be one of \['ice'\]"),
        ({"predict": {"line": "lead"}}, r"`predict\.line` must be one of"),
        (
            {"predict": {"line": {"name": "lead", "width_px": 9}}},
            r"predict\.line: .*need `between`",
        ),
        (
            {"predict": {"line": {"name": "lead", "toll": 0.5, "min_confidence": 0.1}}},
            r"predict\.line: `width_px` and `toll` .*need `between`",
        ),
        (
            {"predict": {"line": {"name": "lead", "between": ["ice", "ice"]}}},
            r"predict\.line: .*three different ones",
        ),
        ({"train": {"early_stopping": {}}}, r"needs `folds\.validation_groups`"),
        (
            {"tiles": {"size_px": 0}},
            r"tiles\.size_px: Input should be greater than 0, or a valid tuple\. Rec",
        ),
        ({"predict": {"tile_size_px": [3]}}, r"predict\.tile_size_px: "),
        (
            {
                "data": {
                    **MINIMAL["data"],
                    "grid": {"resolution_m": 1000, "vector_frame": "grid"},
                }
            },
            r"data\.grid.*vector_bands refer to; name their pairs",
        ),
        ({"nme": "y"}, r"nme: unknown key"),
        ({"name": "../up"}, r"name: must consist of letters"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_path(tmp_path, section, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, changed(**section)))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"classes": ["a", "b"]}, "`carried`, `rules`, `attribute` and `band`"),
        ({**LABEL, "colors": ["#000000"]}, "one colour for each"),
        (
            {**LABEL, "attribute": "season"},
            "one of `file`, `carried`, `rules`, `attribute` and `band`",
        ),
        ({"attribute": "season", "codes": {0: 1}}, "`codes` and `sides` are of maps"),
        ({**LABEL, "units": "K"}, "`units` are of a quantity"),
        (
            {"classes": ["a"], "rules": [{"name": "b", "where": {"HH": [0, 1]}}]},
            "not in `classes`",
        ),
    ],
)
def test_a_label_needs_one_origin_and_matching_names(tmp_path, label, message):
    data = {"scenes": "*.tif", "labels": {"ice": label}}
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, changed(data=data)))


@pytest.mark.parametrize("text", ["train.epochs", "=3", "name.x=3"])
def test_an_unusable_override_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="--set"):
        load_config(write(tmp_path, MINIMAL), (text,))


def test_a_file_that_is_not_yaml_or_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="No configuration at"):
        load_config(tmp_path / "absent.yaml")
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1,")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(path)
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="must hold sections"):
        load_config(path)
