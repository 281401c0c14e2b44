"""One fold, from a compiled recipe to weights on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from arcticdl.files import atomic_path
from arcticdl.training.callbacks import History, RichProgress, check_monitor
from arcticdl.training.resume import Checkpoint, Preempted
from arcticdl.training.schedules import cosine_with_warmup


def build_optimizer(
    learning_rate: float = 1e-3,
    *,
    num_steps: int,
    schedule: str = "cosine",
    warmup_fraction: float = 0.05,
    weight_decay: float = 1e-4,
    clip_norm: float | None = 1.0,
    ema: float | None = None,
) -> keras.optimizers.Optimizer:
    """AdamW with decoupled weight decay (doi 10.48550/arXiv.1711.05101).

    Args:
        learning_rate: Peak learning rate, > 0.
        num_steps: Optimiser steps of the whole training; the schedule ends there.
        schedule: ``"cosine"`` (with warm-up) or ``"constant"``.
        warmup_fraction: Share of the steps that warm up, in [0, 1).
        weight_decay: Decay; biases and normalisation weights are excluded.
        clip_norm: Largest norm of the whole gradient; ``None`` does not clip.
        ema: Momentum of averaged weights, which replace the weights at the end.

    Raises:
        ValueError: Unknown schedule or a value out of range.
    """
    if schedule not in ("constant", "cosine"):
        raise ValueError(
            "`schedule` must be one of ['constant', 'cosine']. "
            f"Received: schedule={schedule!r}."
        )
    rate: Any = learning_rate
    if schedule == "cosine":
        rate = cosine_with_warmup(
            learning_rate, num_steps, warmup_fraction=warmup_fraction
        )
    optimizer = keras.optimizers.AdamW(
        rate,
        weight_decay=weight_decay,
        global_clipnorm=clip_norm,
        use_ema=ema is not None,
        ema_momentum=ema if ema is not None else 0.99,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def fit(
    model: keras.Model,
    feed: keras.utils.PyDataset,
    fold_dir: str | Path,
    *,
    epochs: int,
    validation_feed: keras.utils.PyDataset | None = None,
    stopping: keras.callbacks.EarlyStopping | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Trains a compiled model, resuming where an earlier start of this fold ended.

    Writes ``history.csv`` and ``checkpoint/`` after every epoch and ``model.keras`` at
    the end, each under a temporary name first.

    Args:
        model: A compiled Keras model.
        feed: Training batches, as from ``TileFeed``.
        fold_dir: Folder of the fold.
        epochs: Epochs of the whole training, those before a resume included.
        validation_feed: Batches for validation after every epoch.
        stopping: Early stopping; its ``monitor`` is checked before the first epoch.
        callbacks: Further callbacks.

    Returns:
        Keras's history of this start.

    Raises:
        ValueError: ``stopping`` monitors a score that will not be logged.
        Preempted: A termination signal came; resume by calling again.
    """
    fold_dir = Path(fold_dir)
    if stopping is not None:
        check_monitor(stopping.monitor, model, validation_feed is not None)
    fold_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(fold_dir / "checkpoint", stopping=stopping)
    done = checkpoint.restore(model)
    if done and hasattr(feed, "seek"):
        feed.seek(done)
    parts: list[keras.callbacks.Callback] = [History(fold_dir / "history.csv")]
    if stopping is not None:
        parts.append(stopping)
    progress = RichProgress(f"{fold_dir.parent.name} {fold_dir.name}")
    try:
        history = model.fit(
            feed,
            validation_data=validation_feed,
            shuffle=False,  # the feed has an order of its own
            epochs=epochs,
            initial_epoch=min(done, epochs),
            callbacks=[*parts, progress, *callbacks, checkpoint],
            verbose=0,
        )
    except (Preempted, KeyboardInterrupt):
        progress.on_train_end()
        raise
    finally:
        checkpoint.release()
    save_model(model, fold_dir / "model.keras")
    return history


def save_model(model: keras.Model, path: str | Path) -> Path:
    """Writes a ``.keras`` file, whole or not at all."""
    with atomic_path(path) as part:
        model.save(part)
    return Path(path)
