"""Labels of the AI4Arctic scenes: class maps as they are, or from chart polygons."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.scene import class_attributes, share_table
from arcticdl.seaice import charts, labels, schemes
from arcticdl.sources.charts.share_form import (
    chart_shares,
    share_variable,
    void_shares,
)
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.void import VOID_CLASS

LABELS: Mapping[str, schemes.ClassScheme] = {
    "SIC": schemes.AUTOICE_SIC,
    "SOD": schemes.AUTOICE_SOD,
    "FLOE": schemes.AUTOICE_FLOE,
}
"""Label variable to class scheme; 255 is void."""

CEILING = "_ceiling"
"""End of the names of the charts that the true parameters of a simulation give."""


POLYGONS = "polygon_icechart"
"""Variable of a raw file with the polygon of each pixel."""

SHARES_END = "_shares"
"""End of the names of labels of shares."""


def label_variables(
    source: xr.Dataset,
    shape: tuple[int, int],
    path: str,
    min_dominance: float,
    *,
    fill: bool = False,
    end: str = "",
) -> dict[str, xr.Variable]:
    """Chart labels: as they are, or from the polygons of a raw file.

    Args:
        source: The file.
        shape: Lines and samples of the SAR.
        path: Of the file, for messages.
        min_dominance: Share of the ice that a class needs, of polygons.
        fill: Whether a chart that the file lacks is void throughout.
        end: Of the names of the labels: nothing, or ``CEILING``.

    Returns:
        ``SIC``, ``SOD`` and ``FLOE`` as codes, and ``sic`` as a fraction.
    """
    if POLYGONS in source.variables and not end:
        found = _polygon_labels(source, shape, path, min_dominance)
    else:
        found = _class_maps(source, shape, path, fill, end)
    if f"SIC{end}" in found:
        read = partial(_read_fraction, found[f"SIC{end}"])
        lazy = WindowArray(shape, np.float32, read)
        found[f"sic{end}"] = lazy.variable(("y", "x"), {"units": "1"})
    return found


def share_variables(
    source: xr.Dataset, shape: tuple[int, int], path: str, *, fill: bool = False
) -> dict[str, xr.Variable]:
    """What each class covers of the polygons of a raw file.

    Args:
        source: The file.
        shape: Lines and samples of the SAR.
        path: Of the file, for messages.
        fill: Whether the labels of a file without polygons are void throughout.

    Returns:
        ``SOD_shares`` and ``FLOE_shares``, labels of shares (`scene.shares`) with the
        numbers of the file; void where a polygon's code does not tell all of it.

    Raises:
        SourceError: The file has no polygons, and `fill` is not told.
    """
    eggs: dict[int, charts.Egg] = {}
    if POLYGONS in source.variables:
        eggs = read_polygon_codes(source["polygon_codes"].values, path)
    if not eggs and not fill:
        raise SourceError(
            f"{path} must have polygons ({POLYGONS} and polygon_codes) to tell shares, "
            "as raw files of AI4Arctic do. Received: none; ready-to-train files hold "
            "finished charts. Leave the file out, or let `fill_absent` make it void."
        )
    found = {}
    for name, scheme in LABELS.items():
        if scheme.field == "concentration":
            continue
        own, named = f"{name}{SHARES_END}", (scheme.classes, scheme.colours)
        if not eggs:
            found[own] = void_shares(shape, own, named)
            continue
        polygons = _polygons_of(source, shape, path)
        table = share_table(list(eggs), chart_shares(list(eggs.values()), scheme))
        number = partial(_read_numbers, polygons, len(table) - 1)
        found[own] = share_variable(shape, number, table, own, named)
    return found


def _read_fraction(codes: xr.Variable, rows: slice, cols: slice) -> np.ndarray:
    """Concentration as a fraction, NaN where the chart is void."""
    block = codes[rows, cols].values
    return np.where(block == VOID_CLASS, np.nan, block / 10.0).astype(np.float32)


def _read_void(rows: slice, cols: slice) -> np.ndarray:
    return np.full((rows.stop - rows.start, cols.stop - cols.start), VOID_CLASS, "u1")


def _class_maps(
    source: xr.Dataset, shape: tuple[int, int], path: str, fill: bool, end: str
) -> dict[str, xr.Variable]:
    found = {}
    for name, scheme in ((n + end, scheme) for n, scheme in LABELS.items()):
        if name in source.variables:
            if source[name].shape != shape:
                raise SourceError(
                    f"{path}: {name} must have the shape of the SAR, {shape}. "
                    f"Received: {source[name].shape}."
                )
            read = partial(_read_label, source[name].variable)
            found[name] = _label_variable(shape, read, scheme)
        elif fill:
            found[name] = _label_variable(shape, _read_void, scheme)
    return found


def _label_variable(
    shape: tuple[int, int], read: Callable[..., np.ndarray], scheme: schemes.ClassScheme
) -> xr.Variable:
    attrs = class_attributes(scheme.classes, scheme.colours)
    return WindowArray(shape, np.uint8, read).variable(("y", "x"), attrs)


def _read_label(variable: xr.Variable, rows: slice, cols: slice) -> np.ndarray:
    block = np.asarray(variable[rows, cols].values)
    block = np.where(np.isfinite(block), block, VOID_CLASS)
    return block.astype(np.uint8)


def _polygon_labels(
    source: xr.Dataset, shape: tuple[int, int], path: str, min_dominance: float
) -> dict[str, xr.Variable]:
    eggs = read_polygon_codes(source["polygon_codes"].values, path)
    polygons = _polygons_of(source, shape, path)
    found = {}
    for name, scheme in LABELS.items():
        table = np.full(max(eggs, default=0) + 2, VOID_CLASS, np.uint8)
        for number, egg in eggs.items():
            table[number] = labels.hard_label(egg, scheme, min_dominance=min_dominance)[
                0
            ]
        found[name] = _label_variable(
            shape, partial(_read_polygons, polygons, table), scheme
        )
    return found


def _polygons_of(source: xr.Dataset, shape: tuple[int, int], path: str) -> xr.Variable:
    polygons = source[POLYGONS].variable
    if polygons.shape != shape:
        raise SourceError(
            f"{path}: {POLYGONS} must have the shape of the SAR, {shape}. "
            f"Received: {polygons.shape}."
        )
    return polygons


def read_polygon_codes(rows: Any, path: str = "") -> dict[int, charts.Egg]:
    """Reads the polygon table of a raw file.

    Args:
        rows: Strings ``id;CT;CA;SA;...;POLY_TYPE``, the first of them the header.
        path: The file, for messages.

    Returns:
        Polygon number to egg code.

    Raises:
        SourceError: A row does not fit the header, or holds no code.
    """
    texts = [
        row.decode() if isinstance(row, bytes) else str(row) for row in np.ravel(rows)
    ]
    header = [cell.strip().upper() for cell in texts[0].split(";")] if texts else []
    eggs = {}
    for text in texts[1:]:
        cells = [cell.strip() for cell in text.split(";")]
        try:
            row = dict(zip(header, cells, strict=True))
            number = int(float(row["ID"]))
            if not 0 <= number < 1_000_000:
                raise ValueError(f"polygon number {number}")
            eggs[number] = charts.read_egg(row)
        except (ValueError, KeyError) as error:
            raise SourceError(
                f"{path}: polygon_codes must hold one code a column of its header. "
                f"Received: {text!r} ({error})."
            ) from None
    return eggs


def _read_polygons(
    polygons: xr.Variable, table: np.ndarray, rows: slice, cols: slice
) -> np.ndarray:
    return table[_read_numbers(polygons, len(table) - 1, rows, cols)]


def _read_numbers(
    polygons: xr.Variable, last: int, rows: slice, cols: slice
) -> np.ndarray:
    """The polygon of each pixel; `last` where there is none."""
    block = np.asarray(polygons[rows, cols].values, np.float64)
    known = np.isfinite(block) & (block >= 0) & (block < last)
    return np.where(known, block, last).astype(np.intp)
