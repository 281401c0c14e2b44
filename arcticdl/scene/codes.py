"""Counting the codes of a label."""

import numpy as np

from arcticdl.void import VOID_CLASS

_FEW = 8
"""Codes that are looked for one by one, which takes a tenth of `np.bincount`'s time."""

_AT_ONCE = 1 << 17
"""Codes that are gone through at a time, so that they stay in the cache."""


def count_codes(codes: np.ndarray) -> np.ndarray:
    """Counts how often each code occurs.

    The lowest codes and void are looked for one by one; only where others are left are
    all counted by `np.bincount`.

    Args:
        codes: uint8 of any shape.

    Returns:
        (256,) int64.

    Example:
        >>> count_codes(np.array([0, 2, 2], "uint8"))[:4].tolist()
        [1, 0, 2, 0]
    """
    flat, counts = codes.ravel(), np.zeros(256, "int64")
    for start in range(0, len(flat), _AT_ONCE):
        counts += _count(flat[start : start + _AT_ONCE])
    return counts


def _count(codes: np.ndarray) -> np.ndarray:
    counts = np.zeros(256, "int64")
    left = len(codes)
    for code in (0, VOID_CLASS, *range(1, _FEW)):
        counts[code] = np.count_nonzero(codes == code)
        left -= counts[code]
        if not left:
            return counts
    return np.bincount(codes, minlength=256)
