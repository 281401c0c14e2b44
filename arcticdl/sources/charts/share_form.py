"""Labels of shares as readers of charts make them: lazy, from a table of polygons."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import xarray as xr

from arcticdl.scene import CHANNEL
from arcticdl.scene.shares import share_attributes
from arcticdl.seaice import labels
from arcticdl.seaice.charts import Egg
from arcticdl.seaice.schemes import ClassScheme
from arcticdl.sources.core.lazy import WindowArray


def share_variable(
    shape: tuple[int, int],
    number: Callable[[slice, slice], np.ndarray],
    table: np.ndarray,
    name: str,
    named: tuple[Sequence[str], Sequence[str]],
) -> xr.Variable:
    """A lazy label of shares, float32 (NAME_channel, y, x).

    Args:
        shape: Rows and columns.
        number: Row of `table` at each pixel of a window.
        table: From ``scene.share_table``.
        name: Of the label.
        named: Names of the classes, and their colours.
    """
    read = partial(_read, number, table)
    lazy = WindowArray((table.shape[1], *shape), np.dtype("float32"), read)
    dims = (f"{name}_{CHANNEL}", "y", "x")
    return lazy.variable(dims, share_attributes(*named))


def _read(
    number: Callable[[slice, slice], np.ndarray],
    table: np.ndarray,
    channels: list[int],
    rows: slice,
    cols: slice,
) -> np.ndarray:
    place = number(rows, cols)
    return np.stack([table[:, channel][place] for channel in channels])


def chart_shares(eggs: Sequence[Egg], scheme: ClassScheme) -> np.ndarray:
    """What each class covers of charted polygons.

    Args:
        eggs: Egg codes.
        scheme: Over stage or form.

    Returns:
        float64 (polygon, class); NaN where the chart does not tell.

    Example:
        >>> from arcticdl.seaice.charts import read_egg
        >>> from arcticdl.seaice.schemes import AUTOICE_SOD
        >>> row = {"CT": "90", "CA": "60", "SA": "95", "CB": "30", "SB": "83"}
        >>> chart_shares([read_egg(row)], AUTOICE_SOD).round(2).tolist()
        [[0.1, 0.0, 0.3, 0.0, 0.0, 0.6]]
    """
    rows = [labels.soft_label(egg, scheme)[0] for egg in eggs]
    return np.array(rows).reshape(-1, len(scheme.classes))


def void_shares(
    shape: tuple[int, int], name: str, named: tuple[Sequence[str], Sequence[str]]
) -> xr.Variable:
    """A lazy label of shares of which nothing is known; arguments as of the above."""
    table = np.full((1, len(named[0]) + 1), np.nan, np.float32)
    return share_variable(shape, _nowhere, table, name, named)


def _nowhere(rows: slice, cols: slice) -> np.ndarray:
    return np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.intp)
