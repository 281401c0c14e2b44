"""Loss of sharpness and of data: blur, missing bands, sensors and patches."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import (
    Batch,
    BoolArray,
    FloatArray,
    Interval,
    check_interval,
    check_p,
)
from arcticdl.augment.radiometry import Bands, change_bands, pick_bands, valid_moments


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Smooths with a Gaussian over the valid pixels alone.

    Attributes:
        sigma_px: ``[low, high]`` in pixels.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    sigma_px: Interval = (0.3, 1.5)
    bands: Bands = None
    p: float = 0.3

    def __post_init__(self) -> None:
        check_p(self.p)
        interval = check_interval("sigma_px", self.sigma_px, 0)
        object.__setattr__(self, "sigma_px", interval)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch blurred."""
        part = pick_bands(batch, self.bands)
        sigmas = rng.uniform(*self.sigma_px, len(part))
        blurred = [
            blur_valid(image, valid, sigma)
            for image, valid, sigma in zip(part.image, part.valid, sigmas, strict=True)
        ]
        return change_bands(batch, self.bands, np.stack(blurred))


def blur_valid(image: FloatArray, valid: NDArray[np.bool_], sigma: float) -> FloatArray:
    """Smooths an image with weights of 0 on invalid pixels, which stay as they are.

    Args:
        image: float32 ``(y, x, band)``.
        valid: Boolean ``(y, x)``.
        sigma: Standard deviation of the Gaussian in pixels.

    Returns:
        float32 ``(y, x, band)``.
    """
    if valid.all():
        return _smoothed(image, sigma)
    filled = np.where(valid[..., None], image, np.float32(0))
    weight = _smoothed(valid.astype(np.float32)[..., None], sigma)
    smooth = _smoothed(filled, sigma) / np.maximum(weight, 1e-6)
    return np.where(valid[..., None], smooth, image)


def _smoothed(image: FloatArray, sigma: float) -> FloatArray:
    """A Gaussian out to four standard deviations, mirrored at the edges."""
    width = 2 * int(4 * sigma + 0.5) + 1
    if width == 1:
        return image
    edge = cv2.BORDER_REFLECT
    smooth = cv2.GaussianBlur(image, (width, width), sigma, borderType=edge)
    return np.asarray(smooth, np.float32).reshape(image.shape)


@dataclass(frozen=True, kw_only=True)
class BandDropout:
    """Replaces some bands by a constant, as if they had not been measured.

    Attributes:
        max_bands: Number of bands dropped: one to `max_bands`, never all of them.
        fill: ``"mean"``: the sample's mean of the band, or a number, such as the
            training mean, which the normaliser turns into 0.
        bands: Bands that may be dropped; ``None``: all.
        p: Probability for each sample.
    """

    max_bands: int = 1
    fill: float | str = "mean"
    bands: Bands = None
    p: float = 0.2

    def __post_init__(self) -> None:
        check_p(self.p)
        check_fill(self.fill)
        if self.max_bands < 1:
            raise ValueError(
                f"`max_bands` must be at least 1. Received: {self.max_bands}."
            )

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with bands dropped."""
        num_bands = batch.image.shape[-1]
        choice = np.arange(num_bands) if self.bands is None else np.array(self.bands)
        most = min(self.max_bands, len(choice), num_bands - 1)
        fill = fill_values(batch, self.fill)
        for sample in range(len(batch) if most else 0):
            count = int(rng.integers(1, most + 1))
            dropped = rng.choice(choice, count, replace=False)
            batch.image[sample][..., dropped] = fill[sample][..., dropped]
        return batch


@dataclass(frozen=True, kw_only=True)
class SensorDropout:
    """Drops all bands of one sensor together, in the whole image or in a strip.

    A strip ends at one of the image's sides, as the swath of the sensor would. Labels
    stay: other sensors still see the surface.

    Attributes:
        bands: The sensor's bands.
        share: Share of the image that is lost, ``[low, high]``; 1: all of it.
        fill: As in `BandDropout`.
        p: Probability for each sample.
    """

    bands: Bands = None
    share: Interval = (1.0, 1.0)
    fill: float | str = "mean"
    p: float = 0.2

    def __post_init__(self) -> None:
        check_p(self.p)
        check_fill(self.fill)
        object.__setattr__(self, "share", check_interval("share", self.share, 0, 1))

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with the sensor's bands lost."""
        part = pick_bands(batch, self.bands)
        fill = fill_values(part, self.fill)
        size_y, size_x = batch.valid.shape[1:]
        row, col = np.mgrid[:size_y, :size_x]
        # Distance from each of the four sides, as a share of the image.
        ramps = np.stack(
            [row / size_y, 1 - (row + 1) / size_y, col / size_x, 1 - (col + 1) / size_x]
        )
        side = rng.integers(0, 4, len(batch))
        share = rng.uniform(*self.share, len(batch))
        lost = ramps[side] < share[:, None, None]
        image = np.where(lost[..., None], fill, part.image)
        return change_bands(batch, self.bands, image)


