"""Masks: which pixels are void because of clouds, or of a sun too low."""

from functools import partial

import numpy as np

from arcticdl.derived.source import Read, Source
from arcticdl.derived.sun import elevation_reader
from arcticdl.errors import SceneError

SCL_CLOUD_CLASSES = (3, 8, 9, 10)
"""Sentinel-2 SCL: cloud shadow, cloud of medium and high probability, thin cirrus."""

QA_CLOUD_BITS = (1, 2, 3, 4)
"""Landsat Collection 2 QA_PIXEL: dilated cloud, cirrus, cloud, cloud shadow."""


def cloud(source: Source) -> Read:
    """Where a band of classes or of bits says that clouds or their shadows are."""
    (band,) = source.option("of")
    classes, bits = source.option("classes"), source.option("bits")
    if classes is None and bits is None:
        classes = SCL_CLOUD_CLASSES if "SCL" in band.upper() else None
        bits = QA_CLOUD_BITS if "QA_PIXEL" in band.upper() else None
    if (classes is None) == (bits is None):
        raise SceneError(
            "`cloud` needs `classes`, the codes to void, or `bits`, counted from 0; a "
            "band called SCL or QA_PIXEL has its own. Received: "
            f"{'both' if classes is not None else 'neither'} for band {band!r}."
        )
    read = partial(_codes, source.reader(band), band)
    if classes is not None:
        return partial(_among, read, tuple(classes))
    if any(bit < 0 for bit in bits or ()):
        raise SceneError(f"`bits` are counted from 0. Received: bits={list(bits)}.")
    return partial(_with_bits, read, sum(1 << bit for bit in set(bits or ())))


def min_sun_elevation(source: Source) -> Read:
    """Where the sun stands lower than so many degrees."""
    least = float(source.option("degrees"))
    return partial(_below, elevation_reader(source), least)


def _codes(read: Read, band: str, rows: slice, cols: slice) -> np.ndarray:
    """Reads codes or bits; NaN where they are invalid.

    Raises:
        SceneError: Numbers between codes, which interpolation makes.
    """
    found = read(rows, cols)
    between = np.isfinite(found) & (found != np.rint(found))
    if between.any():
        raise SceneError(
            f"Band {band!r} must hold whole codes to tell clouds by. Received: "
            f"{found[between][0]:g}, as between two of them; bring the band onto the "
            "grid with `resampling: nearest`."
        )
    return found


def _among(
    read: Read, classes: tuple[int, ...], rows: slice, cols: slice
) -> np.ndarray:
    return np.isin(read(rows, cols), classes)


def _with_bits(read: Read, bits: int, rows: slice, cols: slice) -> np.ndarray:
    codes = np.nan_to_num(read(rows, cols)).astype(np.int64)
    return (codes & bits) != 0


def _below(read: Read, least: float, rows: slice, cols: slice) -> np.ndarray:
    return ~(read(rows, cols) >= least)
