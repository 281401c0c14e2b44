"""Geometry: where pixels go. Flips and quarter turns are exact, the rest resamples.

Each step says how it maps offsets from the image centre, ``(column, row)``, forwards;
a policy multiplies consecutive steps together and resamples once, since every
resampling blurs: see `motion`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import Interval, check_interval, check_p, draw

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
        turns = rng.integers(1, 4, num_samples) if square else np.full(num_samples, 2)
        maps = [_linear(np.linalg.matrix_power(_TURN, k)) for k in range(4)]
        return np.stack(maps)[turns]  # of no sample too: a batch may have none chosen


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


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Cuts a window of `size_px` out of every sample, at a place of its own.

    By itself it resamples nothing. Movements before and after it are made one with it,
    so that pixels are read in the window alone. All samples of a batch must keep one
    shape, so this step has no probability.

    Attributes:
        size_px: Rows and columns of the window, or one number for both.
        p: Always 1.
    """

    size_px: int | tuple[int, int]
    p: float = 1.0

    def __post_init__(self) -> None:
        size = self.size_px
        pair = (size, size) if isinstance(size, int) else tuple(size)
        if len(pair) != 2 or min(pair) < 1 or self.p != 1:
            raise ValueError(
                "`size_px` must be a number of pixels or [rows, columns], and `p` 1, "
                "since a batch has one shape. "
                f"Received: size_px={size!r}, p={self.p}."
            )
        object.__setattr__(self, "size_px", pair)

    def matrices(
        self, num_samples: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Returns the forward maps ``(sample, 3, 3)``, to offsets from the windows.

        Raises:
            ValueError: The window is larger than the tiles.
        """
        size = np.array(self.size_px)
        room = np.array(shape) - size
        if room.min() < 0:
            raise ValueError(
                "`size_px` of crop must fit into the tile. "
                f"Received: size_px={self.size_px}, tile {shape}."
            )
        corners = rng.integers(0, room + 1, (num_samples, 2))
        maps = np.tile(np.eye(3), (num_samples, 1, 1))
        maps[:, :2, 2] = (room / 2 - corners)[:, ::-1]
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


Movement = HFlip | VFlip | QuarterTurn | Affine | ResizedCrop | Crop


def _linear(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.eye(3)
    result[:2, :2] = np.round(matrix)
    return result
