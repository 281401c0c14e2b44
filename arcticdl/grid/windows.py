"""Windows of an array, cut into blocks."""


def window_shape(rows: slice, cols: slice) -> tuple[int, int]:
    """Rows and columns of a window."""
    return rows.stop - rows.start, cols.stop - cols.start


def window_blocks(rows: slice, cols: slice, size: int) -> list[tuple[slice, slice]]:
    """A window in blocks of at most ``size`` pixels a side.

    Example:
        >>> window_blocks(slice(0, 3), slice(5, 7), 2)[-1]
        (slice(2, 3, None), slice(5, 7, None))
    """
    return [
        (slice(r, min(r + size, rows.stop)), slice(c, min(c + size, cols.stop)))
        for r in range(rows.start, rows.stop, size)
        for c in range(cols.start, cols.stop, size)
    ]


def within_window(
    part: tuple[slice, slice], rows: slice, cols: slice
) -> tuple[slice, slice]:
    """Where a block lies in an array that holds the window.

    Example:
        >>> within_window((slice(4, 6), slice(7, 9)), slice(3, 8), slice(7, 12))
        (slice(1, 3, None), slice(0, 2, None))
    """
    return (
        slice(part[0].start - rows.start, part[0].stop - rows.start),
        slice(part[1].start - cols.start, part[1].stop - cols.start),
    )
