"""How one scene is resampled onto a grid: by copies, block means or samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from arcticdl.choices import check_choice
from arcticdl.errors import SceneError
from arcticdl.grid.positions import (
    GridPlacement,
    LonLatPlacement,
    Placement,
    whole_shift,
)
from arcticdl.grid.reduce import BlockMean, ScaledPlacement, ShiftedCopy, ShiftedLabel
from arcticdl.grid.sample import KERNELS, ClassSampler, PointSampler
from arcticdl.grid.swath import SwathPlacement
from arcticdl.scene import is_swath, scene_geobox
from arcticdl.sources.core.lazy import WindowArray

LABEL_RULES = ("auto", "majority", "nearest")
"""How labels are resampled; ``"auto"``: majority where the target is coarser."""

COARSE_RATIO = 2.0
"""From this many source pixels a side on, a target pixel holds their mean."""

_FINE_RATIO = 4  # source pixels a side that are left after whole blocks are averaged
_MAX_POINTS = 16  # a side: 256 samples of a pixel; a mean of more costs and adds little
_LEAST_VOTES = 3  # a side: fewer let a corner of a pixel decide on all of it


@dataclass(frozen=True)
class Resampling:
    """What is asked of a resampler.

    Attributes:
        kernel: Interpolation of continuous bands, out of ``KERNELS``.
        label_rule: One of ``LABEL_RULES``.
        min_valid_fraction: Weight of source pixels that must be valid, above 0 to 1.
    """

    kernel: str
    label_rule: str = "auto"
    min_valid_fraction: float = 1.0

    def __post_init__(self) -> None:
        check_choice("resampling", self.kernel, KERNELS)
        check_choice("label_resampling", self.label_rule, LABEL_RULES)
        if not 0.0 < self.min_valid_fraction <= 1.0:
            raise ValueError(
                "`min_valid_fraction` must be above 0 and at most 1. "
                f"Received: min_valid_fraction={self.min_valid_fraction}."
            )


class Resampler:
    """Chooses how one scene is resampled onto a grid, and makes the readers."""

    def __init__(self, scene: xr.Dataset, target: GeoBox, options: Resampling) -> None:
        self.options = options
        source = scene_geobox(scene)
        self.shift = None if source is None else whole_shift(source, target)
        if self.shift is None:
            self.place = _placement(scene, source, target)

    @property
    def keeps_values(self) -> bool:
        """Whether pixels are only picked, and none of them is averaged."""
        return self.shift is not None or self.options.kernel == "nearest"

    def continuous(self, image: xr.Variable, valid: xr.Variable | None) -> Any:
        """A reader of continuous bands on the grid."""
        if self.shift is not None:
            return ShiftedCopy(image, valid, self.shift)
        place, dtype = self.place, image.dtype
        points = 1
        if place.ratio >= COARSE_RATIO and not self.keeps_values:
            # Whole blocks are averaged first, down to a few pixels a side: a sum over
            # contiguous pixels costs a fraction of as many interpolated samples.
            factor = int(place.ratio // _FINE_RATIO)
            if factor > 1 and place.period is None:
                image, valid = _block_means(image, valid, factor)
                place = ScaledPlacement(place, factor)
            points = min(_MAX_POINTS, int(np.ceil(place.ratio)))
        return PointSampler(
            image,
            valid,
            place,
            kernel=self.options.kernel,
            points=points,
            min_valid_fraction=self.options.min_valid_fraction,
            dtype=dtype,
        )

    def nearest(self, image: xr.Variable, valid: xr.Variable | None) -> Any:
        """A reader of channels that are never averaged, whatever the options say."""
        if self.shift is not None:
            return ShiftedCopy(image, valid, self.shift)
        return PointSampler(image, valid, self.place, kernel="nearest")

    def classes(self, label: xr.Variable) -> Any:
        """A reader of an integer label on the grid."""
        if self.shift is not None:
            return ShiftedLabel(label, self.shift)
        points = 1
        rule, coarse = self.options.label_rule, self.place.ratio >= COARSE_RATIO
        if rule == "majority" or (rule == "auto" and coarse):
            points = min(_MAX_POINTS, max(_LEAST_VOTES, int(np.ceil(self.place.ratio))))
        return ClassSampler(label, self.place, points)


def _placement(scene: xr.Dataset, source: GeoBox | None, target: GeoBox) -> Placement:
    if source is None:
        if not is_swath(scene):
            raise SceneError(
                f"Scene {scene.attrs.get('scene_id')!r} has no position on the Earth, "
                "so that it cannot be aligned."
            )
        return SwathPlacement(scene, target)
    if source.crs is not None and source.crs.geographic:
        return LonLatPlacement(source, target)
    return GridPlacement(source, target)


def _block_means(
    image: xr.Variable, valid: xr.Variable | None, factor: int
) -> tuple[xr.Variable, xr.Variable]:
    """Lazy means of blocks, and the valid share of each."""
    mean = BlockMean(image, valid, factor)
    lazy = WindowArray((len(image), *mean.shape), mean.dtype, mean.read)
    weight = WindowArray(mean.shape, "float32", mean.read_weight)
    return lazy.variable(("band", "y", "x")), weight.variable(("y", "x"))
