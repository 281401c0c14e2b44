"""The feeds and networks of a head that draws members."""

from collections.abc import Mapping
from typing import Any

from arcticdl.config import Experiment
from arcticdl.config.model import DiffusionConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.options import call_with
from arcticdl.tasks import TASKS, Head

FIXED = frozenset(("backbone", "decoder", "num_bands"))
"""Arguments of ``build_denoiser`` that have keys of their own, or come from data."""


def draws_members(heads: Mapping[str, Head]) -> bool:
    """Whether the network's answer is an ensemble that it draws."""
    return any(head.spec.kind == "members" for head in heads.values())


def settings_of(config: Experiment) -> DiffusionConfig:
    """How members are drawn."""
    return config.model.diffusion or DiffusionConfig()


def add_noise(
    config: Experiment, store: Any, train: Any, feeds: tuple[Any, Any], seed: int
) -> tuple[Any, Any]:
    """Feeds of noisy answers and velocities, from those of answers.

    Args:
        config: The experiment.
        store: Its tile store.
        train: Training tiles, by which answers are scaled.
        feeds: For training, and for validation or ``None``.
        seed: Of the noise.

    Raises:
        ConfigError: The answers of the training tiles do not vary; or the band that
            they restore is none, or its scaling cannot be undone.
    """
    from arcticdl.training.diffusion.feed import (
        AnswerScaling,
        NoisedFeed,
        measure_answers,
    )
    from arcticdl.training.feed import undo

    feed, validation = feeds
    (name,) = config.each_head
    restores = config.data.labels[name].restores
    try:
        if restores is None:
            scaling = AnswerScaling(*measure_answers(store, train, name))
        else:
            (band,) = restores.bands
            told = undo([band], feed.normalizer)
            scaling = AnswerScaling(
                *measure_answers(store, train, name, band),
                band=feed.normalizer.bands.index(band),
                offset=told["offset"][0],
                scale=told["scale"][0],
            )
    except ValueError as error:
        raise ConfigError(f"`data.labels.{name}`: {error}") from None
    options: dict[str, Any] = {"num_steps": settings_of(config).steps, "seed": seed}
    noised = NoisedFeed(feed, scaling, **options)
    if validation is None:
        return noised, None
    return noised, NoisedFeed(validation, scaling, fixed=True, **options)


def build_diffusion(config: Experiment, card: Mapping[str, Any]) -> Any:
    """Builds the network that takes noise away, not compiled yet.

    Raises:
        ConfigError: Options that the builder does not take.
    """
    from arcticdl.models import build_denoiser

    return call_with(
        build_denoiser,
        config.model.options,
        "model.options",
        backbone=config.model.backbone,
        decoder=config.model.decoder,
        num_bands=len(card["bands"]),
    )


def build_answering(
    config: Experiment, trained: Any, card: Mapping[str, Any], seed: int
) -> Any:
    """Builds what answers for a scene, with the weights of what is trained.

    Args:
        config: The experiment.
        trained: From ``build_network``.
        card: Of the training feed.
        seed: Of the noise that members begin as.

    Returns:
        A sampler around a denoiser, the network that a discriminator judges or that
        learns from views, or ``None`` where what is trained answers itself.
    """
    if all(TASKS[config.task_of(name)].kind != "members" for name in config.each_head):
        beside: dict[str, Any] = {
            "generator": config.model.adversarial,
            "network": config.model.contrastive,
        }
        names = [name for name, settings in beside.items() if settings is not None]
        return getattr(trained, names[0]) if names else None
    from arcticdl.models import build_sampler

    settings = settings_of(config)
    (name,) = config.each_head
    return build_sampler(
        trained,
        name=name,
        card=card,
        num_members=settings.members,
        num_steps=settings.steps,
        sampling_steps=settings.sampling_steps,
        seed=seed,
    )
