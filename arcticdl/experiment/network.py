"""The compiled network of an experiment: heads, losses, metrics, optimiser."""

from collections.abc import Mapping
from typing import Any

from arcticdl.config import Experiment
from arcticdl.config.heads import HeadConfig
from arcticdl.config.loss import MetricConfig
from arcticdl.experiment.optimisers import build_optimizer
from arcticdl.experiment.options import call_with, parameters
from arcticdl.losses.table import LOSSES
from arcticdl.metrics.table import METRICS
from arcticdl.tasks import Head, read_head

FIXED = frozenset(
    (
        "adapter",
        "backbone",
        "bands",
        "card",
        "decoder",
        "heads",
        "num_bands",
        "weights",
    )
)
"""Arguments of ``build_multitask`` that have keys of their own, or come from data; a
store of single images has no series."""


def build_network(config: Experiment, card: Mapping[str, Any], num_steps: int) -> Any:
    """Builds and compiles the network of an experiment.

    Args:
        config: The experiment.
        card: Of the training feed: bands, normaliser, and what the labels are.
        num_steps: Optimiser steps of the whole training, for the schedule.

    Returns:
        A compiled ``keras.Model``; one head gives a tensor, several a dict.

    Raises:
        ConfigError: Options that do not fit what they are for.
        TaskError: A head does not fit its label.
    """
    from arcticdl.models import build_multitask

    heads = read_heads(
        config, {n: e.get("classes", ()) for n, e in card["heads"].items()}
    )
    model = call_with(
        build_multitask,
        config.model.options,
        "model.options",
        backbone=config.model.backbone,
        decoder=decoder_of(config, heads),
        heads={name: _to_builder(config, name, head) for name, head in heads.items()},
        bands=card["bands"],
        card=card,
        **_pretrained(config),
    )
    _freeze(config, model)
    losses = {name: _build_loss(config, name, head) for name, head in heads.items()}
    metrics = {name: build_metrics(config, name, head) for name, head in heads.items()}
    single = next(iter(heads)) if len(heads) == 1 else None
    weights = {name: config.each_head[name].weight for name in heads}
    model.compile(
        build_optimizer(config.train, num_steps, model),
        losses[single] if single else losses,
        loss_weights=None if single else weights,
        metrics=metrics[single] if single else metrics,
        jit_compile=config.train.jit_compile,
    )
    return model


def read_heads(
    config: Experiment, classes: Mapping[str, Any] | None = None
) -> dict[str, Head]:
    """The heads of an experiment, with their sizes.

    Args:
        config: The experiment.
        classes: Label -> names of its classes; default: as configured.

    Raises:
        ConfigError: Options that the task of a head does not take.
    """
    if classes is None:
        classes = {
            name: config.data.answered[name].classes for name in config.each_head
        }
    heads = {}
    for name, settings in config.each_head.items():
        options = {k: v for k, v in settings.options.items() if k != "dropout"}
        entry = {"task": config.task_of(name), "classes": list(classes[name])}
        heads[name] = read_head(name, {**options, **entry})
    return heads


def decoder_of(config: Experiment, heads: Mapping[str, Head]) -> str | None:
    """The decoder, which a network that answers for whole images alone lacks."""
    dense = any(head.spec.dense for head in heads.values())
    return config.model.decoder if dense else None


def loss_of(settings: HeadConfig, head: Head) -> tuple[str, dict[str, Any]]:
    """Name and options of a head's loss."""
    if settings.loss is None:
        return head.spec.losses[0], {}
    return settings.loss.name, settings.loss.options


def metrics_of(settings: HeadConfig, head: Head) -> list[MetricConfig]:
    """The metrics of a head: those configured, or those of its task."""
    if settings.metrics is not None:
        return list(settings.metrics)
    return [MetricConfig(name=name) for name in head.spec.shown_metrics]


def fixed_of(function: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a task gives, what a loss or metric takes; a plug-in's may take less."""
    known = parameters(function)
    return {name: value for name, value in given.items() if name in known}


def _build_loss(config: Experiment, name: str, head: Head) -> Any:
    loss, options = loss_of(config.each_head[name], head)
    fixed = fixed_of(LOSSES[loss], head.spec.loss_options(head.size))
    return call_with(LOSSES[loss], options, _key(config, name, "loss.options"), **fixed)


def build_metrics(config: Experiment, name: str, head: Head) -> list[Any]:
    """The metrics of one head, as configured or as its task shows."""
    built = []
    for number, metric in enumerate(metrics_of(config.each_head[name], head)):
        function = METRICS[metric.name]
        fixed = fixed_of(function, head.spec.metric_options(head.size))
        key = metric_key(config, name, number)
        built.append(call_with(function, metric.options, key, **fixed))
    return built


def _key(config: Experiment, name: str, key: str) -> str:
    return f"heads.{name}.{key}" if config.heads else key


def metric_key(config: Experiment, name: str, number: int) -> str:
    """Path of a metric's options in the configuration."""
    section = f"heads.{name}" if config.heads else "train"
    return f"{section}.metrics.{number}.options"


def loss_key(config: Experiment, name: str) -> str:
    """Path of a loss's options in the configuration."""
    return _key(config, name, "loss.options")


def _to_builder(config: Experiment, name: str, head: Head) -> dict[str, Any]:
    """A head as ``build_multitask`` takes it."""
    given = config.each_head[name].options
    dropout = {"dropout": given["dropout"]} if "dropout" in given else {}
    return {"task": head.task, head.form.option: head.size, **dropout}


def _pretrained(config: Experiment) -> dict[str, Any]:
    if config.model.weights is None:
        return {}
    return {"weights": config.model.weights, "adapter": config.model.adapter}


def _freeze(config: Experiment, model: Any) -> None:
    settings = config.train.freeze
    if settings is None:
        return
    from arcticdl.models.finetune import fix_batch_norm, freeze_stages

    freeze_stages(model, settings.stages)
    if settings.fix_statistics:
        fix_batch_norm(model)
