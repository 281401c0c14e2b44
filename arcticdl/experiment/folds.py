"""Splitters from a configuration, and how many folds they make."""

from collections.abc import Callable
from typing import Any

from arcticdl.config.folds import FoldsConfig
from arcticdl.experiment.options import call_with, parameters
from arcticdl.tiles import TileStore
from arcticdl.tiles.table import SPLITTERS


def build_splitter(settings: FoldsConfig) -> Any:
    """Builds the splitter of an experiment.

    Args:
        settings: The section ``folds``; of its keys a splitter gets those it takes.

    Returns:
        A splitter in scikit-learn's form: ``split(store.manifest)`` yields folds.

    Raises:
        ConfigError: Options that the splitter does not take, or lacks.
    """
    function = SPLITTERS[settings.splitter.name]
    keys = {"n_splits": settings.n_splits, "group": settings.group}
    given = {**keys, "seed": settings.seed}
    fixed = {k: v for k, v in given.items() if k in parameters(function)}
    options = settings.splitter.options
    return call_with(function, options, "folds.splitter.options", **fixed)


def count_folds(settings: FoldsConfig, open_store: Callable[[], TileStore]) -> int:
    """Counts the folds of an experiment.

    Args:
        settings: The section ``folds``.
        open_store: Opens the store; called only where the number depends on it.
    """
    splitter = build_splitter(settings)
    if settings.splitter.name == "leave_one_out":
        return int(splitter.get_n_splits(open_store().manifest))
    return int(splitter.get_n_splits())
