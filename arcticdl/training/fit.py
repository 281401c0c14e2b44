"""One fold, from a compiled recipe to weights on disk."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from arcticdl.choices import choose
from arcticdl.errors import DivergedError
from arcticdl.files import atomic_path
from arcticdl.losses.probabilities import ends_in_probabilities
from arcticdl.training.batches import check_at_least
from arcticdl.training.callbacks import CheckMonitors, History, RichProgress
from arcticdl.training.devices.placement import as_one_device
from arcticdl.training.devices.processes import alone, is_first, wait_for_all
from arcticdl.training.feed import ResumableFeed
from arcticdl.training.memory.exhausted import explain_memory, is_memory_error
from arcticdl.training.resume import Checkpoint, TrainedScores
from arcticdl.training.signals import watch_signals
from arcticdl.training.state import check_finite, see_batch
from arcticdl.training.table import SCHEDULES
from arcticdl.training.watch.classes import ClassScores
from arcticdl.training.watch.curves import LossCurveDiagnosis
from arcticdl.training.watch.nan import StopAtNaN
from arcticdl.training.watch.speed import Speed


def build_optimizer(
    learning_rate: float = 1e-3,
    *,
    num_steps: int,
    schedule: str = "cosine",
    warmup_fraction: float | None = None,
    weight_decay: float = 1e-4,
    clip_norm: float | None = 1.0,
    ema: float | None = None,
    accumulate: int = 1,
) -> keras.optimizers.Optimizer:
    """AdamW with decoupled weight decay (doi 10.48550/arXiv.1711.05101).

    Args:
        learning_rate: Peak learning rate, > 0.
        num_steps: Batches of the whole training; the schedule ends there.
        schedule: A name of ``arcticdl.training.table.SCHEDULES``.
        warmup_fraction: Share of the steps that warm up, in [0, 1); ``None``: the
            schedule's own.
        weight_decay: Decay; biases and normalisation weights are excluded.
        clip_norm: Largest norm of the whole gradient; ``None`` does not clip.
        ema: Momentum of averaged weights, which replace the weights at the end.
        accumulate: Batches whose gradients are averaged for one step, >= 1.

    Raises:
        ValueError: Unknown schedule or a value out of range.
        TypeError: ``warmup_fraction`` of a schedule that rises by itself.
    """
    warmup = {} if warmup_fraction is None else {"warmup_fraction": warmup_fraction}
    rate = choose("schedule", schedule, SCHEDULES)(learning_rate, num_steps, **warmup)
    common = common_options(weight_decay, clip_norm, ema, accumulate)
    return spare_small_weights(keras.optimizers.AdamW(rate, **common))


def common_options(
    weight_decay: float | None,
    clip_norm: float | None,
    ema: float | None,
    accumulate: int = 1,
) -> dict[str, Any]:
    """What every optimiser of Keras takes, by Keras's names.

    Args:
        weight_decay: As for ``build_optimizer``, and so are the others.
        clip_norm: Largest norm of the whole gradient.
        ema: Momentum of averaged weights.
        accumulate: Batches a step.

    Raises:
        ValueError: ``accumulate`` below 1.
    """
    check_at_least("accumulate", accumulate, 1)
    # Keras averages weights after every batch, also while they wait for their step.
    momentum = (0.99 if ema is None else ema) ** (1 / accumulate)
    return {
        "weight_decay": weight_decay,
        "global_clipnorm": clip_norm,
        "use_ema": ema is not None,
        "ema_momentum": momentum,
        "gradient_accumulation_steps": accumulate if accumulate > 1 else None,
    }


_SPARED = ("bias", "gamma", "beta", "log_variances", "head_weights")


def spare_small_weights(
    optimizer: keras.optimizers.Optimizer,
) -> keras.optimizers.Optimizer:
    """Leaves biases and weights of normalisation and heads out of the decay."""
    optimizer.exclude_from_weight_decay(var_names=list(_SPARED))
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
    answering: keras.Model | None = None,
) -> keras.callbacks.History:
    """Trains a compiled model, going on where an earlier start of this fold ended.

    Writes ``checkpoint/`` from time to time and at a signal, ``history.csv`` (scores)
    and ``speed.csv`` after every epoch and ``model.keras`` at the end, each whole or
    not at all. Going on gives the same weights, to the bit, as never having been
    interrupted. At the end the log says what the loss curves say (see `diagnose`).

    Weights of classes belong in the loss: Keras's ``model.fit(class_weight=...)`` takes
    one class a sample and fails on maps.

    Args:
        model: A compiled Keras model.
        feed: Training batches, as from ``TileFeed``: a batch depends on epoch and index
            alone, and ``seek(epoch)`` goes to an epoch.
        fold_dir: Folder of the fold.
        epochs: Epochs of the whole training, those before a resume included.
        validation_feed: Batches for validation after every epoch.
        stopping: Early stopping.
        callbacks: Further callbacks; see `Checkpoint` on what is kept of their state.
        answering: What is written as ``model.keras`` in place of the trained model,
            with which it shares its weights, such as a sampler around a denoiser.

    Returns:
        Keras's history of this start.

    Raises:
        ValueError: A callback monitors a score that will not be logged; or the network
            ends in a softmax and the loss wants logits.
        ConfigError: Replicas of TensorFlow would compute something else than one
            device; see `training.devices.placement.check_replicas`.
        DivergedError: The loss became NaN; the error names the batch and its tiles. No
            ``model.keras`` is written; the best weights before that, where early
            stopping kept them, become ``best.keras``, else those with which the epoch
            began ``last_good.keras``.
        OutOfMemoryError: A step does not fit the memory; the error says which batch
            might.
        Preempted: A termination signal came; go on by calling again.
    """
    check_outputs(model)
    fold_dir = Path(fold_dir)
    own = [c for c in (stopping, *callbacks) if c is not None]
    resumable = ResumableFeed(feed)
    validation = None if validation_feed is None else ResumableFeed(validation_feed)
    checkpoint = Checkpoint(fold_dir / "checkpoint", feed=resumable, callbacks=own)
    guard = StopAtNaN(resumable, validation)
    speed = Speed(resumable, fold_dir / "speed.csv")
    progress = RichProgress(f"{fold_dir.parent.name} {fold_dir.name}", speed=speed)
    told = [
        TrainedScores(checkpoint),
        CheckMonitors(own, validation is not None),
        guard,
        ClassScores(),
        *_told(own, speed, progress, fold_dir / "history.csv"),
        checkpoint,
    ]
    with watch_signals() as watch, warnings.catch_warnings():
        # `Checkpoint` ends a resumed epoch as if the data had.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        with _explained(model, feed, own, guard, fold_dir), as_one_device(model, own):
            done = _go_on(model, checkpoint, resumable, validation, own)
            try:
                history = model.fit(
                    resumable,
                    validation_data=validation,
                    shuffle=False,  # the feed has an order of its own
                    epochs=epochs,
                    initial_epoch=epochs if checkpoint.finished else min(done, epochs),
                    callbacks=told,
                    verbose=0,
                )
            finally:
                progress.on_train_end()
                checkpoint.release()
        check_finite(model)
        watch.agree()
        watch.check(f"The training is safe in {checkpoint.folder}.")
        if is_first():
            fold_dir.mkdir(parents=True, exist_ok=True)
            save_model(answering or model, fold_dir / "model.keras")
        wait_for_all("model")
    return history


def _told(
    own: list[keras.callbacks.Callback],
    speed: Speed,
    progress: RichProgress,
    history_csv: Path,
) -> list[keras.callbacks.Callback]:
    """Callbacks in whose order an epoch is told: of several processes one speaks."""
    if not is_first():
        return own
    history, curves = History(history_csv), LossCurveDiagnosis(history_csv)
    return [speed, history, *own, progress, curves]


def _go_on(
    model: keras.Model,
    checkpoint: Checkpoint,
    feed: ResumableFeed,
    validation: ResumableFeed | None,
    own: Sequence[keras.callbacks.Callback],
) -> int:
    """Takes model and feeds to where an earlier start ended: its epochs."""
    if any(hasattr(callback, "monitor") for callback in own):
        see_batch(model, validation or feed)
    done = checkpoint.restore(model)
    feed.go_to(done, checkpoint.batch)
    if validation is not None:
        validation.go_to(done, 0)
        validation.start()
    return done


@contextmanager
def _explained(
    model: keras.Model,
    feed: keras.utils.PyDataset,
    own: Sequence[keras.callbacks.Callback],
    guard: StopAtNaN,
    fold_dir: Path,
) -> Iterator[None]:
    """Says what is left after a divergence, and what might fit the memory."""
    try:
        yield
    except DivergedError as error:
        raise _with_good(model, own, guard, fold_dir, error) from error
    except Exception as error:
        if not is_memory_error(error):
            raise
        steps = getattr(model.optimizer, "gradient_accumulation_steps", None)
        first = keras.tree.flatten(feed[0])[0]
        raise explain_memory(error, first, steps or 1) from error


def check_outputs(model: keras.Model) -> None:
    """Refuses a network that ends in probabilities under a loss that wants logits.

    Args:
        model: A compiled model.

    Raises:
        ValueError: It does.
    """
    losses = model.loss
    for name, activation in ends_in_probabilities(model).items():
        loss: Any
        if isinstance(losses, list | tuple):
            loss = losses[list(model.output_names).index(name)]
        else:
            loss = losses.get(name) if isinstance(losses, dict) else losses
        loss = getattr(loss, "loss", loss)  # one that a layer weighs
        form = getattr(loss, "prediction_form", None)
        if form in ("classes", "ordinal") and getattr(loss, "from_logits", True):
            raise ValueError(
                f"The output {name!r} must be logits, which the loss {loss.name!r} "
                f"takes. Received: a network that ends in {activation!r}. Take that "
                "activation away, or give the loss from_logits=False."
            )


def _with_good(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    guard: StopAtNaN,
    fold_dir: Path,
    error: DivergedError,
) -> DivergedError:
    """Writes weights from before a divergence, under a name of their own."""
    fold_dir.mkdir(parents=True, exist_ok=True)
    for callback in callbacks:
        best = getattr(callback, "best_weights", None)
        if best is not None:
            model.set_weights(best)
            check_finite(model)
            path = fold_dir / "best.keras"
            if is_first():
                save_model(model, path)
            return DivergedError(f"{error} The best weights before are in {path}.")
    if guard.good_epoch is None:
        return error
    guard.restore(model)
    path = fold_dir / "last_good.keras"
    if is_first():
        save_model(model, path)
    return DivergedError(
        f"{error} The weights after {guard.good_epoch} whole epochs are in {path}."
    )


def save_model(model: keras.Model, path: str | Path) -> Path:
    """Writes a ``.keras`` file, whole or not at all.

    Args:
        model: Any Keras model.
        path: The file; its folder must exist.

    Returns:
        The path.

    Raises:
        OSError: The disk is full; an older file stays.
    """
    with alone(), atomic_path(path) as part:
        model.save(part)
    return Path(path)
