"""Feeds from a configuration."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from arcticdl.config import Experiment
from arcticdl.experiment.options import call_with
from arcticdl.experiment.split import Split
from arcticdl.tiles import Normalizer, TileStore
from arcticdl.tiles.table import SAMPLERS


def build_feeds(
    config: Experiment, store: TileStore, split: Split, *, seed: int
) -> tuple[Any, Any]:
    """Training and validation feeds; statistics come from the training tiles alone."""
    from arcticdl.training import TileFeed

    settings = config.train
    augment = _build_policy(config, store)
    feed = TileFeed(
        store,
        split.train,
        batch_size=min(settings.batch_size, len(split.train) * settings.repeats),
        labels=list(config.each_head),
        normalizer=_normalizer(config, store),
        augment=augment,
        sampler=_build_sampler(config, store, split.train),
        seed=seed,
        repeats=settings.repeats,
        drop_last=True,  # a batch of one would upset batch normalisation
    )
    if not len(split.validation):
        return feed, None
    validation_feed = TileFeed(
        store,
        split.validation,
        batch_size=min(settings.batch_size, len(split.validation)),
        labels=list(config.each_head),
        normalizer=feed.normalizer,
        shuffle=False,
    )
    return feed, validation_feed


def count_classes(
    config: Experiment, store: TileStore, split: Split
) -> dict[str, np.ndarray]:
    """How often each class of a label occurs in the training tiles, void left out."""
    return {
        name: store.class_counts(name)[split.train].sum(0) for name in config.each_head
    }


def _build_policy(config: Experiment, store: TileStore) -> Any:
    from arcticdl.augment import build_policy

    steps = list(config.train.augment)
    return build_policy(steps, bands=store.bands) if steps else None


def _normalizer(config: Experiment, store: TileStore) -> str | Normalizer:
    settings = config.train
    if settings.constants is None:
        return settings.normalizer
    return Normalizer(settings.normalizer, store.bands, constants=settings.constants)


def _build_sampler(
    config: Experiment, store: TileStore, indices: Sequence[int] | np.ndarray
) -> Any:
    settings = config.train.sampler
    if settings.name == "uniform":
        return None  # the feed's own order
    return call_with(
        SAMPLERS[settings.name],
        settings.options,
        "train.sampler.options",
        store=store,
        indices=indices,
        label=config.label_name,
    )
