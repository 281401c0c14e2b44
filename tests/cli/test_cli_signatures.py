"""Options of a choice are listed as its signature and docstring have them."""

import pytest

from arcticdl.cli.signatures import list_options


def test_the_options_of_a_loss_come_from_its_signature():
    keys = {key.path: key for key in list_options("loss", "DiceFocal")}
    assert keys["loss.options.gamma"].default == "2.0"
    assert keys["loss.options.gamma"].type == "float"
    assert keys["loss.options.class_weights"].description == (
        "One weight a class, for both parts."
    )


def test_what_has_a_key_of_its_own_is_no_option():
    paths = [key.path for key in list_options("train.optimizer", "AdamW")]
    assert "train.optimizer.options.beta_1" in paths
    assert "train.optimizer.options.learning_rate" not in paths


@pytest.mark.parametrize(
    ("key", "name", "option", "default"),
    [
        ("model.backbone", "plain", "model.options.backbone_options.width", "32"),
        (
            "model.backbone",
            "swin_t",
            "model.options.backbone_options.depths",
            "as the network has it",
        ),
        (
            "model.decoder",
            "fpn",
            "model.options.decoder_options.pyramid_channels",
            "256",
        ),
        ("train.augment", "crop", "train.augment.N.size_px", None),
        ("train.sampler", "rarity", "train.sampler.options.power", "0.5"),
        ("folds.splitter", "block", "folds.splitter.options.block_size", None),
    ],
)
def test_each_place_lists_where_its_options_go(key, name, option, default):
    found = {entry.path: entry.default for entry in list_options(key, name)}
    assert found[option] == default


def test_a_choice_that_is_none_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'SGD'"):
        list_options("train.optimizer", "SDG")
    with pytest.raises(ValueError, match="`key` must be one of"):
        list_options("train.epochs", "3")
