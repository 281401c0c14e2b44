"""Noisy answers and their velocities, from batches of images and answers.

With them the training of a denoiser is a regression like any other (Ho et al. 2020,
arXiv:2006.11239): ``fit``, checkpoints and exact resume are as everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from arcticdl.models.diffusion.schedule import cosine_schedule, velocity_of
from arcticdl.tiles import TileStore
from arcticdl.training.batches import BatchFeed

_MAX_TILES = 64  # of which the scaling of answers is measured


@dataclass(frozen=True)
class AnswerScaling:
    """What brings answers to about a mean of 0 and a deviation of 1.

    Attributes:
        mean: Of what is left of answers once the band is taken off.
        std: Its deviation.
        band: Number of the band that answers are added to; ``None``: to none.
        offset: What brings that band from its scaling back to its units.
        scale: Likewise.
    """

    mean: float
    std: float
    band: int | None = None
    offset: float = 0.0
    scale: float = 1.0

    def scaled(self, image: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Answers as the network sees them, NaN where void.

        Args:
            image: ``(n, y, x, band)``, as a feed scales it.
            label: ``(n, y, x)``.
        """
        rest = label - self.mean
        if self.band is not None:
            rest = rest - (image[..., self.band] * self.scale + self.offset)
        return np.asarray(rest / self.std, np.float32)


def measure_answers(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    label: str,
    band: str | None = None,
) -> tuple[float, float]:
    """Mean and deviation of a label, or of what a band lacks of it.

    Args:
        store: A tile store.
        indices: Training tiles, of which some are read, evenly spread.
        label: Name of a quantity of each pixel.
        band: Band that is taken off.

    Raises:
        ValueError: Nothing is known, or nothing varies.
    """
    places = np.linspace(0, len(indices) - 1, min(len(indices), _MAX_TILES))
    read = store.read(
        np.asarray(indices)[np.unique(places.round().astype(int))],
        ["image", "valid", label],
    )
    rest = np.asarray(read[label], np.float64)
    if band is not None:
        rest = rest - read["image"][..., store.bands.index(band)]
    rest = rest[read["valid"] & np.isfinite(rest)]
    if not rest.size or not rest.std() > 0:
        raise ValueError(
            "The training tiles must hold answers that vary, to be scaled by. "
            f"Received: {rest.size} numbers of {label!r}, all alike."
        )
    return float(rest.mean()), float(rest.std())


class NoisedFeed(keras.utils.PyDataset):
    """A feed whose answers are made noisy, each by a step of its own.

    What is drawn for batch ``i`` of an epoch depends on seed, epoch and ``i`` alone.

    Args:
        feed: A feed of one label, ``(image, label)``.
        scaling: Of the answers.
        num_steps: Steps of the schedule.
        seed: Of steps and noise.
        fixed: Whether every epoch draws the same, for validation.
    """

    def __init__(
        self,
        feed: BatchFeed,
        scaling: AnswerScaling,
        *,
        num_steps: int = 1000,
        seed: int = 0,
        fixed: bool = False,
    ) -> None:
        super().__init__(workers=feed.workers)
        self.feed, self.scaling = feed, scaling
        self.num_steps, self.seed, self.fixed = num_steps, seed, fixed
        self._signal, self._noise = cosine_schedule(num_steps)

    def __len__(self) -> int:
        return len(self.feed)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """``{"image", "noisy" (n, y, x, 1), "step" (n,)}`` and velocities (n, y, x)."""
        image, label = self.feed[index]
        image, label = np.asarray(image), np.asarray(label)
        clean = self.scaling.scaled(image, label)
        void = np.isnan(clean)
        clean = np.where(void, np.float32(0), clean)
        # A feed may begin an epoch later, where a training goes on.
        place = index + self.feed._skipped
        epoch = 0 if self.fixed else self.feed.epoch
        rng = np.random.default_rng([self.seed, epoch, place, 13])
        step = rng.integers(1, self.num_steps + 1, len(clean))
        noise = rng.standard_normal(clean.shape, np.float32)
        signal, scale = (
            table[step][:, None, None] for table in (self._signal, self._noise)
        )
        velocity = velocity_of(clean, noise, signal, scale)
        told = {
            "image": image,
            "noisy": (signal * clean + scale * noise)[..., None],
            "step": (step / self.num_steps).astype("float32"),
        }
        return told, np.where(void, np.float32("nan"), velocity)

    def __getattr__(self, name: str) -> Any:
        """All else, such as ``seek``, ``card`` and ``names_of``, is the feed's."""
        if name == "feed":  # not made yet
            raise AttributeError(name)
        return getattr(self.feed, name)

    def on_epoch_begin(self) -> None:
        """Notes that an epoch runs; Keras calls this."""
        self.feed.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch; Keras calls this."""
        self.feed.on_epoch_end()
