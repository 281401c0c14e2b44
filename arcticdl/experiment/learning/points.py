"""The runs of a learning curve: shares of the training scenes, sizes of network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcticdl.config import Experiment, load_config
from arcticdl.errors import ConfigError
from arcticdl.evaluation.compare.runs import read_scored
from arcticdl.evaluation.learning.curve import CurvePoint
from arcticdl.evaluation.learning.power import FEWEST
from arcticdl.experiment.build import build_feeds, count_classes
from arcticdl.experiment.check import check_options
from arcticdl.experiment.learning.cost import count_operations
from arcticdl.experiment.network import build_network
from arcticdl.experiment.split import open_prepared
from arcticdl.experiment.train import split_folds

FIRST = "base"
"""Name of the size that the configuration itself describes."""

_OFF_BY = 1.25  # how far a whole number of epochs may miss the compute that is meant


@dataclass(frozen=True)
class Plan:
    """One run of a learning curve, before it is trained.

    Attributes:
        name: Of its folder.
        size: Name of the size.
        config: Its experiment.
        num_scenes: Training scenes, a mean over the folds.
        steps: Optimiser steps of a fold.
        cost: Operations of a step; NaN where sizes are not compared.
        compute: Relative to the first size with all scenes.
    """

    name: str
    size: str
    config: Experiment
    num_scenes: float
    steps: int
    cost: float
    compute: float


def plan_points(
    path: str | Path,
    *,
    fractions: Sequence[float],
    sizes: Mapping[str, Sequence[str]],
    folds: Sequence[int],
    overrides: Sequence[str] = (),
) -> list[Plan]:
    """Plans a run for each share of the scenes, and for each size with all of them.

    All take the same compute: steps times the cost of one. Fewer scenes are gone
    through more often, and a network of twice the cost takes half the steps, as a whole
    number of epochs allows.

    Args:
        path: Configuration file.
        fractions: Shares of the training groups, in (0, 1]; 1 is always among them.
        sizes: Name of a size -> ``key=value`` overrides that make it.
        folds: Numbers of the folds.
        overrides: ``key=value`` for all.

    Returns:
        The plans, in the order in which they are best trained.

    Raises:
        ConfigError: Shares out of range or too few of them, early stopping, several
            heads, or epochs that cannot meet the compute.
        SplitError: Two shares take the same scenes.
    """
    shares = _checked_shares(fractions, sizes)
    base = load_config(path, tuple(overrides))
    if base.train.early_stopping is not None:
        raise ConfigError(
            "A learning curve compares trainings of equal compute, which early "
            "stopping would end apart. Leave it out: --set train.early_stopping=null"
        )
    if len(base.each_head) > 1:
        raise ConfigError(
            "A learning curve is of one head. Received: "
            f"{sorted(base.each_head)}. Train one label by `label`."
        )
    whole = _measured(base, folds, FIRST, counted=bool(sizes))
    plans = []
    for share in shares:
        given = (*overrides, f"folds.train_fraction={share!r}", "baselines=false")
        name = f"{FIRST}-{100 * share:g}"
        plans.append(_planned(path, given, folds, FIRST, name, whole))
    _refuse_equal(plans)
    for size, changes in sizes.items():
        given = (*overrides, *changes, "baselines=false")
        plans.append(_planned(path, given, folds, size, f"{size}-100", whole))
    return plans


def read_points(
    plans: Sequence[Plan], folder: Path, folds: Sequence[int]
) -> list[CurvePoint]:
    """Reads the evaluated runs of a learning curve.

    Args:
        plans: What was trained.
        folder: Where their run folders lie.
        folds: Numbers of the folds; others are left alone.

    Raises:
        FileNotFoundError: A run is not evaluated.
    """
    points = []
    for plan in plans:
        scored = read_scored(folder / plan.name)
        results = [scored.results[number] for number in folds]
        points.append(
            CurvePoint(
                plan.name, plan.size, plan.num_scenes, plan.cost, plan.steps, results
            )
        )
    return points


def _checked_shares(
    fractions: Sequence[float], sizes: Mapping[str, Any]
) -> list[float]:
    wrong = [share for share in fractions if not 0 < share <= 1]
    if wrong:
        raise ConfigError(
            f"`fractions` must lie above 0 and up to 1. Received: {wrong[0]!r}."
        )
    shares = sorted({*fractions, 1.0})
    if 1 < len(shares) < FEWEST or (len(shares) == 1 and not sizes):
        raise ConfigError(
            f"A curve is fitted through at least {FEWEST} `fractions`, of which 1 is "
            f"one. Received: {list(fractions)}. Add one, such as 0.25, 0.5."
        )
    return shares


def _measured(
    config: Experiment, folds: Sequence[int], name: str, *, counted: bool
) -> Plan:
    """Counts batches and cost of a run as it is configured."""
    check_options(config)
    if not isinstance(config.train.batch_size, int):
        raise ConfigError(
            "`train.batch_size` must be a number for a learning curve, whose runs take "
            f"the same compute. Received: {config.train.batch_size!r}."
        )
    store = open_prepared(config)
    splits = split_folds(config, store, list(folds))
    scenes = store.manifest["scene_id"].astype(str).to_numpy()
    num = [len(set(scenes[split.train])) for split in splits.values()]
    first = next(iter(splits.values()))
    feed, _ = build_feeds(config, store, first, seed=config.seed)
    cost = math.nan
    if counted:
        counts = count_classes(config, store, first)
        model = build_network(config, feed.card, len(feed), counts)
        size = store.tile_size_px
        cost = (
            count_operations(model, (*size, feed.num_bands)) * config.train.batch_size
        )
    steps = len(feed) * config.train.epochs
    return Plan(name, name, config, sum(num) / len(num), steps, cost, 1.0)


def _planned(
    path: str | Path,
    given: Sequence[str],
    folds: Sequence[int],
    size: str,
    name: str,
    whole: Plan,
) -> Plan:
    """A run whose epochs meet the compute of the whole one."""
    base = size == FIRST  # of which a step costs the same, whatever its scenes
    found = _measured(load_config(path, tuple(given)), folds, name, counted=not base)
    cost = whole.cost if base else found.cost
    relative = 1.0 if base else cost / whole.cost
    per_epoch = found.steps / found.config.train.epochs
    epochs = max(1, round(whole.steps / relative / per_epoch))
    steps = round(epochs * per_epoch)
    compute = steps * relative / whole.steps
    if not 1 / _OFF_BY <= compute <= _OFF_BY:
        raise ConfigError(
            f"`train.epochs` must be large enough to meet the compute of all by whole "
            f"epochs. Received: {compute:.2f} of it for {name}, with {epochs} epochs. "
            "Raise train.epochs."
        )
    config = load_config(path, (*given, f"train.epochs={epochs}"))
    return Plan(name, size, config, found.num_scenes, steps, cost, compute)


def _refuse_equal(plans: Sequence[Plan]) -> None:
    seen: dict[float, str] = {}
    for plan in plans:
        other = seen.setdefault(plan.num_scenes, plan.name)
        if other != plan.name:
            raise ConfigError(
                "`fractions` must give different numbers of training scenes. Received: "
                f"{plan.num_scenes:g} scenes for {other} and {plan.name}. Take shares "
                "that lie further apart, or prepare more scenes."
            )
