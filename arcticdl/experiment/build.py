"""Feeds, networks, losses and optimisers from a configuration."""

from typing import Any

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.split import Split
from arcticdl.tiles import TileStore


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
        labels=[config.label_name],
        normalizer=settings.normalizer,
        augment=augment,
        shuffle=True,
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
        labels=[config.label_name],
        normalizer=feed.normalizer,
        shuffle=False,
    )
    return feed, validation_feed


def _build_policy(config: Experiment, store: TileStore) -> Any:
    from arcticdl.augment import build_policy

    steps = list(config.train.augment)
    return build_policy(steps, bands=store.bands) if steps else None


def build_model(config: Experiment, store: TileStore, feed: Any, num_steps: int) -> Any:
    """The compiled network of an experiment."""
    from arcticdl.losses import LOSSES
    from arcticdl.metrics import MeanIoU
    from arcticdl.models import build_segmenter
    from arcticdl.training import build_optimizer

    info = store.labels[config.label_name]
    model = _call(
        build_segmenter,
        config.model.options,
        "model.options",
        backbone=config.model.backbone,
        decoder=config.model.decoder,
        bands=store.bands,
        num_classes=len(info.classes),
        card=feed.card,
        **_pretrained(config),
    )
    if config.loss.name not in LOSSES:
        raise ConfigError(
            f"`loss.name` must be one of {sorted(LOSSES)}. "
            f"Received: {config.loss.name!r}."
        )
    loss = _call(LOSSES[config.loss.name], config.loss.options, "loss.options")
    settings = config.train
    optimizer = build_optimizer(
        settings.learning_rate,
        num_steps=num_steps,
        schedule=settings.schedule,
        warmup_fraction=settings.warmup_fraction,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        ema=settings.ema,
    )
    metric = MeanIoU(num_classes=len(info.classes), name="mean_iou")
    model.compile(optimizer, loss, metrics=[metric], jit_compile=settings.jit_compile)
    return model


def _pretrained(config: Experiment) -> dict[str, Any]:
    if config.model.weights is None:
        return {}
    return {"weights": config.model.weights, "adapter": config.model.adapter}


def _call(function: Any, options: dict[str, Any], key: str, **fixed: Any) -> Any:
    """Calls with configured options; an unknown one is the configuration's error."""
    try:
        return function(**fixed, **options)
    except TypeError as error:
        raise ConfigError(f"`{key}` = {options} does not fit: {error}") from error
