"""Feeds from a configuration, and what is said of a training before it begins."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from arcticdl.config import Experiment
from arcticdl.config.train import TrainConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.diffusion.network import add_noise, draws_members
from arcticdl.experiment.folder import Fold
from arcticdl.experiment.learning.contrast import describe_contrast, pair_feeds
from arcticdl.experiment.losses import describe_loss
from arcticdl.experiment.network import decoder_of, loss_of, metrics_of, read_heads
from arcticdl.experiment.objects.network import finds_objects
from arcticdl.experiment.options import call_with
from arcticdl.experiment.split import Split
from arcticdl.experiment.synthesis.styles import with_styles
from arcticdl.tasks import Head
from arcticdl.tiles import Normalizer, SceneStore, TileStore
from arcticdl.tiles.folds.made import made_tiles
from arcticdl.tiles.table import SAMPLERS

if TYPE_CHECKING:
    from arcticdl.training.devices.placement import Placement


def build_feeds(
    config: Experiment,
    store: TileStore,
    split: Split,
    *,
    seed: int,
    placement: "Placement | None" = None,
) -> tuple[Any, Any]:
    """Training and validation feeds; statistics come from the training tiles alone.

    Args:
        config: The experiment, with its batch size as a number.
        store: The tile store.
        split: Its parts.
        seed: Of order and augmentation.
        placement: The devices that share every batch; default: one.

    Raises:
        ConfigError: The devices cannot share a batch evenly.
    """
    from arcticdl.training.devices.placement import Placement

    feeds = _plain_feeds(config, store, split, seed, placement or Placement())
    if draws_members(read_heads(config)):
        return add_noise(config, store, split.train, feeds, seed)
    return pair_feeds(config, feeds)


def _plain_feeds(
    config: Experiment,
    store: TileStore,
    split: Split,
    seed: int,
    placement: "Placement",
) -> tuple[Any, Any]:
    """Feeds of images and labels."""
    from arcticdl.training import TileFeed

    settings = config.train
    feed = _training_feed(
        config, store, tiles=split.train, seed=seed, placement=placement
    )
    feed.normalizer.marks_shown = _tells_nodata(config)
    if not len(split.validation):
        return feed, None
    # As many as one device would take, or up to one more for each of several.
    size = min(int(settings.batch_size), len(split.validation))
    size = -(-size // placement.total) * placement.total
    paired = config.model.contrastive is not None
    validation_feed = TileFeed(
        store,
        split.validation,
        batch_size=placement.share(size),
        labels=list(config.each_head),
        normalizer=feed.normalizer,
        augment=_build_policy(config, store, split.train) if paired else None,
        drop_last=paired,  # so that every tile is told from as many others
        seed=seed,
        shuffle=False,
        shard=placement.part,
        rows=placement.rows,
    )
    return feed, validation_feed


def _tells_nodata(config: Experiment) -> bool:
    """Whether the network takes 0 in every band for nodata, wherever it occurs."""
    from arcticdl.models.backbones.table import BACKBONES

    codes = config.model.contrastive is not None or "latent" in config.model.options
    return codes or bool(BACKBONES[config.model.backbone].tells_nodata)


def _training_feed(
    config: Experiment,
    store: TileStore,
    *,
    tiles: np.ndarray,
    seed: int,
    placement: "Placement",
) -> Any:
    """Tiles of the store, or windows of their scenes; scaled alike."""
    from arcticdl.training import SceneFeed, TileFeed
    from arcticdl.training.feed import fit_normalizer

    settings = config.train
    shared: dict[str, Any] = {
        "labels": list(config.each_head),
        "augment": _build_policy(config, store, tiles),
        "seed": seed,
    }
    if isinstance(store, SceneStore):
        normalizer = fit_normalizer(_normalizer(config, store), store, tiles, seed)
        return SceneFeed(
            _scenes_of(store, tiles),
            tile_size_px=store.tile_size_px,
            batch_size=placement.share(int(settings.batch_size)),
            normalizer=normalizer,
            **shared,
        )
    return TileFeed(
        store,
        tiles,
        batch_size=placement.share(
            min(int(settings.batch_size), len(tiles) * settings.repeats)
        ),
        normalizer=_normalizer(config, store),
        sampler=_build_sampler(config, store, tiles),
        repeats=settings.repeats,
        drop_last=True,  # a batch of one would upset batch normalisation
        shard=placement.part,
        **shared,
    )


def check_batch_sizes(config: Experiment, splits: Mapping[Fold, Split]) -> None:
    """Refuses a batch that was asked for, and that an epoch of a fold does not fill.

    Args:
        config: The experiment.
        splits: Parts of its folds.

    Raises:
        ConfigError: A fold has too few.
    """
    settings = config.train
    # `auto` finds a size that fits, windows of scenes are as many as are asked for, and
    # nobody asked for the default.
    if settings.batch_size == "auto" or settings.feed == "scenes":
        return
    if "batch_size" not in settings.model_fields_set:
        return
    for number, split in splits.items():
        visited = len(split.train) * settings.repeats
        if settings.batch_size > visited:
            raise ConfigError(
                "`train.batch_size` must not be larger than what an epoch visits, the "
                "tiles of a fold times `train.repeats`. Received: "
                f"{settings.batch_size} for fold {number} of {len(split.train)} tiles "
                f"x {settings.repeats}. Set it to {visited} or less, or let `auto` "
                "find it."
            )


def _scenes_of(store: SceneStore, tiles: np.ndarray) -> list[Any]:
    """The scenes that tiles belong to, in the store's order."""
    wanted = set(store.manifest["scene_id"].to_numpy()[tiles])
    named = zip(store.collection.ids, store.collection.scenes, strict=True)
    return [scene for name, scene in named if name in wanted]


