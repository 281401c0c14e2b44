"""Pairs counted before they are made, so that memory holds few of many."""

from collections.abc import Iterator

import numpy as np

_AT_ONCE = 1 << 21


def shares(sizes: np.ndarray) -> Iterator[slice]:
    """Cuts a row into spans whose sizes add up to little enough to be held.

    Args:
        sizes: (row,) what each brings, such as its pairs.

    Yields:
        Spans that follow each other; one that is too large by itself is alone.
    """
    done, start, total = np.cumsum(sizes), 0, 0
    while start < len(sizes):
        room = np.searchsorted(done, total + _AT_ONCE, side="right")
        stop = max(int(room), start + 1)
        yield slice(start, stop)
        start, total = stop, int(done[stop - 1])


def expand(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Repeats each row as often as it is told, and numbers its repetitions.

    Args:
        sizes: (row,) int64, at least 0.

    Returns:
        (pair,) int64 each: the row, and its repetition from 0.

    Example:
        >>> row, step = expand(np.array([2, 0, 3]))
        >>> row.tolist(), step.tolist()
        ([0, 0, 2, 2, 2], [0, 1, 0, 1, 2])
    """
    row = np.repeat(np.arange(len(sizes)), sizes)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
