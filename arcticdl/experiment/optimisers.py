"""Optimisers and learning-rate schedules from a configuration."""

from collections.abc import Callable
from typing import Any

from arcticdl.config.train import TrainConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.options import call_with, check_call, parameters
from arcticdl.training.table import OPTIMIZERS, SCHEDULES

GIVEN = frozenset(
    (
        "ema_momentum",
        "global_clipnorm",
        "gradient_accumulation_steps",
        "learning_rate",
        "num_steps",
        "use_ema",
        "warmup_fraction",
        "weight_decay",
    )
)
"""Arguments that have keys of their own under ``train``."""


def build_optimizer(settings: TrainConfig, num_steps: int, model: Any = None) -> Any:
    """Builds the optimiser of a training.

    Args:
        settings: The section ``train``.
        num_steps: Optimiser steps of the whole training.
        model: The network, for ``layer_decay``; and one that another judges has the
            gradient of each weight clipped by itself.

    Returns:
        A ``keras.optimizers.Optimizer``. Biases and normalisation do not decay.

    Raises:
        ConfigError: Options that the optimiser or the schedule does not take, or an
            optimiser that this Keras lacks.
    """
    from arcticdl.training.fit import common_options, spare_small_weights

    rate = build_schedule(settings, num_steps)
    common = common_options(
        settings.weight_decay, settings.clip_norm, settings.ema, settings.accumulate
    )
    if settings.clip_norm is not None and hasattr(model, "discriminator"):
        # By one norm, the gradients of either network would scale the other's.
        common["clipnorm"] = common.pop("global_clipnorm")
    fixed = {"learning_rate": rate, **common}
    key = "train.optimizer.options"
    if settings.layer_decay is not None:
        from arcticdl.models.finetune import layer_factors

        fixed["factors"] = layer_factors(model, settings.layer_decay)
        return _layer_wise(settings, fixed)
    return spare_small_weights(
        call_with(_class_of(settings), settings.optimizer.options, key, **fixed)
    )


def build_schedule(settings: TrainConfig, num_steps: int) -> Any:
    """Builds the learning rate of a training: a number or a schedule of Keras.

    Raises:
        ConfigError: Options that the schedule does not take.
    """
    function = SCHEDULES[settings.schedule.name]
    fixed = {"learning_rate": settings.learning_rate, "num_steps": num_steps}
    return call_with(
        function,
        settings.schedule.options,
        "train.schedule.options",
        **fixed,
        **_warmup(settings, function),
    )


def check_optimizer(settings: TrainConfig) -> None:
    """Refuses options that the optimiser or the schedule does not take.

    Raises:
        ConfigError: As for ``build_optimizer``.
    """
    build_schedule(settings, num_steps=100)
    options = settings.optimizer.options
    check_call(_class_of(settings), options, "train.optimizer.options", GIVEN)
    clips = sorted({"clipnorm", "clipvalue"} & options.keys())
    if clips and (settings.clip_norm is not None or len(clips) > 1):
        raise ConfigError(
            "Gradients can be clipped in one way only. Received: "
            f"`train.clip_norm` {settings.clip_norm} and `train.optimizer.options` "
            f"{clips}. Set `train.clip_norm` to null, or leave the option out."
        )


def _warmup(
    settings: TrainConfig, function: Callable[..., Any]
) -> dict[str, float | None]:
    chosen = settings.warmup_fraction
    if chosen is None:
        return {}
    if "warmup_fraction" not in parameters(function):
        raise ConfigError(
            f"`train.warmup_fraction` must be null with the schedule "
            f"{settings.schedule.name!r}, which takes none. Received: {chosen}."
        )
    return {"warmup_fraction": chosen}


def _class_of(settings: TrainConfig) -> Any:
    try:
        return OPTIMIZERS[settings.optimizer.name]
    except AttributeError as error:
        import keras

        raise ConfigError(
            f"`train.optimizer` {settings.optimizer.name!r} is not in Keras "
            f"{keras.__version__}. Install a later one, or choose another."
        ) from error


def _layer_wise(settings: TrainConfig, fixed: dict[str, Any]) -> Any:
    """An optimiser whose rate falls block by block towards the image."""
    from arcticdl.models.finetune import LayerDecayAdam, LayerDecaySGD

    kind = LayerDecaySGD if settings.optimizer.name == "SGD" else LayerDecayAdam
    fixed = {**fixed, "kernel_decay": fixed["weight_decay"], "weight_decay": None}
    key = "train.optimizer.options"
    return call_with(kind, settings.optimizer.options, key, **fixed)
