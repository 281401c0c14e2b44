"""Movements that no matrix describes: crops and elastic deformation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import Batch, Interval, check_interval, check_p
from arcticdl.augment.noise_field import smoothed_noise
from arcticdl.augment.resample import resample


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Cuts a window of `size_px` out of every sample, at a place of its own.

    No pixel is resampled. All samples of a batch must keep one shape, so this step has
    no probability.

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

    def apply_all(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the windows.

        Raises:
            ValueError: The window is larger than the tiles.
        """
        size = (batch.valid.shape[1], batch.valid.shape[2])
        return self.cut(batch, self.draw_corners(len(batch), size, rng))

    def draw_corners(
        self, num_samples: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draws the first row and column of each window: ``(sample, 2)``.

        Raises:
            ValueError: The window is larger than the tiles.
        """
        rows, cols = self.size_px  # type: ignore[misc]
        size_y, size_x = shape
        if rows > size_y or cols > size_x:
            raise ValueError(
                "`size_px` of crop must fit into the tile. "
                f"Received: size_px={self.size_px}, tile ({size_y}, {size_x})."
            )
        top = rng.integers(0, size_y - rows + 1, num_samples)
        left = rng.integers(0, size_x - cols + 1, num_samples)
        return np.stack([top, left], axis=1)

    def cut(self, batch: Batch, corners: NDArray[np.int64]) -> Batch:
        """Returns the windows at given corners."""
        rows, cols = self.size_px  # type: ignore[misc]

        def cut(array: NDArray) -> NDArray:
            windows = [
                array[i, t : t + rows, c : c + cols] for i, (t, c) in enumerate(corners)
            ]
            return np.stack(windows)

        labels = {name: cut(label) for name, label in batch.labels.items()}
        return Batch(cut(batch.image), labels, cut(batch.valid))


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """Bends the image by a smooth random displacement (Simard et al. 2003).

    Vectors keep their direction: the bend is small against the image.

    Attributes:
        amplitude_px: Root mean square displacement, ``[low, high]``.
        smooth_px: Standard deviation of the Gaussian that smooths the displacement; at
            least twice the amplitude, so that the image does not fold over.
        p: Probability for each sample.
    """

    amplitude_px: Interval = (1.0, 4.0)
    smooth_px: float = 16.0
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        amplitude = check_interval("amplitude_px", self.amplitude_px, 0)
        if not self.smooth_px >= max(1.0, 2 * amplitude[1]):
            raise ValueError(
                "`smooth_px` must be at least 1 and twice `amplitude_px`, or the image "
                f"folds over. Received: smooth_px={self.smooth_px}, "
                f"amplitude_px={self.amplitude_px}."
            )
        object.__setattr__(self, "amplitude_px", amplitude)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch bent."""
        shift = smoothed_noise((2, *batch.valid.shape), self.smooth_px, rng)
        rms = np.sqrt((shift**2).mean((0, 2, 3), keepdims=True) * 2)
        amplitude = rng.uniform(*self.amplitude_px, len(batch)).astype(np.float32)
        shift *= amplitude[:, None, None] / np.maximum(rms, 1e-12)
        rows, cols = np.indices(batch.valid.shape[1:], dtype=np.float32)
        return resample(batch, rows + shift[0], cols + shift[1])
