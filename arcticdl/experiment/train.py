"""Training folds: each from the store to ``foldK/model.keras``."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.config import Experiment, dump_config
from arcticdl.errors import ConfigError, SplitError
from arcticdl.experiment.folder import (
    FULL,
    Fold,
    check_run,
    claim_fold,
    create_run,
    write_environment,
    write_json,
)
from arcticdl.tiles import TileStore, group_kfold, open_store


def train(
    config: Experiment,
    fold: str | int = "all",
    *,
    run_dir: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Trains one fold here, or all of them, each in a process of its own.

    Fold ``"full"`` is the model to use once the folds have told how good it will be: it
    learns from every scene, and has no score of its own.

    Returns:
        The run folder.

    Raises:
        ConfigError: ``fold`` is no fold of the configuration.
        FileNotFoundError: The tile store is not there; run ``prepare`` first.
        FileExistsError: The run folder or the fold exists; see ``resume`` and
            ``overwrite``.
    """
    numbers = _fold_numbers(config, fold)
    folder = run_dir or Path("runs") / config.name
    check_run(config, folder, overwrite=overwrite)
    todo = [
        number
        for number in numbers
        if claim_fold(folder, number, resume=resume, overwrite=overwrite)
    ]
    store = open_prepared(config)
    splits: dict[Fold, Split] = (
        {FULL: choose_everything(store, config)}
        if FULL in numbers
        else dict(enumerate(choose_folds(store, config)))
    )
    if len(todo) > 1:
        _train_each(config, folder, todo, overwrite=overwrite)
    else:
        for number in todo:
            train_fold(
                config, store, splits[number], folder, number, overwrite=overwrite
            )
    return folder


def open_prepared(config: Experiment) -> TileStore:
    """Opens the experiment's store.

    Raises:
        FileNotFoundError: It is not there.
    """
    if not config.store_path.exists():
        raise FileNotFoundError(
            f"No tile store at {config.store_path}. Make it first: arcticdl prepare "
            "CONFIG"
        )
    return open_store(config.store_path)


class Split:
    """Tile indices of one fold: ``train``, ``validation`` (may be empty), ``test``."""

    def __init__(
        self,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
    ):
        self.train, self.validation, self.test = train, validation, test


def choose_folds(store: TileStore, config: Experiment) -> list[Split]:
    """Splits the store as ``folds`` says; no group is in two parts of a fold.

    Raises:
        SplitError: A part is empty, or there are fewer groups than folds.
    """
    settings = config.folds
    splits = []
    folds = group_kfold(
        store, settings.n_splits, group=settings.group, seed=settings.seed
    )
    for number, (train_part, test_part) in enumerate(folds):
        train_part = _only(store, np.asarray(train_part), settings.train_only)
        test_part = _only(store, np.asarray(test_part), settings.test_only)
        train_part, validation = _hold_groups(
            store, train_part, settings.group, settings.validation_groups, number
        )
        if not len(train_part) or not len(test_part):
            raise SplitError(
                f"Fold {number} has {len(train_part)} training and {len(test_part)} "
                "test tiles. Check `folds` against the manifest's columns."
            )
        splits.append(Split(train_part, validation, test_part))
    return splits


def choose_everything(store: TileStore, config: Experiment) -> Split:
    """All tiles that ``folds`` lets train, but for the validation groups."""
    settings = config.folds
    tiles = _only(store, np.arange(len(store)), settings.train_only)
    train_part, validation = _hold_groups(
        store, tiles, settings.group, settings.validation_groups, settings.n_splits
    )
    return Split(train_part, validation, tiles[:0])


def _only(
    store: TileStore, indices: NDArray[np.int64], wanted: dict[str, str]
) -> NDArray[np.int64]:
    for column, value in wanted.items():
        if column not in store.manifest:
            raise SplitError(
                f"`folds` names the column {column!r}; the manifest has "
                f"{sorted(store.manifest.columns)}."
            )
        values = store.manifest[column].astype(str).to_numpy()[indices]
        indices = indices[values == value]
    return indices


def _hold_groups(
    store: TileStore, train_part: NDArray[np.int64], column: str, num: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if num == 0:
        return train_part, train_part[:0]
    values = store.manifest[column].astype(str).to_numpy()[train_part]
    groups = np.unique(values)
    if num >= len(groups):
        raise SplitError(
            f"`folds.validation_groups` = {num} leaves no training group of "
            f"{len(groups)} ({column})."
        )
    chosen = np.random.default_rng(seed).choice(groups, num, replace=False)
    held = np.isin(values, chosen)
    return train_part[~held], train_part[held]


def _fold_numbers(config: Experiment, fold: Fold) -> list[Fold]:
    n_splits = config.folds.n_splits
    if fold == "all":
        return list(range(n_splits))
    if fold == FULL:
        return [FULL]
    if not str(fold).isdigit() or int(fold) >= n_splits:
        raise ConfigError(
            f"`fold` must be `all`, `{FULL}` or a number from 0 to {n_splits - 1}. "
            f"Received: {fold!r}."
        )
    return [int(fold)]


def _train_each(
    config: Experiment, folder: Path, numbers: list[Fold], *, overwrite: bool
) -> None:
    """Runs each fold in a fresh process, so that no memory adds up."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "config.yaml"
        path.write_text(dump_config(config), encoding="utf-8")
        for number in numbers:
            command = [sys.executable, "-m", "arcticdl.cli", "train", str(path)]
            command += ["--fold", str(number), "--run-dir", str(folder)]
            command += ["--overwrite"] if overwrite else ["--resume"]
            status = subprocess.run(command, check=False).returncode
            if status:
                raise SystemExit(status)


def train_fold(
    config: Experiment,
    store: TileStore,
    split: Split,
    folder: Path,
    number: Fold,
    *,
    overwrite: bool = False,
) -> Path:
    """Trains one fold; nothing is written before feeds and model stand.

    Returns:
        The fold's folder.
    """
    import keras

    from arcticdl.training import check_monitor, fit

    seed = config.seed + (config.folds.n_splits if number == FULL else int(number))
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(config.train.precision)
    feed, validation_feed = build_feeds(config, store, split, seed=seed)
    model = build_model(config, store, feed, len(feed) * config.train.epochs)
    stopping = None
    if config.train.early_stopping is not None:
        rule = config.train.early_stopping
        stopping = keras.callbacks.EarlyStopping(
            monitor=rule.monitor,
            mode=rule.mode,
            patience=rule.patience,
            min_delta=rule.min_delta,
            restore_best_weights=True,
        )
        check_monitor(stopping.monitor, model, validation_feed is not None)
    fold_dir = create_run(config, folder, number, overwrite=overwrite)
    write_environment(folder, config, str(getattr(store, "fingerprint", "")))
    write_json(fold_dir / "split.json", _split_record(store, split))
    fit(
        model,
        feed,
        fold_dir,
        epochs=config.train.epochs,
        validation_feed=validation_feed,
        stopping=stopping,
    )
    return fold_dir


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


def _split_record(store: TileStore, split: Split) -> dict[str, list[str]]:
    ids = store.manifest["scene_id"].astype(str).to_numpy()
    return {
        part: sorted(set(ids[getattr(split, part)]))
        for part in ("train", "validation", "test")
    }
