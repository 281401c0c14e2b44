"""What an augmentation takes and gives, and what void means to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from arcticdl.void import VOID_CLASS

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Batch:
    """Images with everything that must stay registered with them.

    Attributes:
        image: float32 ``(sample, y, x, band)`` in source units.
        labels: ``{name: (sample, y, x)}``, integer with 255 or float with NaN for void;
            or soft labels ``(sample, y, x, class)`` with NaN for void.
        valid: Boolean ``(sample, y, x)``; ``True`` where the image holds data.
    """

    image: FloatArray
    labels: Mapping[str, NDArray[Any]]
    valid: BoolArray

    def __len__(self) -> int:
        return len(self.image)

    def take(self, index: NDArray[Any]) -> "Batch":
        """Copies the samples at `index` into a batch of their own."""
        return self._part(index)

    def one(self, sample: int) -> "Batch":
        """One sample as a batch that shares this one's memory."""
        return self._part(slice(sample, sample + 1))

    def copy(self) -> "Batch":
        """A batch of its own memory."""
        labels = {name: label.copy() for name, label in self.labels.items()}
        return Batch(self.image.copy(), labels, self.valid.copy())

    def overwrite(self, changed: "Batch") -> None:
        """Takes over the arrays of `changed` that are not its own."""
        pairs = [(self.image, changed.image), (self.valid, changed.valid)]
        pairs += [(self.labels[name], label) for name, label in changed.labels.items()]
        for own, new in pairs:
            if new is not own:
                own[...] = new

    def _part(self, index: Any) -> "Batch":
        labels = {name: label[index] for name, label in self.labels.items()}
        return Batch(self.image[index], labels, self.valid[index])


@runtime_checkable
class Augmentation(Protocol):
    """One step of a policy: changes samples, drawing from a generator.

    A policy calls it with one sample after the other, which fits into the processor's
    cache; the arrays are the step's own to write over.
    """

    p: float

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the changed batch; each sample draws its own values."""
        ...


@runtime_checkable
class WholeBatch(Protocol):
    """A step that needs all samples at once: it mixes them, or changes their shape."""

    p: float

    def apply_all(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the changed batch; which samples change is drawn inside."""
        ...


def pixel_items(array: NDArray[Any]) -> NDArray[Any]:
    """Views an array so that its items are whole pixels.

    To move a pixel of five bands as one item of 20 bytes spares NumPy an inner loop
    over five numbers.

    Args:
        array: ``(y, x)`` or ``(y, x, band)``.

    Returns:
        ``(y, x)`` of the same memory; of a copy if bands do not lie side by side.

    Example:
        >>> pixel_items(np.zeros((2, 3, 5), np.float32)).dtype
        dtype('V20')
    """
    if array.ndim == 2:
        return array
    if array.strides[-1] != array.itemsize:
        array = np.ascontiguousarray(array)
    return array.view(f"V{array.itemsize * array.shape[-1]}")[..., 0]


def void_of(label: NDArray[Any]) -> Any:
    """Returns the void value of a label array.

    Args:
        label: Integer or float array.

    Returns:
        NaN for floats, 255 for integers.

    Example:
        >>> void_of(np.zeros(2, np.uint8)), void_of(np.zeros(2))
        (255, nan)
    """
    return np.nan if label.dtype.kind == "f" else VOID_CLASS


def is_void(label: NDArray[Any]) -> BoolArray:
    """Marks the void pixels of a label array.

    Args:
        label: ``(sample, y, x)``, or soft labels ``(sample, y, x, class)``.

    Returns:
        Boolean ``(sample, y, x)``.

    Example:
        >>> is_void(np.array([[[0, 255]]])).tolist()
        [[[False, True]]]
    """
    if label.dtype.kind != "f":
        return label == VOID_CLASS
    unknown = np.isnan(label)
    return unknown.any(-1) if label.ndim == 4 else unknown


def check_p(p: float) -> None:
    """Refuses a probability outside [0, 1].

    Args:
        p: The probability.

    Raises:
        ValueError: `p` is outside.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"`p` must be from 0 to 1. Received: p={p}.")


def check_interval(
    name: str, value: Any, low: float = -np.inf, high: float = np.inf
) -> Interval:
    """Reads a number or a pair as an interval to draw from, within bounds.

    Args:
        name: The argument's name, for the message.
        value: A number (always that) or ``[low, high]``.
        low: Least value allowed.
        high: Greatest value allowed.

    Returns:
        ``(low, high)`` as floats.

    Raises:
        ValueError: `value` is neither, is turned round, or leaves the bounds.
    """
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    numbers = len(pair) == 2 and all(isinstance(v, int | float) for v in pair)
    if not numbers or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(
            f"`{name}` must be a number or [low, high] with low <= high, from {low:g} "
            f"to {high:g}. Received: {name}={value!r}."
        )
    return float(pair[0]), float(pair[1])


def draw(
    interval: Interval, shape: int | Sequence[int], rng: np.random.Generator
) -> FloatArray:
    """Draws numbers uniformly from an interval.

    Args:
        interval: ``(low, high)``.
        shape: Shape of the result.
        rng: Source of the draws.

    Returns:
        float32 array.
    """
    return rng.uniform(*interval, size=shape).astype(np.float32)


def fields(
    interval: Interval, batch: Batch, per_band: bool, rng: np.random.Generator
) -> FloatArray:
    """Draws one number a sample, or a sample and band, ready to broadcast.

    Args:
        interval: ``(low, high)``.
        batch: The batch that it is for.
        per_band: Whether each band draws its own.
        rng: Source of the draws.

    Returns:
        float32 ``(sample, 1, 1, band)``, or ``(sample, 1, 1, 1)``.
    """
    bands = batch.image.shape[-1] if per_band else 1
    return draw(interval, (len(batch), 1, 1, bands), rng)