@dataclass(frozen=True, kw_only=True)
class HidePatches:
    """Hides patches of the image in all bands, and voids quantities everywhere else.

    With a label that is the image itself (``band: [HH, HV]``) a network learns to tell
    from what it sees what it does not: masked image modelling, as a pretraining that
    needs no labels (SimMIM, Xie et al. 2022, doi:10.1109/CVPR52688.2022.00943). What is
    shown is void in the labels, so that it is not scored; invalid pixels stay void.

    Attributes:
        patch_px: Side of a patch in pixels, from the first row and column on.
        share: Share of the patches that are hidden, above 0 and below 1. At least one
            is, and one is shown.
        fill: As in `BandDropout`.
        p: Probability for each sample. One that is not chosen is shown whole, and is
            learnt from as it is.
    """

    patch_px: int = 16
    share: float = 0.6
    fill: float | str = "mean"
    p: float = 1.0

    def __post_init__(self) -> None:
        check_p(self.p)
        check_fill(self.fill)
        if self.patch_px < 1 or not 0 < self.share < 1:
            raise ValueError(
                "`patch_px` must be at least 1, and `share` above 0 and below 1: of an "
                "image that is hidden or shown as a whole nothing is learnt. Received: "
                f"patch_px={self.patch_px}, share={self.share}."
            )

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with patches hidden."""
        fill = fill_values(batch, self.fill)
        for sample in range(len(batch)):
            hidden = self._draw(batch.valid.shape[1:], rng)
            batch.image[sample][hidden & batch.valid[sample]] = fill[sample, 0, 0]
            for label in batch.labels.values():
                if label.dtype.kind == "f" and label.ndim > 2:  # of pixels
                    label[sample][~hidden] = np.nan
        return batch

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> BoolArray:
        rows, columns = (-(-size // self.patch_px) for size in shape)
        if rows * columns < 2:
            raise ValueError(
                "`hide_patches` needs an image of at least two patches. Received: "
                f"{shape[0]} x {shape[1]} px, patch_px={self.patch_px}."
            )
        count = min(max(round(self.share * rows * columns), 1), rows * columns - 1)
        hidden = np.zeros(rows * columns, bool)
        hidden[rng.permutation(rows * columns)[:count]] = True
        patches = hidden.reshape(rows, columns)
        whole = patches.repeat(self.patch_px, 0).repeat(self.patch_px, 1)
        return whole[: shape[0], : shape[1]]


def fill_values(batch: Batch, fill: float | str) -> FloatArray:
    """Returns what stands for missing bands.

    Args:
        batch: The batch with the bands that are to be replaced.
        fill: ``"mean"`` of the valid pixels of each sample, or a number.

    Returns:
        float32 ``(sample, 1, 1, band)``.
    """
    if fill == "mean":
        return valid_moments(batch)[0]
    shape = (len(batch), 1, 1, batch.image.shape[-1])
    return np.full(shape, fill, np.float32)


def check_fill(fill: float | str) -> None:
    """Refuses a filling that is neither ``"mean"`` nor a number.

    Args:
        fill: The filling.

    Raises:
        ValueError: `fill` is neither.
    """
    if fill != "mean" and (isinstance(fill, str) or not np.isfinite(fill)):
        raise ValueError(f"`fill` must be 'mean' or a number. Received: fill={fill!r}.")
