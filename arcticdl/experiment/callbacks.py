"""Callbacks: what they watch and show, known before anything is written."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from arcticdl.choices import check_choice
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.learning.contrast import watch_collapse
from arcticdl.experiment.losses import fixed_of
from arcticdl.experiment.network import build_metrics, read_heads
from arcticdl.experiment.options import call_with, check_call, parameters
from arcticdl.training.table import CALLBACKS, SCHEDULES

CALLBACK_GIVEN = ("feed", "folder", "training_feed")
"""Arguments of callbacks that are not the configuration's to give."""


def find_monitor(
    config: Experiment, key: str = "train.early_stopping", monitor: str | None = None
) -> tuple[str, str]:
    """Finds the score that a callback watches, and which way is better.

    Args:
        config: The experiment.
        key: Path of what configures the callback, for messages.
        monitor: Name of the score; ``None``: the first metric with a best end.

    Returns:
        Name as it will be logged, and ``"min"``, ``"max"`` or, where only Keras may
        know, ``"auto"``.

    Raises:
        ConfigError: The score will not be logged, or has no best end.
    """
    from arcticdl.training.callbacks import find_mode

    scores = _logged(config)
    names = ["val_loss", *(f"val_{name}" for name in scores)]
    # Keras logs several heads' losses apart; of one head the sum is its loss.
    if len(config.each_head) > 1:
        names += [f"val_{label}_loss" for label in config.each_head]
    monitor = monitor or _first(scores)
    try:
        check_choice(f"{key}.monitor", monitor, names)
        model = SimpleNamespace(metrics=list(scores.values()))
        return monitor, find_mode(monitor, model)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def check_watchers(config: Experiment) -> None:
    """Refuses a monitor that will not be logged, and what a callback does not take.

    Raises:
        ConfigError: As for ``find_monitor``; or options that a callback does not take.
        MissingExtraError: A callback needs a package that is not installed.
    """
    if config.train.early_stopping is not None:
        find_monitor(config, monitor=config.train.early_stopping.monitor)
    if config.train.schedule.name == "plateau":
        _plateau_options(config)
    for number, callback in enumerate(config.train.callbacks):
        key = f"train.callbacks.{number}.options"
        function = CALLBACKS[callback.name]
        check_call(function, callback.options, key, CALLBACK_GIVEN)
        if hasattr(function, "check_installed"):
            function.check_installed()
        if callback.name == "images":
            _check_images(config, callback.options, key)


def build_stopping(config: Experiment) -> Any:
    """Builds the callback that ends training early, ``None`` where none is configured.

    Raises:
        ConfigError: As for ``find_monitor``.
    """
    import keras

    rule = config.train.early_stopping
    if rule is None:
        return None
    monitor, own = find_monitor(config, monitor=rule.monitor)
    return keras.callbacks.EarlyStopping(
        monitor=monitor,
        mode=own if rule.mode == "auto" else rule.mode,
        patience=rule.patience,
        min_delta=rule.min_delta,
        restore_best_weights=True,
    )


def build_plateau(config: Experiment) -> Any:
    """Builds the callback that lowers the rate of the schedule ``plateau``.

    Returns:
        The callback; ``None`` with another schedule.

    Raises:
        ConfigError: As for ``find_monitor``.
    """
    import keras

    if config.train.schedule.name != "plateau":
        return None
    options = _plateau_options(config)
    lowest = options.pop("final_fraction") * config.train.learning_rate
    return keras.callbacks.ReduceLROnPlateau(min_lr=lowest, **options)


def build_unfreezing(config: Experiment) -> Any:
    """Builds the callback that frees stages, ``None`` where none is configured."""
    settings = config.train.unfreeze
    if settings is None:
        return None
    from arcticdl.models import GradualUnfreezing

    return GradualUnfreezing(**settings.model_dump())


def build_average(config: Experiment, feed: Any) -> Any:
    """Builds the callback that averages the last epochs, ``None`` without one."""
    settings = config.train.swa
    if settings is None:
        return None
    from arcticdl.training import WeightAverage

    start = min(int(settings.start * config.train.epochs), config.train.epochs - 1)
    return WeightAverage(feed, start=start, every=settings.every)


def build_callbacks(
    config: Experiment, fold_dir: Path, feed: Any, training_feed: Any
) -> list[Any]:
    """Builds all callbacks of a training but early stopping.

    Args:
        config: The experiment.
        fold_dir: Folder of the fold, in which they write.
        feed: Of the validation; ``None`` where there is none.
        training_feed: Of the training.
    """
    found = [
        build_unfreezing(config),
        build_plateau(config),
        build_average(config, training_feed),
        *watch_collapse(config),
    ]
    named = {callback.name for callback in config.train.callbacks}
    if config.train.tensorboard and "tensorboard" not in named:
        found.append(CALLBACKS["tensorboard"](fold_dir / "tensorboard"))
    for number, callback in enumerate(config.train.callbacks):
        function = CALLBACKS[callback.name]
        given = {
            "folder": fold_dir / callback.name,
            "feed": feed,
            "training_feed": training_feed,
        }
        key = f"train.callbacks.{number}.options"
        fixed = fixed_of(function, given)
        found.append(call_with(function, callback.options, key, **fixed))
    return [callback for callback in found if callback is not None]


def _check_images(config: Experiment, options: Mapping[str, Any], key: str) -> None:
    from arcticdl.training.reports import find_map_head

    if not config.folds.validates:
        raise ConfigError(
            "`train.callbacks` images shows validation tiles, and needs "
            "`folds.validation_groups` >= 1, or a given `folds.validation`."
        )
    heads = {name: head.to_card() for name, head in read_heads(config).items()}
    try:
        find_map_head(heads, options.get("head"))
    except ValueError as error:
        raise ConfigError(f"`{key}`: {error}") from error


def _plateau_options(config: Experiment) -> dict[str, Any]:
    known = parameters(SCHEDULES["plateau"]).items()
    options = {n: p.default for n, p in known if p.default is not p.empty}
    options |= config.train.schedule.options
    key = "train.schedule.options"
    monitor, mode = find_monitor(config, key, options["monitor"])
    return {**options, "monitor": monitor, "mode": mode}


def _logged(config: Experiment) -> dict[str, Any]:
    """Name as Keras logs it -> the metric, heads in their order."""
    heads = read_heads(config)
    several = len(heads) > 1
    return {
        f"{label}_{metric.name}" if several else str(metric.name): metric
        for label, head in heads.items()
        for metric in build_metrics(config, label, head)
    }


def _first(scores: Mapping[str, Any]) -> str:
    """The first score with a best end, which a bias, best at 0, has not."""
    ended = (
        name for name, m in scores.items() if not getattr(m, "best_at_zero", False)
    )
    return f"val_{next(ended, 'loss')}"