def count_classes(
    config: Experiment, store: TileStore, split: Split
) -> dict[str, np.ndarray]:
    """How often each class of a label occurs in the training tiles, void left out."""
    return {
        name: store.class_counts(name)[split.train].sum(0) for name in config.each_head
    }


def _build_policy(config: Experiment, store: TileStore, tiles: np.ndarray) -> Any:
    from arcticdl.augment import build_policy

    steps = with_styles(config.train.augment, store, tiles)
    if not steps:
        return None
    policy = build_policy(steps, bands=store.bands)
    _check_upright(policy, store)
    return policy


def _check_upright(policy: Any, store: TileStore) -> None:
    """Refuses to turn vectors whose v does not point up in the picture."""
    from arcticdl.augment.directions import vector_names
    from arcticdl.augment.geometry import Affine, QuarterTurn

    turns = any(isinstance(step, Affine | QuarterTurn) for step in policy.steps)
    pairs = [[store.bands[k] for k in pair] for pair in policy.directions.vectors]
    for info in (i for i in store.labels.values() if i.is_quantities):
        pairs += vector_names(info.classes)
    if not (turns and pairs):
        return
    steps = {n: a["step"] for n, a in store.scenes.items() if a["crs"] and a["step"]}
    rising = [name for name, step in steps.items() if step[0] > 0]
    if rising:
        raise ConfigError(
            f"`train.augment` turns the vectors {pairs} with the image, whose rows "
            "must run from north to south. Received: rows from south to north in "
            f"{rising[:3]}, {len(rising)} of {len(store.scenes)} scenes. Bring them "
            "onto a grid by `data.grid`, or leave out `quarter_turn` and `affine`."
        )


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


def describe_fold(
    config: Experiment, store: TileStore, split: Split, number: int | str
) -> str:
    """Says in a line which tiles a fold trains and holds out."""
    scenes = store.manifest["scene_id"].to_numpy()
    parts = {"train": split.train, "validate": split.validation, "test": split.test}
    told = ", ".join(
        f"{len(tiles)} tiles of {count_of(len(set(scenes[tiles])), 'scene')} {part}"
        for part, tiles in parts.items()
        if len(tiles)
    )
    if made := int(made_tiles(store.manifest)[split.train].sum()):
        told += f"; {made} of those that train were made by a generator"
    height, width = store.tile_size_px
    what = "tiles" if config.train.feed == "tiles" else "windows"
    return (
        f"{config.name}, fold {number}: {what} of {height} x {width} px, bands "
        f"{', '.join(store.bands)}; {told}"
    )


