"""A search space is checked against the configuration before anything starts."""

import pytest

from arcticdl.config import dump_config, load_config
from arcticdl.config.read import check_tree
from arcticdl.config.search.space import apply_values, list_points
from arcticdl.errors import ConfigError

BASE = {
    "name": "a",
    "data": {"scenes": "x", "labels": {"ice": {"file": "y", "classes": ["a", "b"]}}},
}
RATE = {"low": 1e-4, "high": 1e-2, "log": True}
WIDTH = "model.options.backbone_options.width"


def check(space, **search):
    return check_tree({**BASE, "search": {"space": space, **search}}, "a.yaml")


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"train.learing_rate": RATE}, "Did you mean `learning_rate`"),
        ({"trian.learning_rate": RATE}, "Did you mean 'train'"),
        ({"data.bands": [["a"], ["b"]]}, "the same for all trials"),
        ({"seed": [1, 2]}, "the same for all trials"),
        ({"train.metrics": [["MeanIoU"], ["F1"]]}, "by what trials are scored"),
        ({"heads.ice.task": ["a", "b"]}, "by what trials are scored"),
        ({"heads.sod.weight": [1.0, 2.0]}, "heads"),
        ({"train.learning_rate": {"low": -1.0, "high": 1.0}}, "greater than 0"),
        ({"train.ema": {"low": 0.5, "high": 1.0}}, "less than 1"),
        ({"model.backbone": ["resnet18", "plian"]}, "Did you mean 'plain'"),
        ({"train.clip_norm": {"low": 1, "high": 3}}, "low: 1.0"),
        (
            {"train.batch_size": {"low": 2.0, "high": 9.0, "step": 0.5}},
            "draws fractions",
        ),
        ({"train.epochs.x": [1, 2]}, "below the value"),
        ({"train.augment.0.p": [0.1, 0.2]}, "a list of 0"),
        ({"train.learning_rate": {"low": 1e-4}}, "give `choices`, or"),
        ({"train.learning_rate": [1e-3]}, "at least 2"),
        ({"train.learning_rate": [1e-3, 1e-3]}, "there once"),
        ({"train.learning_rate": {"low": 2.0, "high": 1.0}}, "`low` must be below"),
        ({"train.weight_decay": {"low": 0.0, "high": 1.0, "log": True}}, "above 0"),
        ({"train.batch_size": {"low": 2, "high": 9, "step": 4}}, "whole steps"),
        ({}, "at least 1"),
    ],
)
def test_a_space_that_the_configuration_would_refuse_is_refused(space, told):
    with pytest.raises(ConfigError, match=told):
        check(space)


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ({"model.decoder": "unet"}, "must be one of \\['model.backbone'\\]"),
        ({"model.backbone": "plan"}, "Did you mean 'plain'"),
    ],
)
def test_a_condition_names_a_parameter_above_it_and_its_value(when, told):
    width = {"low": 4, "high": 8, "step": 4, "when": when}
    with pytest.raises(ConfigError, match=told):
        check({"model.backbone": ["plain", "resnet18"], WIDTH: width})


def test_losses_that_differ_are_not_compared():
    loss = {"loss": ["DiceFocal", "Crossentropy"]}
    with pytest.raises(ConfigError, match="losses that differ"):
        check(loss, objectives=[{"monitor": "val_loss"}])
    check({"train.learning_rate": RATE}, objectives=[{"monitor": "val_loss"}])


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"objectives": [{"cost": "seconds"}]}, "must hold a score"),
        ({"objectives": [{}, {}]}, "must differ"),
        ({"objectives": [{}, {"cost": "seconds"}], "pruner": "median"}, "no order"),
        ({"objectives": [{"cost": "seconds", "mode": "max"}]}, "stands alone"),
        ({"pruner": "medain"}, "'median', 'hyperband' or 'none'"),
    ],
)
def test_objectives_that_cannot_be_are_refused(search, told):
    with pytest.raises(ConfigError, match=told):
        check({"train.learning_rate": RATE}, **search)


def test_every_choice_and_bound_is_tried_with_its_condition():
    width = {"low": 4, "high": 8, "step": 4, "when": {"model.backbone": "plain"}}
    config = check({"model.backbone": ["resnet18", "plain"], WIDTH: width})
    assert list(list_points(config.search)) == [
        ("model.backbone", {"model.backbone": "resnet18"}),
        ("model.backbone", {"model.backbone": "plain", WIDTH: 4}),
        (WIDTH, {"model.backbone": "plain", WIDTH: 4}),
        (WIDTH, {"model.backbone": "plain", WIDTH: 8}),
    ]


def test_values_stand_where_their_keys_say_and_others_are_left_out(tmp_path):
    space = {
        "train.optimizer": ["SGD", "AdamW"],
        "train.optimizer.options.momentum": {
            "low": 0.5,
            "high": 0.9,
            "when": {"train.optimizer": ["SGD"]},
        },
        "model": [{"backbone": "plain", "decoder": "fpn"}, {"backbone": "resnet34"}],
    }
    config = check(space)
    found = apply_values(
        config,
        config.search,
        {
            "train.optimizer": "SGD",
            "train.optimizer.options.momentum": 0.7,
            "model": {"backbone": "plain", "decoder": "fpn"},
        },
    )
    assert found.train.optimizer.name == "SGD"
    assert found.train.optimizer.options == {"momentum": 0.7}
    assert (found.model.backbone, found.model.decoder) == ("plain", "fpn")
    assert found.search is None
    without = apply_values(
        config, config.search, {"train.optimizer": "AdamW", "model": space["model"][1]}
    )
    assert without.train.optimizer.options == {}
    path = tmp_path / "written.yaml"  # also the space itself survives being written
    path.write_text(dump_config(config))
    assert load_config(path) == config
