"""Options are compared with signatures before a call, whose own errors stay its own."""

import json

import pytest

from arcticdl.augment.table import AUGMENTATIONS
from arcticdl.errors import ConfigError
from arcticdl.experiment.options import call_with, check_call, parameters
from arcticdl.losses.table import LOSSES
from arcticdl.metrics.table import METRICS
from arcticdl.tiles.table import SPLITTERS
from arcticdl.training.table import OPTIMIZERS, SCHEDULES


def build(*, heads, width: int = 4, dropout: float = 0.0, names: tuple[str, ...] = ()):
    return width, dropout, names


def broken(**options):
    return len(None)


def needs(*, size, p=1.0):
    return size


def outer(*, first=1, **options):
    return inner(**options) + first


def inner(*, second=2):
    return second


def test_options_that_fit_are_given_with_the_fixed_ones():
    options = {"width": 8, "names": ["a", "b"]}
    assert call_with(build, options, "model", heads={}) == (8, 0.0, ["a", "b"])


def test_a_type_error_from_inside_stays_a_type_error():
    with pytest.raises(TypeError, match="NoneType"):
        call_with(broken, {"dropout": 0.1}, "model.options")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"droput": 0.1},
            r"`m\.droput` is no option of build\. Did you mean 'dropout'",
        ),
        ({"heads": {}}, r"`m\.heads` is set by other parts"),
        ({"width": "8"}, r"`m\.width`: Input should be a valid integer.*Received: '8'"),
        ({"width": 0.5}, r"`m\.width`: "),
        ({"width": True}, r"`m\.width`: "),
        ({"dropout": [0.1]}, r"`m\.dropout`: Input should be a valid number"),
        ({"names": ["a", 1]}, r"`m\.names\.1`: Input should be a valid string"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_with_its_path(options, message):
    with pytest.raises(ConfigError, match=message):
        call_with(build, options, "m", heads={})


def test_an_integer_is_as_good_as_a_number():
    assert call_with(build, {"dropout": 0}, "m", heads={})[1] == 0


def test_a_missing_option_is_named():
    with pytest.raises(
        ConfigError, match=r"`s` must give \['size'\], which needs needs"
    ):
        call_with(needs, {"p": 0.5}, "s")


def test_options_that_are_passed_on_are_those_of_the_other_function():
    check_call(outer, {"first": 3, "second": 4}, "o", passes_on=inner)
    with pytest.raises(ConfigError, match="Did you mean 'second'"):
        check_call(outer, {"secnd": 4}, "o", passes_on=inner)


@pytest.mark.parametrize(
    "table", [AUGMENTATIONS, LOSSES, METRICS, OPTIMIZERS, SCHEDULES, SPLITTERS]
)
def test_every_default_in_the_tables_fits_its_own_annotation(table):
    for name in table:
        for option, parameter in parameters(table[name]).items():
            value = parameter.default
            if value is parameter.empty or option == "name":
                continue
            try:
                json.dumps(value)
            except TypeError:
                continue
            others = {o for o, p in parameters(table[name]).items()} - {option}
            check_call(table[name], {option: value}, name, others)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_option_that_a_loss_offers_can_be_given(name):
    offered = {
        option: parameter.default
        for option, parameter in parameters(LOSSES[name]).items()
        if parameter.default is not parameter.empty and option != "name"
    }
    for option, value in offered.items():
        needed = {"classes": [0]} if name == "CenterlineDice" else {}
        loss = call_with(LOSSES[name], {**needed, option: value}, "loss.options")
        assert loss.name


def test_an_optimiser_of_keras_refuses_a_typo_before_it_is_built():
    with pytest.raises(ConfigError, match="Did you mean 'momentum'"):
        call_with(OPTIMIZERS["SGD"], {"momentm": 0.9}, "train.optimizer.options")
