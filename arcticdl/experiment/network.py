"""The compiled network of an experiment: heads, losses, metrics, optimiser."""

from collections.abc import Mapping
from typing import Any

from arcticdl.choices import check_choices
from arcticdl.config import Experiment
from arcticdl.config.heads import HeadConfig
from arcticdl.config.loss import LossConfig, MetricConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.diffusion.network import (
    build_diffusion,
    draws_members,
    settings_of,
)
from arcticdl.experiment.losses import build_loss, fixed_of
from arcticdl.experiment.objects.network import (
    build_finder,
    default_loss,
    finds_objects,
)
from arcticdl.experiment.optimisers import build_optimizer
from arcticdl.experiment.options import call_with, check_call, parameters
from arcticdl.losses.table import HEAD_WEIGHTS
from arcticdl.metrics.table import METRICS
from arcticdl.tasks import Head, read_head, reconcile

FIXED = frozenset(
    (
        "adapter",
        "backbone",
        "bands",
        "card",
        "decoder",
        "fork",
        "heads",
        "num_bands",
        "weights",
    )
)
"""Arguments of ``build_multitask`` that have keys of their own, or come from data."""


LAYER_GIVEN = frozenset(
    ("activity_regularizer", "autocast", "dtype", "heads", "name", "trainable")
)
"""Arguments of a layer of head weights that are not the configuration's to give."""


def build_network(
    config: Experiment,
    card: Mapping[str, Any],
    num_steps: int,
    counts: Mapping[str, Any] | None = None,
) -> Any:
    """Builds and compiles the network of an experiment.

    Args:
        config: The experiment.
        card: Of the training feed: bands, normaliser, and what the labels are.
        num_steps: Optimiser steps of the whole training, for the schedule.
        counts: Label -> how often each class occurs in the training fold, for class
            weights by name.

    Returns:
        A compiled ``keras.Model``; one head gives a tensor, several a dict.

    Raises:
        ConfigError: Options that do not fit what they are for.
        TaskError: A head does not fit its label.
    """
    heads = read_heads(
        config, {n: e.get("classes", ()) for n, e in card["heads"].items()}
    )
    layer = _head_weights(config, heads)
    if finds_objects(heads):
        model = build_finder(config, card, heads, _pretrained(config))
    elif draws_members(heads):
        model = build_diffusion(config, card)
    elif config.model.architecture is None:
        model = _build_by_parts(config, card, heads, layer)
    else:
        model = _build_whole(config, card, heads)
    _freeze(config, model)
    if config.model.adversarial is not None:
        from arcticdl.models import build_adversarial

        model = build_adversarial(model, **config.model.adversarial.model_dump())
    runs = model
    if config.model.contrastive is not None:
        from arcticdl.models import build_contrastive

        model = build_contrastive(model, **config.model.contrastive.model_dump())
        runs = model.looking
    if config.train.remat:
        rematerialise(runs, config)
    losses = {
        name: build_loss(
            loss_of(config, name, head),
            head,
            loss_key(config, name),
            (counts or {}).get(name),
        )
        for name, head in heads.items()
    }
    metrics = {name: build_metrics(config, name, head) for name, head in heads.items()}
    single = next(iter(heads)) if len(heads) == 1 else None
    weights = {name: config.each_head[name].weight for name in heads}
    if layer is not None:
        losses = layer.weigh(losses)
    model.compile(
        build_optimizer(config.train, num_steps, model),
        losses[single] if single else losses,
        loss_weights=None if single or layer else weights,
        metrics=metrics[single] if single else metrics,
        jit_compile=_is_compiled(config),
    )
    return model


def _is_compiled(config: Experiment) -> bool:
    """Whether XLA compiles the step: on JAX always, which else runs it op by op."""
    import keras

    return config.train.jit_compile or keras.backend.backend() == "jax"


def rematerialise(model: Any, config: Experiment) -> None:
    """Has the blocks compute anew what lies inside them."""
    from arcticdl.training import remat_blocks

    try:
        remat_blocks(model)
    except TypeError as error:
        named = config.model.architecture or config.model.backbone
        raise ConfigError(
            f"`train.remat` computes blocks of a network anew, and that of {named} has "
            f"none; leave it out. {error}"
        ) from None


def _build_by_parts(
    config: Experiment, card: Mapping[str, Any], heads: Mapping[str, Head], layer: Any
) -> Any:
    """Backbone, decoder and heads."""
    from arcticdl.models import build_multitask

    return call_with(
        build_multitask,
        config.model.options,
        "model.options",
        backbone=config.model.backbone,
        decoder=decoder_of(config, heads),
        heads={name: to_builder(config, name, head) for name, head in heads.items()},
        bands=card["bands"],
        card=card,
        fork=_fork(layer),
        **_pretrained(config),
    )