def count_of(number: int, what: str) -> str:
    """A number and what it counts, in the singular for one."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def describe_training(
    config: Experiment, model: Any, feed: Any, counts: Mapping[str, Any]
) -> list[str]:
    """Says in a few lines what a training will do.

    Args:
        config: The experiment.
        model: Its compiled network.
        feed: Its training batches.
        counts: Label -> how often each class occurs in the training fold.

    Returns:
        Lines of network, heads, optimisation, and when it ends early.
    """
    heads = read_heads(config)
    return [
        _network_in_words(
            config,
            model,
            config.model.detector
            if finds_objects(heads)
            else decoder_of(config, heads),
        ),
        *(_head_in_words(config, n, h, counts.get(n)) for n, h in heads.items()),
        *_judge_in_words(config),
        *describe_contrast(config),
        *_optimisation_in_words(
            config.train, len(feed), feed.batch_size * feed.shard[1]
        ),
    ]


def describe_card(config: Experiment, feed: Any) -> dict[str, Any]:
    """The card of a network: the feed's, with what the configuration knows besides.

    Raises:
        ConfigError: A label restores what is no band of the feed, or the scaling of
            its bands cannot be undone.
    """
    from arcticdl.training.feed import undo

    card: dict[str, Any] = dict(feed.card)
    card |= {"line": config.line_rule} if config.line_rule else {}
    starts: dict[str, Any] = {}
    for name, label in config.data.labels.items():
        if label.restores is None or name not in config.each_head:
            continue
        bands = list(label.restores.bands)
        try:
            scaling = undo(bands, feed.normalizer)
        except ValueError as error:
            raise ConfigError(f"`data.labels.{name}.restores`: {error}") from None
        told: dict[str, Any] = {"coarse_px": label.restores.coarse_px}
        if config.data.gaps is not None:
            told["gap"] = {"reach_px": config.data.gaps.reach_px}
        starts[name] = {"band": bands, **scaling, "gain": scaling["scale"], **told}
    card |= {"starts": starts} if starts else {}
    if draws_members(read_heads(config)):
        card["diffusion"] = {"mean": feed.scaling.mean, "std": feed.scaling.std}
    return card


def _head_in_words(config: Experiment, name: str, head: Head, counts: Any) -> str:
    settings = config.each_head[name]
    loss = describe_loss(loss_of(config, name, head), head, counts)
    metrics = ", ".join(metric.name for metric in metrics_of(settings, head)) or "none"
    return f"{name}: {head.task}, loss {loss}, metrics {metrics}"


def _judge_in_words(config: Experiment) -> list[str]:
    judge = config.model.adversarial
    if judge is None:
        return []
    told = f"{judge.contest.replace('_', ' ')}, weight {judge.weight:g}"
    return [f"judged by a discriminator of patches, whose weights count too: {told}"]


def _network_in_words(config: Experiment, model: Any, decoder: str | None) -> str:
    learnt = sum(math.prod(v.shape) for v in model.trainable_variables)
    whole = config.model.architecture or decoder
    parts = [part for part in (whole, config.model.backbone) if part]
    weights = config.model.weights or "random"
    begins = "" if config.model.warm_start else f", begins with {weights} weights"
    frozen = model.count_params() - learnt
    return (
        f"network: {' on '.join(parts)}, {model.count_params():,} weights, "
        f"{frozen:,} of them not learnt{begins}"
    )


def _optimisation_in_words(
    settings: TrainConfig, num_batches: int, batch_size: int
) -> list[str]:
    size = f"{batch_size} tiles"
    if settings.accumulate > 1:
        size += f", {settings.accumulate} of them a step"
    clip = settings.clip_norm
    lines = [
        f"optimiser: {settings.optimizer.name}, rate {settings.learning_rate:g} "
        f"{settings.schedule.name}, decay {settings.weight_decay:g}, gradients "
        f"{'as they are' if clip is None else f'clipped at a norm of {clip:g}'}",
        f"epochs: {settings.epochs} of {num_batches} batches of {size}",
    ]
    if settings.remat:
        lines.append(
            "remat: blocks of layers keep what goes in, and compute the rest anew for "
            "the gradient"
        )
    if settings.ensemble is not None:
        rule = settings.ensemble
        lines.append(
            f"ensemble: {rule.kind} of {rule.members}, combined by {rule.combine}"
        )
    if settings.head_weights is not None:
        lines.append(f"weights of heads: learnt by {settings.head_weights.name}")
    if settings.unfreeze is not None:
        frozen = settings.unfreeze
        lines.append(
            f"backbone: frozen for {frozen.start} epochs, then a stage more every "
            f"{frozen.every}"
        )
    if settings.early_stopping is not None:
        lines.append(
            f"ends early after {settings.early_stopping.patience} epochs "
            "without a better score"
        )
    return lines
