"""Gaps made visible: what bands do not show becomes NaN, and a band says where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

from arcticdl.choices import check_choice, check_names
from arcticdl.derived.add import append_layers, with_valid, with_validity
from arcticdl.derived.source import Layer, Read
from arcticdl.scene import check_scene
from arcticdl.sources.core.lazy import WindowArray

GAP = "gap"
"""Name of the band that is 1 in gaps and 0 elsewhere."""

REACH_PX = 32
"""How far from what was observed a gap is still filled, unless told."""


def mark_gaps(
    scene: xr.Dataset,
    bands: Sequence[str],
    *,
    reach_px: int = REACH_PX,
    hidden: Read | None = None,
) -> xr.Dataset:
    """Tells a network where bands have gaps, such as under clouds.

    Pixels that are not valid are gaps. They become valid, so that they are answered
    for, as far as something was observed nearby; what lies deeper stays void. Nothing
    is computed until a window is read.

    Args:
        scene: A Scene.
        bands: The bands that have gaps; they are NaN there. Others, of sensors that see
            through clouds, stay as they are.
        reach_px: Distance from the nearest observed pixel up to which a gap is valid,
            at least 1.
        hidden: Reads a window ``(y, x)`` of pixels that are to be gaps as well.

    Returns:
        The scene with a further band ``gap``, float32: 1 in gaps, 0 where the bands
        were observed.

    Raises:
        ValueError: `reach_px` below 1, or a band that the scene lacks.
        SceneError: The scene has a band ``gap`` already.

    Example:
        >>> image = (("band", "y", "x"), np.float32([[[0.2, np.nan, 0.4, np.nan]]]))
        >>> scene = xr.Dataset(
        ...     {"image": image, "valid": (("y", "x"), [[True, False, True, False]])},
        ...     {"band": ["B08"], "y": [0.5], "x": [0.5, 1.5, 2.5, 3.5]},
        ...     {"georeferenced": False})
        >>> found = mark_gaps(scene, ["B08"])
        >>> found["image"].sel(band="gap").values.tolist(), found["valid"].all().item()
        ([[0.0, 1.0, 0.0, 1.0]], True)
    """
    check_names(bands=bands)
    if reach_px < 1:
        raise ValueError(f"`reach_px` must be at least 1. Received: {reach_px}.")
    scene = with_valid(check_scene(scene))
    names = [str(band) for band in scene["band"].values]
    for band in bands:
        check_choice("bands", band, names)
    observed = _Observed(scene["valid"].variable, hidden)
    image = scene["image"].variable
    masked = _Masked(image, observed, frozenset(names.index(b) for b in bands))
    dtype = np.result_type(image.dtype, "float32")
    lazy = WindowArray(image.shape, dtype, masked.read)
    hiding = lazy.variable(("band", "y", "x"), image.attrs, image.encoding)
    result = scene.assign(image=hiding)
    result.set_close(scene.close)
    result = append_layers(result, [Layer(GAP, "1", observed.gap)])
    return with_validity(result, _Near(observed, image.shape[1:], reach_px).read)


@dataclass(frozen=True)
class _Observed:
    """Reads which pixels were observed, and are not hidden."""

    valid: xr.Variable
    hidden: Read | None

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        seen = np.asarray(self.valid[rows, cols].values, bool)
        return seen if self.hidden is None else seen & ~self.hidden(rows, cols)

    def gap(self, rows: slice, cols: slice) -> np.ndarray:
        return (~self.read(rows, cols)).astype(np.float32)


@dataclass(frozen=True)
class _Masked:
    """Reads bands, some of them NaN in gaps."""

    image: xr.Variable
    observed: _Observed
    places: frozenset[int]

    def read(self, bands: list[int], rows: slice, cols: slice) -> np.ndarray:
        values = self.image[bands, rows, cols].values
        values = values.astype(np.result_type(values.dtype, "float32"))
        seen = self.observed.read(rows, cols)
        for k, band in enumerate(bands):
            if band in self.places:
                values[k][~seen] = np.nan
        return values


@dataclass(frozen=True)
class _Near:
    """Reads where something was observed within reach, the same by any window."""

    observed: _Observed
    shape: tuple[int, ...]
    reach_px: int

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        wide = [
            slice(max(part.start - self.reach_px, 0), part.stop + self.reach_px)
            for part in (rows, cols)
        ]
        ends = zip(wide, self.shape, strict=True)
        wide = [slice(part.start, min(part.stop, size)) for part, size in ends]
        seen = self.observed.read(*wide)
        if not seen.any():
            return np.zeros((rows.stop - rows.start, cols.stop - cols.start), bool)
        near = ndimage.distance_transform_edt(~seen) <= self.reach_px
        parts = zip((rows, cols), wide, strict=True)
        found: np.ndarray = near[
            tuple(slice(p.start - w.start, p.stop - w.start) for p, w in parts)
        ]
        return found
