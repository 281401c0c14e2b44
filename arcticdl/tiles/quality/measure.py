"""What is measured of each tile while its scene is scanned."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from arcticdl.derived.gaps import GAP
from arcticdl.scene.contract import copy_pixels
from arcticdl.scene.stats import BandStats

OUTLIER_Z = 10.0
"""Robust z beyond which a pixel is an outlier: median and interquartile range of the
scene; a normal distribution has one in 10**23 of these."""

MEASURES = {
    "nonfinite_fraction": "share of pixels that are NaN or infinite in some band",
    "outlier_fraction": "share of valid pixels beyond OUTLIER_Z in some band",
    "saturated_fraction": "share of valid pixels at their scene's least or greatest "
    "value in some band, where that value is a ledge",
    "constant_bands": "bands that do not vary within the tile",
    "label_on_nodata": "scored pixels of any label where the image is invalid",
    "image_key": "hash of the image's bytes: equal for equal images",
    "phash": "perceptual hash: nearly equal for nearly equal images",
}
"""Columns of the manifest, and what they say."""

_CELLS = 9
_IQR_OF_NORMAL = 1.3489795003921634


def measure_tile(
    image: np.ndarray,
    valid: np.ndarray,
    scored: Sequence[np.ndarray],
    stats: BandStats,
) -> dict[str, Any]:
    """Measures a tile.

    Args:
        image: (y, x, band) inside the scene.
        valid: (y, x) booleans.
        scored: Of each label of pixels: (y, x) booleans, where it is not void.
        stats: Of the whole scene.

    Returns:
        One value for each of `MEASURES`, of JSON types.
    """
    # One band after the other, since each is gone through several times.
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    image = _in_order(image)
    pixels, filled = image.reshape(-1, len(planes)), bool(valid.all())
    low, high = _ends(planes.reshape(len(planes), -1))
    usable, nonfinite = None, 0.0
    # Ends that are finite are those of pixels that all are.
    if not (filled and np.isfinite(low).all() and np.isfinite(high).all()):
        usable, nonfinite = _usable(planes, valid)
        pixels = pixels[usable.reshape(-1)]
        low, high = _ends(pixels.T)
    count = max(len(pixels), 1)
    on_void = 0 if filled else sum(int(label[~valid].sum()) for label in scored)
    return {
        "nonfinite_fraction": nonfinite,
        "outlier_fraction": _outliers(pixels, low, high, stats) / count,
        "saturated_fraction": _saturated(pixels, low, high, stats) / count,
        "constant_bands": int(np.sum((low == high) & is_measured(stats.bands)))
        if len(pixels) > 1
        else 0,
        "label_on_nodata": on_void,
        "image_key": _image_key(image, valid),
        "phash": perceptual_hash(planes.transpose(1, 2, 0), usable, stats),
    }


def is_measured(bands: Sequence[str]) -> np.ndarray:
    """Which bands may be faulty: all but that of the gaps, which is 0 or 1 by rule.

    Example:
        >>> is_measured(["B03", "gap"]).tolist()
        [True, False]
    """
    return np.array([band != GAP for band in bands])


def _in_order(image: np.ndarray) -> np.ndarray:
    """The image with its pixels one after the other in memory."""
    if image.flags.c_contiguous:
        return image
    ordered = np.empty(image.shape, image.dtype)
    copy_pixels(image, ordered)
    return ordered


def _usable(planes: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, float]:
    """Which pixels are valid and finite, and the share that is not finite."""
    if planes.dtype.kind != "f":
        return valid, 0.0
    finite = np.isfinite(planes).all(0)
    return valid & finite, float(1 - finite.mean())


def _ends(bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each band; 0 where there is no pixel."""
    if not bands.shape[1]:
        nothing = np.zeros(len(bands))
        return nothing, nothing
    # Band by band: along the short axis NumPy takes ten times as long.
    ends = [(band.min(), band.max()) for band in bands]
    low, high = np.array(ends, bands.dtype).T
    return low, high


def perceptual_hash(
    image: np.ndarray, usable: np.ndarray | None, stats: BandStats
) -> str:
    """Hashes what a tile looks like: 128 bits as hexadecimal text.

    A difference hash (Krawetz 2013, "Kind of like that") of the mean of the
    standardised bands on 9 x 9 cells. A bit is set where the next cell is brighter by
    more than chance allows (three standard errors), so that a tile without structure
    has no bit, and `twins.near_duplicates` does not compare it.

    Args:
        image: (y, x, band).
        usable: (y, x) booleans; ``None``: every pixel is.
        stats: Of the whole scene.
    """
    height, width = (side // _CELLS for side in image.shape[:2])
    if not height or not width:
        return "0" * 32
    scale = np.where(stats.std > 0, stats.std, 1)
    scale = np.where(np.isfinite(scale), scale, 1) * image.shape[-1]
    grey: Any = np.float32(0)
    for band, (mean, spread) in enumerate(zip(stats.mean, scale, strict=True)):
        centred = np.subtract(image[..., band], mean, dtype="float32", casting="unsafe")
        centred *= np.float32(1 / spread)
        grey = np.add(grey, centred, out=centred)
    if usable is not None:
        grey[~usable] = 0
    size = height * width
    # Rows first and then columns: every cell is summed in the same order.
    inner = grey[: height * _CELLS, : width * _CELLS].astype("float64")
    rows = inner.reshape(_CELLS, height, _CELLS * width).sum(1)
    cells = rows.reshape(_CELLS, _CELLS, width).sum(2) / size
    squares = np.einsum("yx,yx->", inner, inner)
    within = max(float(squares / (cells.size * size) - np.mean(cells**2)), 0.0)
    noise = 3 * np.sqrt(2 * within / size)
    across = np.diff(cells, axis=1)[:8] > noise
    down = np.diff(cells, axis=0)[:, :8] > noise
    return np.packbits(np.stack([across, down])).tobytes().hex()


def _outliers(pixels: np.ndarray, low: Any, high: Any, stats: BandStats) -> int:
    spread = (stats.percentiles[75] - stats.percentiles[25]) / _IQR_OF_NORMAL
    spread = np.where((spread > 0) & is_measured(stats.bands), spread, np.inf)
    reach = OUTLIER_Z * spread
    floor, roof = stats.percentiles[50] - reach, stats.percentiles[50] + reach
    if not len(pixels) or not ((low < floor) | (high > roof)).any():
        return 0
    return int(((pixels < floor) | (pixels > roof)).any(-1).sum())


def _saturated(pixels: np.ndarray, low: Any, high: Any, stats: BandStats) -> int:
    """Pixels at an end of the scene's range where 1 % or more of the scene lies."""
    varied = (stats.max > stats.min) & is_measured(stats.bands)
    at_roof = (stats.percentiles[99] == stats.max) & varied
    at_floor = (stats.percentiles[1] == stats.min) & varied
    if (
        not len(pixels)
        or not (at_roof & (high == stats.max)).any()
        | (at_floor & (low == stats.min)).any()
    ):
        return 0
    roof = (pixels == stats.max) & at_roof
    floor = (pixels == stats.min) & at_floor
    return int((roof | floor).any(-1).sum())


def _image_key(image: np.ndarray, valid: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(image.data)
    digest.update(np.ascontiguousarray(valid).data)
    return digest.hexdigest()
