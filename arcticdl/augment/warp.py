"""Movements that no matrix describes: elastic deformation."""

from dataclasses import dataclass

import numpy as np

from arcticdl.augment.batch import Batch, Interval, check_interval, check_p
from arcticdl.augment.noise_field import smoothed_noise
from arcticdl.augment.resample import resample


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
        shift += np.indices(batch.valid.shape[1:])[:, None]
        rows, cols = shift.astype(np.float32, copy=False)
        source = batch.copy()
        for sample in range(len(batch)):
            resample(source, batch, sample, (cols[sample], rows[sample]))
        return batch
