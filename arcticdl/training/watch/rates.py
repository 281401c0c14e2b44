"""The learning-rate finder: one sweep from rates too small to rates too large."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from arcticdl.plots.style import PALETTE, house_style, new_figure
from arcticdl.progress import track
from arcticdl.training.batches import check_at_least
from arcticdl.training.watch.losses import Gradients


@dataclass(frozen=True)
class RateSweep:
    """What a sweep found.

    Attributes:
        rates: Learning rate of each step ``(step,)``, rising by one factor.
        losses: Loss of each step's batch, before the step.
        smoothed: The same, smoothed.
        rate: The rate to train with; ``None`` where the sweep shows none.
        diverged: Whether the loss rose away before the highest rate.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    rate: float | None
    diverged: bool

    def describe(self) -> str:
        """Says in a few words what to make of it."""
        if self.rate is None:
            return (
                f"no rate from {self.rates[0]:.1e} to {self.rates[-1]:.1e} lowered the "
                "loss: sweep over more steps, or look whether bands and labels belong "
                "together"
            )
        told = f"learning rate {self.rate:.1e}: a tenth of the rate at the lowest loss"
        if not self.diverged and 10 * self.rate > 0.5 * self.rates[-1]:
            told += (
                f"; the loss still fell at {self.rates[-1]:.1e}, a wider sweep may "
                "find a higher one"
            )
        return told

    def draw(self) -> Figure:
        """Draws the loss over the rate, with the rate to train with."""
        with house_style():
            figure = new_figure((6.4, 3.8))
            ax = figure.add_subplot()
            color = PALETTE[0]
            ax.plot(
                self.rates, self.losses, color=color, alpha=0.3, lw=1, label="batch"
            )
            ax.plot(self.rates, self.smoothed, color=color, label="smoothed")
            if self.rate is not None:
                label = f"a tenth of the lowest: {self.rate:.1e}"
                ax.axvline(self.rate, color=PALETTE[1], ls="--", label=label)
            ax.set(xscale="log", xlabel="learning rate (1)", ylabel="training loss (1)")
            ax.xaxis.set_major_formatter(LogFormatter())
            ax.set_title("loss of a sweep over learning rates")
            # What lies beyond the divergence would flatten all that counts.
            low, first = float(self.smoothed.min()), float(self.smoothed[0])
            room = max(first - low, 1e-12)
            ax.set_ylim(low - 0.25 * room, first + 0.75 * room)
            ax.grid(True)
            figure.legend(loc="outside lower center", ncols=3)
        return figure


def find_rate(
    model: keras.Model,
    feed: keras.utils.PyDataset,
    *,
    optimizer: keras.optimizers.Optimizer | None = None,
    lowest: float = 1e-6,
    highest: float = 1.0,
    num_steps: int = 100,
) -> RateSweep:
    """Sweeps the learning rate up while training, and suggests one.

    The range test of Smith (2017, Cyclical learning rates for training neural networks,
    doi:10.1109/WACV.2017.58, section 3.3): the loss hardly moves at rates too small,
    falls at fair ones, and rises away at rates too large. Suggested is a tenth of the
    rate at the lowest smoothed loss: at the lowest itself the loss is about to rise.
    The sweep ends where the smoothed loss has risen above its start by as much as it
    had fallen, or by its own size. The model is as before when it ends; moving
    statistics stand still, and dropout keeps its mask.

    Args:
        model: A compiled model.
        feed: Training batches; their order begins anew where the sweep is longer.
        optimizer: An optimiser that no model has used, with a rate that can be set;
            ``None``: a new one like the model's own.
        lowest: First rate, > 0.
        highest: Last rate, above `lowest`.
        num_steps: Batches, at least 10.

    Returns:
        Rates, losses and the suggestion.

    Raises:
        ValueError: A number out of range, or a backend without gradients here.
    """
    if not 0 < lowest < highest:
        raise ValueError(
            "`lowest` must be above 0 and below `highest`. "
            f"Received: lowest={lowest}, highest={highest}."
        )
    check_at_least("num_steps", num_steps, 10)
    optimizer = optimizer or _like(model.optimizer)
    variables = model.trainable_variables
    before = [keras.ops.convert_to_numpy(variable) for variable in variables]
    rates = np.geomspace(lowest, highest, num_steps)
    losses: list[float] = []
    gradients = Gradients(model, compiled=True)
    try:
        for step in track(range(num_steps), "rates"):
            loss, found = gradients(feed[step % len(feed)])
            losses.append(loss)
            if _rose_away(losses):
                break
            optimizer.learning_rate = rates[step]
            optimizer.apply(found, variables)
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
    return read_sweep(rates[: len(losses)], losses, diverged=len(losses) < num_steps)


def read_sweep(rates: Any, losses: Any, *, diverged: bool) -> RateSweep:
    """Reads a sweep: smooths it, and finds the rate to train with.

    Args:
        rates: Rising rates ``(step,)``.
        losses: Loss of each ``(step,)``; the last may be no number.
        diverged: Whether it ended because the loss rose away.

    Returns:
        The sweep. It has a rate where the smoothed loss fell at all by more than its
        batches stray.
    """
    rates, losses = np.asarray(rates, "float64"), np.asarray(losses, "float64")
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]
    smoothed = smooth(losses)
    low = int(smoothed.argmin()) if len(smoothed) else 0
    stray = float(np.std(losses[:low] - smoothed[:low])) if low else 0.0
    if low < 2 or smoothed[0] - smoothed[low] <= 0.5 * stray:
        return RateSweep(rates, losses, smoothed, None, diverged)
    return RateSweep(rates, losses, smoothed, float(rates[low] / 10), diverged)


def smooth(losses: np.ndarray, factor: float = 0.9) -> np.ndarray:
    """Averages exponentially, with the start's bias divided out as in Adam.

    Example:
        >>> smooth(np.array([1.0, 1.0, 1.0])).round(6).tolist()
        [1.0, 1.0, 1.0]
    """
    mean, found = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = factor * mean + (1 - factor) * loss
        found.append(mean / (1 - factor**step))
    return np.array(found)


def _rose_away(losses: list[float]) -> bool:
    if not np.isfinite(losses[-1]):
        return True
    smoothed = smooth(np.asarray(losses))
    first = smoothed[: max(1, len(smoothed) // 4)].max()
    room = max(abs(first), first - smoothed.min())
    return bool(len(losses) > 5 and smoothed[-1] > first + room)


def _like(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """A new optimiser of the same settings, with a rate that can be set."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return type(inner).from_config({**inner.get_config(), "learning_rate": 1e-3})
