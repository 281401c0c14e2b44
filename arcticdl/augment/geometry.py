"""Geometry: where pixels go. Flips and quarter turns are exact, the rest resamples.

Each step says how it maps offsets from the image centre, ``(column, row)``, forwards;
a policy multiplies consecutive steps together and resamples once, since every
resampling blurs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import (
    Batch,
    Interval,
    check_interval,
    check_p,
    draw,
)
from arcticdl.augment.directions import Directions
from arcticdl.augment.resample import resample

_NO_DIRECTIONS = Directions()
_TURN = np.array([[0.0, 1.0], [-1.0, 0.0]])
"""A quarter turn counter-clockwise as seen, of (column, row) with rows downwards."""


@dataclass(frozen=True, kw_only=True)
class HFlip:
    """Mirrors left and right.

    Attributes:
        p: Probability for each sample.
    """

    p: float = 0.5

    def matrices(
        self, num_samples: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Returns the forward maps ``(sample, 3, 3)``."""
        return np.tile(np.diag([-1.0, 1.0, 1.0]), (num_samples, 1, 1))


@dataclass(frozen=True, kw_only=True)
class VFlip:
    """Mirrors up and down.

    Attributes:
        p: Probability for each sample.
    """

    p: float = 0.5

    def matrices(
        self, num_samples: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Returns the forward maps ``(sample, 3, 3)``."""
        return np.tile(np.diag([1.0, -1.0, 1.0]), (num_samples, 1, 1))


@dataclass(frozen=True, kw_only=True)
class QuarterTurn:
    """Turns by 90, 180 or 270 degrees; tiles that are not square by 180 only.

    Attributes:
        p: Probability for each sample.
    """

    p: float = 0.75

    def matrices(
        self, num_samples: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Returns the forward maps ``(sample, 3, 3)``."""
        square = shape[0] == shape[1]
        turns = rng.integers(1, 4, num_samples) if square else [2] * num_samples
        return np.stack([_linear(np.linalg.matrix_power(_TURN, k)) for k in turns])


@dataclass(frozen=True, kw_only=True)
class Affine:
    """Turns, shifts, scales and shears about the image centre, with one resampling.

    Attributes:
        rotate: Degrees counter-clockwise as seen, ``[low, high]``.
        translate: Shift as a share of the image size, drawn for each axis.
        scale: Magnification; above 1 shows less, larger.
        shear: Degrees by which columns lean.
        p: Probability for each sample.
    """

    rotate: Interval = (-15.0, 15.0)
    translate: Interval = (0.0, 0.0)
    scale: Interval = (0.9, 1.1)
    shear: Interval = (0.0, 0.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        limits = {
            "rotate": (-360, 360),
            "translate": (-1, 1),
            "scale": (0.05, 20),
            "shear": (-80, 80),
        }
        for name, (low, high) in limits.items():
            value = check_interval(name, getattr(self, name), low, high)
            object.__setattr__(self, name, value)

    def matrices(
        self, num_samples: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Returns the forward maps ``(sample, 3, 3)``, each with its own draws."""
        angle = np.deg2rad(draw(self.rotate, num_samples, rng).astype(np.float64))
        scale = draw(self.scale, num_samples, rng)
        lean = np.tan(np.deg2rad(draw(self.shear, num_samples, rng)))
        shift = draw(self.translate, (num_samples, 2), rng) * np.array(shape[::-1])
        maps = np.tile(np.eye(3), (num_samples, 1, 1))
        maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angle)
        maps[:, 0, 1], maps[:, 1, 0] = np.sin(angle), -np.sin(angle)
        maps[:, :2, 1] += lean[:, None] * maps[:, :2, 0]
        maps[:, :2, :2] *= scale[:, None, None]
        maps[:, :2, 2] = shift
        return maps


@dataclass(frozen=True, kw_only=True)
class ResizedCrop:
    """Cuts a window and enlarges it to the tile's size; nothing outside comes in.

    Attributes:
        share: Side of the window as a share of the tile's, ``[low, high]``.
        p: Probability for each sample.
    """

    share: Interval = (0.6, 1.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        object.__setattr__(self, "share", check_interval("share", self.share, 0.05, 1))

    def matrices(
        self, num_samples: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Returns the forward maps ``(sample, 3, 3)``."""
        share = rng.uniform(*self.share, num_samples)
        room = (1 - share)[:, None] * np.array(shape[::-1]) / 2
        centre = rng.uniform(-1, 1, (num_samples, 2)) * room
        maps = np.tile(np.eye(3), (num_samples, 1, 1))
        maps[:, 0, 0] = maps[:, 1, 1] = 1 / share
        maps[:, :2, 2] = -centre / share[:, None]
        return maps


def rotate(*, degrees: Interval = (-180.0, 180.0), p: float = 0.5) -> Affine:
    """Turns by any angle, counter-clockwise as seen.

    Args:
        degrees: Angle in degrees, ``[low, high]``.
        p: Probability for each sample.

    Returns:
        The movement.
    """
    return Affine(rotate=degrees, scale=(1.0, 1.0), p=p)


def translate(*, share: Interval = (-0.1, 0.1), p: float = 0.5) -> Affine:
    """Shifts along both axes.

    Args:
        share: Shift as a share of the image size, ``[low, high]``.
        p: Probability for each sample.

    Returns:
        The movement.
    """
    return Affine(rotate=(0.0, 0.0), scale=(1.0, 1.0), translate=share, p=p)


def scale(*, factor: Interval = (0.8, 1.25), p: float = 0.5) -> Affine:
    """Magnifies about the centre.

    Args:
        factor: Magnification, ``[low, high]``, above 0.
        p: Probability for each sample.

    Returns:
        The movement.
    """
    return Affine(rotate=(0.0, 0.0), scale=factor, p=p)


def shear(*, degrees: Interval = (-10.0, 10.0), p: float = 0.5) -> Affine:
    """Leans the columns.

    Args:
        degrees: Angle of the columns in degrees, ``[low, high]``.
        p: Probability for each sample.

    Returns:
        The movement.
    """
    return Affine(rotate=(0.0, 0.0), scale=(1.0, 1.0), shear=degrees, p=p)


Movement = HFlip | VFlip | QuarterTurn | Affine | ResizedCrop


def draw_matrices(
    num_samples: int,
    shape: tuple[int, int],
    steps: Sequence[Movement],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draws consecutive movements as one map, so that pixels are resampled once.

    Args:
        num_samples: Images.
        shape: Rows and columns of each.
        steps: Movements in their order; each acts on a sample with its own `p`.
        rng: Source of the draws.

    Returns:
        The forward maps ``(sample, 3, 3)``; of samples that no step chose the identity.
    """
    total = np.tile(np.eye(3), (num_samples, 1, 1))
    for step in steps:
        chosen = np.flatnonzero(rng.random(num_samples) < step.p)
        total[chosen] = step.matrices(len(chosen), shape, rng) @ total[chosen]
    return total


def apply_matrices(
    batch: Batch,
    matrices: NDArray[np.float64],
    directions: Directions = _NO_DIRECTIONS,
) -> Batch:
    """Moves each sample by its own map of offsets from the image centre.

    Args:
        batch: The batch; samples that move are overwritten.
        matrices: ``(sample, 3, 3)`` forward maps of (column, row, 1), pixels.
        directions: Bands that turn with the image.

    Returns:
        The batch. Maps that only permute pixels are applied without resampling.
    """
    still = np.all(matrices == np.eye(3), axis=(1, 2))
    exact = np.array([_is_exact(m, batch.valid.shape[1:]) for m in matrices], bool)
    for sample in np.flatnonzero(exact & ~still):
        _permute(batch, int(sample), matrices[sample])
    blurred = np.flatnonzero(~exact)
    if len(blurred):
        part = batch.take(blurred)
        batch.put(blurred, resample(part, *_source(part, matrices[blurred])))
    turned = np.flatnonzero(~still)
    if len(turned) and (directions.vectors or directions.angles):
        image = batch.image[turned]
        batch.image[turned] = directions.turn(image, matrices[turned, :2, :2])
    return batch


def _is_exact(matrix: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    linear = matrix[:2, :2]
    whole = np.all(np.isin(linear, (-1.0, 0.0, 1.0))) and not matrix[:2, 2].any()
    swaps = bool(linear[0, 1])
    return bool(whole) and (not swaps or shape[0] == shape[1])


def _permute(batch: Batch, sample: int, matrix: NDArray[np.float64]) -> None:
    """Moves one sample by transposing and mirroring its arrays."""
    swap = bool(matrix[0, 1])
    sign_col = matrix[0, 0] + matrix[0, 1]
    sign_row = matrix[1, 0] + matrix[1, 1]
    for array in (batch.image, batch.valid, *batch.labels.values()):
        moved = array[sample].swapaxes(0, 1) if swap else array[sample]
        moved = moved[:: int(sign_row), :: int(sign_col)]
        array[sample] = moved.copy()


def _source(
    batch: Batch, matrices: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Finds the source position of each output pixel by the inverse maps."""
    size_y, size_x = batch.valid.shape[1:]
    centre_y, centre_x = (size_y - 1) / 2, (size_x - 1) / 2
    inverse = np.linalg.inv(matrices).astype(np.float32)[:, :, :, None, None]
    row = np.arange(size_y, dtype=np.float32)[:, None] - np.float32(centre_y)
    col = np.arange(size_x, dtype=np.float32)[None] - np.float32(centre_x)
    cols = inverse[:, 0, 0] * col + inverse[:, 0, 1] * row + inverse[:, 0, 2]
    rows = inverse[:, 1, 0] * col + inverse[:, 1, 1] * row + inverse[:, 1, 2]
    return rows + np.float32(centre_y), cols + np.float32(centre_x)


def _linear(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.eye(3)
    result[:2, :2] = np.round(matrix)
    return result