def _build_whole(
    config: Experiment, card: Mapping[str, Any], heads: Mapping[str, Head]
) -> Any:
    """A network of ``segmentation-models``, which has one head."""
    from arcticdl.models import from_segmentation_models

    (name, head), *_ = reconcile(heads, card["heads"]).items()
    return from_segmentation_models(
        str(config.model.architecture),
        config.model.backbone.removeprefix("sm_"),
        num_classes=head.form.channels(head.size),
        bands=card["bands"],
        card={**card, "heads": {name: head.to_card()}},
        name=name,
        **_pretrained(config),
        **config.model.options,
    )


def check_architecture(config: Experiment) -> None:
    """Refuses what a whole network of ``segmentation-models`` cannot do.

    Raises:
        ConfigError: Several heads, or one of another kind; options that it does not
            take; freezing, or rates of layers.
    """
    from arcticdl.models.architectures import ARCHITECTURES
    from arcticdl.models.backbones.segmentation_models import load_module

    name = config.model.architecture
    if name is None:
        return
    heads = list(read_heads(config).values())
    kinds = ("classes", "labels", "values")
    if len(heads) > 1 or not (heads[0].spec.dense and heads[0].spec.kind in kinds):
        raise ConfigError(
            f"`model.architecture` {name} has one head, of classes, labels or values "
            f"of pixels. Received: {[head.task for head in heads]}. Choose a "
            "`model.decoder` instead."
        )
    parts = {
        "train.freeze": config.train.freeze,
        "train.layer_decay": config.train.layer_decay,
        "train.unfreeze": config.train.unfreeze,
    }
    given = [key for key, value in parts.items() if value is not None]
    if given:
        raise ConfigError(
            f"`model.architecture` {name} has no stages to tell apart. Received: "
            f"{given}. Freeze its encoder by `model.options.encoder_freeze`."
        )
    function = getattr(load_module(ARCHITECTURES[name][0]), name)
    known = set(parameters(function)) - WHOLE_GIVEN | {"input_size"}
    try:
        check_choices("model.options", list(config.model.options), known)
    except ValueError as error:
        raise ConfigError(str(error)) from error


WHOLE_GIVEN = frozenset(
    (
        "activation",
        "backbone_name",
        "classes",
        "encoder_weights",
        "input_shape",
        "kwargs",
        "weights",
    )
)
"""Arguments of whole networks that are not the configuration's to give."""


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
        entry: dict[str, Any] = {"task": config.task_of(name)}
        entry |= {"classes": list(classes[name])}
        entry |= {"outputs": list(config.data.answered[name].outputs)}
        if config.task_of(name) == "dense_ensemble":
            entry["num_members"] = settings_of(config).members
        heads[name] = read_head(name, {**options, **entry})
    return heads


def decoder_of(config: Experiment, heads: Mapping[str, Head]) -> str | None:
    """The decoder, or ``None`` where no head answers for pixels."""
    dense = any(head.spec.dense for head in heads.values())
    return config.model.decoder if dense else None


def loss_of(config: Experiment, name: str, head: Head) -> LossConfig:
    """The loss of a head: that which is configured, or that of its task."""
    told = config.each_head[name].loss
    if told is None and head.spec.kind == "boxes":
        return default_loss(config)
    return told or LossConfig(name=head.spec.losses[0])


def metrics_of(settings: HeadConfig, head: Head) -> list[MetricConfig]:
    """The metrics of a head: those configured, or those of its task."""
    if settings.metrics is not None:
        return list(settings.metrics)
    return [MetricConfig(name=name) for name in head.spec.shown_metrics]


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


def to_builder(config: Experiment, name: str, head: Head) -> dict[str, Any]:
    """A head of an experiment as ``build_multitask`` takes it."""
    given = config.each_head[name].options
    dropout = {"dropout": given["dropout"]} if "dropout" in given else {}
    return {"task": head.task, head.form.option: head.size, **dropout}


def _head_weights(config: Experiment, heads: Mapping[str, Head]) -> Any:
    """The layer that learns the weights of the heads, where one does."""
    settings = config.train.head_weights
    if settings is None:
        return None
    return call_with(
        HEAD_WEIGHTS[settings.name],
        settings.options,
        "train.head_weights.options",
        heads=list(heads),
        name="head_weights",
    )


def _fork(layer: Any) -> Any:
    """Where the layer stands: GradNorm takes the one tensor that all heads share."""
    from arcticdl.losses import GradNormWeights

    if isinstance(layer, GradNormWeights):
        return lambda features: layer(next(iter(features.values())))
    return layer


def check_head_weights(config: Experiment) -> None:
    """Refuses options that the layer of head weights does not take.

    Raises:
        ConfigError: One does not; or heads of pixels and of whole images share no
            features at which GradNorm could compare them.
    """
    settings = config.train.head_weights
    if settings is None:
        return
    kind, key = HEAD_WEIGHTS[settings.name], "train.head_weights.options"
    check_call(kind, settings.options, key, LAYER_GIVEN)
    dense = {head.spec.dense for head in read_heads(config).values()}
    if settings.name == "gradnorm" and len(dense) > 1:
        raise ConfigError(
            "`train.head_weights` must be uncertainty or null where some heads answer "
            "for pixels and others for whole images. Received: 'gradnorm', which "
            "compares gradients at one place that all heads share."
        )


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
