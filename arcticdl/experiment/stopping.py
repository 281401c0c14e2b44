"""Early stopping: which score decides, known before anything is written."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from arcticdl.choices import check_choice
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.network import build_metrics, read_heads

_KEY = "train.early_stopping.monitor"


def find_monitor(config: Experiment) -> tuple[str, str]:
    """Finds the score by which training ends early, and which way is better.

    Args:
        config: An experiment with ``train.early_stopping``.

    Returns:
        Name as it will be logged, and ``"min"``, ``"max"`` or, where only Keras may
        know, ``"auto"``.

    Raises:
        ConfigError: The score will not be logged, or has no best end.
    """
    from arcticdl.training.callbacks import find_mode

    rule = config.train.early_stopping
    assert rule is not None
    scores = _logged(config)
    names = ["val_loss", *(f"val_{name}" for name in scores)]
    # Keras logs several heads' losses apart; of one head the sum is its loss.
    if len(config.each_head) > 1:
        names += [f"val_{label}_loss" for label in config.each_head]
    monitor = rule.monitor or _first(scores)
    try:
        check_choice(_KEY, monitor, names)
        model = SimpleNamespace(metrics=list(scores.values()))
        own = find_mode(monitor, model)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return monitor, own if rule.mode == "auto" else rule.mode


def build_stopping(config: Experiment) -> Any:
    """Builds the callback that ends training early, ``None`` where none is configured.

    Raises:
        ConfigError: As for ``find_monitor``.
    """
    import keras

    rule = config.train.early_stopping
    if rule is None:
        return None
    monitor, mode = find_monitor(config)
    return keras.callbacks.EarlyStopping(
        monitor=monitor,
        mode=mode,
        patience=rule.patience,
        min_delta=rule.min_delta,
        restore_best_weights=True,
    )


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
