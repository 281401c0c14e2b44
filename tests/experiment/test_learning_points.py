"""The runs of a learning curve: nested scenes, one test part, equal compute."""

import itertools
import math

import pytest

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment.learning.points import plan_points
from arcticdl.experiment.split import (
    choose_everything,
    choose_folds,
    describe_split,
    open_prepared,
)

TINY = (
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}",
    "train={batch_size: 2, epochs: 4, jit_compile: false}",
    "folds={n_splits: 2}",
    "tiles.size_px=32",
    "predict.overlap_px=8",
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, project_root):
    """A folder with eight small scenes and their store, and the configuration."""
    folder = tmp_path_factory.mktemp("curve")
    config = project_root / "configs" / "demo.yaml"
    settings = [word for text in TINY for word in ("--set", text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["simulate", "data/demo", "--scenes", "8", "--size", "64"]) == 0
        assert main(["prepare", str(config), *settings]) == 0
    return folder, config


@pytest.fixture(autouse=True)
def here(prepared, monkeypatch):
    monkeypatch.chdir(prepared[0])


def parts(config, fraction, *more):
    checked = load_config(config, (*TINY, f"folds.train_fraction={fraction}", *more))
    store = open_prepared(checked)
    split = choose_folds(store, checked)[1]
    full = choose_everything(store, checked)
    return describe_split(store, split), describe_split(store, full)


def test_a_smaller_share_is_part_of_every_larger_one_and_the_test_stays(prepared):
    found = [parts(prepared[1], fraction) for fraction in (0.25, 0.5, 0.75, 1.0)]
    for place in (0, 1):  # a fold, and the model of all scenes
        train = [set(each[place]["train"]) for each in found]
        assert all(a < b for a, b in itertools.pairwise(train))
    assert [len(fold["train"]) for fold, _ in found] == [1, 2, 3, 4]
    assert all(fold["test"] == found[0][0]["test"] for fold, _ in found)
    assert not set(found[-1][0]["train"]) & set(found[-1][0]["test"])
    one = "folds.validation_groups=1"
    watched = [parts(prepared[1], fraction, one)[0] for fraction in (0.4, 1.0)]
    assert watched[0]["validation"] == watched[1]["validation"]
    assert len(watched[0]["train"]) == 2  # of three, rounded up


def test_all_points_take_the_same_compute(prepared):
    wide = ["model.options.backbone_options.width=8"]
    plans = plan_points(
        prepared[1],
        fractions=[0.25, 0.5],
        sizes={"wide": wide},
        folds=[0, 1],
        overrides=TINY,
    )
    assert [p.name for p in plans] == ["base-25", "base-50", "base-100", "wide-100"]
    assert [p.num_scenes for p in plans] == [1, 2, 4, 4]
    # Four tiles a scene, two a step: 8 steps an epoch with all four scenes.
    assert [p.steps for p in plans[:3]] == [32, 32, 32]
    assert [p.config.train.epochs for p in plans[:3]] == [16, 8, 4]
    assert plans[3].cost > 1.5 * plans[2].cost
    for plan in plans:
        spent = plan.steps * plan.cost / (plans[2].steps * plans[2].cost)
        assert plan.compute == pytest.approx(spent)
        assert 0.8 <= plan.compute <= 1.25


@pytest.mark.parametrize(
    ("fractions", "sizes", "more", "message"),
    [
        ([0, 0.5, 1], {}, (), r"`fractions` must lie above 0 .*Received: 0"),
        ([0.5, 1], {}, (), "at least 3 `fractions`"),
        ([1], {}, (), "at least 3 `fractions`"),
        ([0.2, 0.25, 1], {}, (), "different numbers of training scenes.*base-25"),
        (
            [1],
            {"wide": ["model.options.backbone_options.width=32"]},
            (),
            "`train.epochs` must be large enough",
        ),
        ([0.5, 1], {"odd": ["model.options.backbone_options.widht=8"]}, (), "widht"),
        (
            [0.25, 0.5, 1],
            {},
            ("folds.validation_groups=1", "train.early_stopping={patience: 2}"),
            "early stopping would end apart",
        ),
    ],
)
def test_curves_that_would_compare_nothing_are_refused(
    prepared, fractions, sizes, more, message
):
    fractions = fractions if "widht" not in message else [0.25, 0.5, 1]
    with pytest.raises(ConfigError, match=message):
        plan_points(
            prepared[1],
            fractions=fractions,
            sizes=sizes,
            folds=[0],
            overrides=(*TINY, *more),
        )


def test_without_sizes_no_cost_is_counted(prepared):
    plans = plan_points(
        prepared[1], fractions=[0.25, 0.5, 1], sizes={}, folds=[0], overrides=TINY
    )
    assert all(math.isnan(plan.cost) for plan in plans)
    assert [plan.compute for plan in plans] == [1.0] * 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fractions", "a,b"], "`--fractions` must be numbers"),
        (["--size", "base:x=1"], "`--size` must be NAME:KEY=VALUE"),
        (["--size", "deep"], "`--size` must be NAME:KEY=VALUE"),
        (["--fold", "full"], "`fold` must be `all` or a number"),
    ],
)
def test_the_command_refuses_what_it_cannot_read(prepared, words, message, capsys):
    settings = [word for text in TINY for word in ("--set", text)]
    assert main(["learning-curve", str(prepared[1]), *settings, *words]) == 1
    assert message in capsys.readouterr().err
