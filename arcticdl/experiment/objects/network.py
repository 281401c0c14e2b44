"""The network of an experiment that finds objects: one head, on a detector."""

from collections.abc import Mapping
from typing import Any

from arcticdl.config import Experiment
from arcticdl.config.loss import LossConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.options import call_with, check_call, parameters
from arcticdl.models.backbones.table import BACKBONES
from arcticdl.models.detection.table import DETECTORS, GIVEN, LOSS_OF
from arcticdl.tasks import Head

FIXED = frozenset(
    (
        "adapter",
        "backbone",
        "bands",
        "card",
        "detector",
        "head",
        "name",
        "num_bands",
        "weights",
    )
)
"""Arguments of ``build_detector`` that have keys of their own, or come from data."""


def finds_objects(heads: Mapping[str, Head]) -> bool:
    """Whether a head of the network finds objects."""
    return any(head.spec.kind == "boxes" for head in heads.values())


def build_finder(
    config: Experiment,
    card: Mapping[str, Any],
    heads: Mapping[str, Head],
    pretrained: Mapping[str, Any],
) -> Any:
    """Builds the network, not compiled yet.

    Args:
        config: The experiment.
        card: Of the training feed.
        heads: The one head, by its name.
        pretrained: ``weights`` and ``adapter``, where there are some.

    Raises:
        ConfigError: Options that the builder does not take.
        TaskError: The head does not fit its label.
    """
    from arcticdl.models import build_detector

    ((name, head),) = heads.items()
    return call_with(
        build_detector,
        config.model.options,
        "model.options",
        backbone=config.model.backbone,
        detector=config.model.detector,
        head={"task": head.task, head.form.option: head.size},
        name=name,
        bands=card["bands"],
        card=card,
        **pretrained,
    )


def default_loss(config: Experiment) -> LossConfig:
    """The loss that the detector learns by."""
    return LossConfig(name=LOSS_OF[config.model.detector])


def check_finder(config: Experiment, heads: Mapping[str, Head]) -> None:
    """Refuses what a network that finds objects cannot do.

    Raises:
        ConfigError: Further heads, a loss of another detector, parts of the training
            that need maps, or options that builder and detector do not take.
    """
    from arcticdl.models import build_detector

    if len(heads) > 1:
        tasks = {name: head.task for name, head in heads.items()}
        raise ConfigError(
            "A network that finds objects has one head, for its pyramid serves no "
            f"other. Received: heads {tasks}. Train the others apart."
        )
    (name,) = heads
    _refuse_parts(config)
    settings, detector = config.each_head[name], config.model.detector
    if settings.loss is not None and settings.loss.name != LOSS_OF[detector]:
        raise ConfigError(
            f"`loss` of `model.detector: {detector}` must be {LOSS_OF[detector]}, "
            f"which knows its places. Received: {settings.loss.name!r}."
        )
    options = config.model.options
    check_call(build_detector, options, "model.options", FIXED)
    backbone = BACKBONES[config.model.backbone]
    for function, key in (
        (backbone.options_of or backbone.build, "backbone_options"),
        (DETECTORS[detector].build, "detector_options"),
    ):
        given = options.get(key) or {}
        fixed = {
            name
            for name, parameter in parameters(function).items()
            if parameter.kind is not parameter.KEYWORD_ONLY
        }
        own = GIVEN if key == "detector_options" else ()
        check_call(function, given, f"model.options.{key}", fixed | set(own))


def _refuse_parts(config: Experiment) -> None:
    """Refuses settings that need an answer for each pixel or each image."""
    asked = {
        "model.architecture": config.model.architecture,
        "predict.line": config.predict.line,
        "predict.mc_dropout": config.predict.mc_dropout,
        "predict.outputs": config.predict.outputs,
        "predict.postprocess": config.predict.postprocess,
        "predict.thresholds": config.predict.thresholds,
        "train.ensemble": config.train.ensemble,
    }
    given = [key for key, value in asked.items() if value]
    if given:
        raise ConfigError(
            "A network that finds objects answers with boxes, and these are of maps or "
            f"images: {given}. Leave them out."
        )
