"""Corrections of labels: polygons with a class, an author and a time, in versions.

A layer only grows. Where corrections overlap the later one holds. What a model's
confidence has pointed at (``origin`` is ``model``) is told apart from what people found
by themselves, so that labels for tests can do without it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.errors import LabelError
from arcticdl.labelling.layer_files import read_layer
from arcticdl.labelling.outlines import PIXELS
from arcticdl.scene import scene_geobox
from arcticdl.sources.core.burn import burn_ids
from arcticdl.sources.core.lazy import WindowArray, row_strips
from arcticdl.void import VOID_CLASS

ORIGINS = ("model", "person")
"""Who pointed at a label: a model's confidence, or somebody without it."""

COLUMNS = ("scene_id", "corrected", "author", "time", "origin", "version")
"""What a layer tells of each polygon; further columns are kept."""

_OVERLAP = "T********"
"""Interiors that meet, as DE-9IM writes it; outlines that merely touch do not."""


class Corrections(NamedTuple):
    """A checked layer of corrections.

    Attributes:
        table: One row a correction, the earliest first, with ``COLUMNS``.
        values: What each row sets: a class code, 255 for void, or a number.
    """

    table: gpd.GeoDataFrame
    values: np.ndarray

    @property
    def version(self) -> int:
        """Number of the last version, from 1; 0 of an empty layer."""
        return int(self.table["version"].max()) if len(self.table) else 0

    @property
    def signature(self) -> str:
        """The version and the beginning of a sha-256 of all rows: ``"2:8f0c..."``."""
        text = "\n".join(
            "|".join([*(str(row[c]) for c in COLUMNS), row.geometry.wkb_hex])
            for _, row in self.table.iterrows()
        )
        return f"{self.version}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def by_model(self) -> bool:
        """Whether a model's confidence has pointed at any of them."""
        return bool((self.table["origin"] == "model").any())

    def without_model(self) -> "Corrections":
        """Those that people made without a model's confidence."""
        kept = (self.table["origin"] != "model").to_numpy()
        return Corrections(self.table[kept], self.values[kept])


def read_corrections(path: str | Path, classes: Sequence[str]) -> Corrections:
    """Reads and checks a layer of corrections; rows without ``corrected`` are left out.

    Args:
        path: GeoPackage, or another vector file, with one layer.
        classes: Names of the label's classes; none: it is a quantity.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: It cannot be read.
        LabelError: A column is missing, a correction is no class or number, or has no
            author, no time or no scene.
    """
    check_names(classes=classes)
    table = decided(read_layer(path), path)
    for column in ("author", "time"):
        blank = table[column].map(_text) == ""
        if blank.any():
            raise LabelError(
                f"Each correction must tell its {column}. Received: {int(blank.sum())} "
                f"without in {path}; `arcticdl labels apply` writes them."
            )
    return checked(table, classes, path)


def decided(table: gpd.GeoDataFrame, path: str | Path) -> gpd.GeoDataFrame:
    """The rows in which ``corrected`` is filled in, with all columns of a layer."""
    if "corrected" not in table:
        raise LabelError(
            "Corrections must have a column `corrected`: the right class, a number, or "
            f"void. Received: {sorted(map(str, table.columns))} in {path}."
        )
    table = table[table["corrected"].map(_text) != ""].copy()
    for column in COLUMNS:
        if column not in table:
            table[column] = None
    table["origin"] = table["origin"].map(_text).replace("", "person")
    table["version"] = pd.to_numeric(table["version"]).fillna(1).astype("int64")
    return table.sort_values("version", kind="stable").reset_index(drop=True)


def checked(
    table: gpd.GeoDataFrame, classes: Sequence[str], path: str | Path
) -> Corrections:
    """Refuses rows that cannot be applied; see ``read_corrections``."""
    names: dict[str, float] = {_plain(name): code for code, name in enumerate(classes)}
    names |= {"void": VOID_CLASS} if classes else {"void": np.nan}
    told = table["corrected"].map(_plain)
    values = np.array([_value(one, names, bool(classes)) for one in told], "float64")
    wrong = sorted({t for t, v in zip(told, values, strict=True) if np.isinf(v)})
    if wrong:
        wanted = sorted(names) if classes else "a number, or void"
        raise LabelError(
            f"`corrected` must be one of {wanted}. Received: {wrong[:6]} in {path}."
        )
    odd = sorted(set(table["origin"]) - set(ORIGINS))
    if odd:
        raise LabelError(
            f"`origin` must be one of {list(ORIGINS)}. Received: {odd} in {path}."
        )
    lost = table.geometry.isna() | table.geometry.is_empty
    if table.crs is None:
        lost |= table["scene_id"].map(_text) == ""
    if lost.any():
        raise LabelError(
            "Each correction must have a polygon, and without a CRS its `scene_id`. "
            f"Received: {int(lost.sum())} without in {path}."
        )
    return Corrections(table, values)


def extend(
    layer: Corrections | None, reviewed: gpd.GeoDataFrame, *, author: str, time: str
) -> gpd.GeoDataFrame:
    """Adds reviewed rows to a layer as its next version.

    Args:
        layer: What is there; ``None``: nothing yet.
        reviewed: Rows with ``corrected`` filled in, as ``decided`` gives them.
        author: Of rows that name none.
        time: Of rows that name none, in UTC, such as ``2026-05-01T12:00:00Z``.

    Returns:
        The longer table; rows that the layer has already, of the same polygon and
        class, are left out, unless a later version says otherwise of their ground.
    """
    version = 1 if layer is None else layer.version + 1
    new = reviewed.copy()
    for column, told in (("author", author), ("time", time)):
        new[column] = new[column].map(_text).replace("", told)
    new["version"] = version
    if layer is None:
        return new
    if layer.table.crs is not None and new.crs is not None:
        new = new.to_crs(layer.table.crs)
    new = new[~_held(layer.table, new)]
    columns = [c for c in new.columns if c in layer.table.columns]
    return pd.concat([layer.table, new[columns]], ignore_index=True)


def _held(table: gpd.GeoDataFrame, new: gpd.GeoDataFrame) -> np.ndarray:
    """Which rows a layer has already, and no later version of it says otherwise."""
    (scenes, told), (asked, wanted) = (
        (rows["scene_id"].map(_text).to_numpy(), rows["corrected"].map(_plain))
        for rows in (table, new)
    )
    shapes, versions = table.geometry.to_numpy(), table["version"].to_numpy()
    places = np.array([_place(shape) for shape in shapes], object)
    held = np.zeros(len(new), bool)
    for k, shape in enumerate(new.geometry):
        alike = (told == wanted.iloc[k]).to_numpy()
        same = alike & (scenes == asked[k]) & (places == _place(shape))
        if not same.any():
            continue
        near = (scenes == asked[k]) | (scenes == "") | (asked[k] == "")
        later = shapes[near & ~alike & (versions > versions[same].max())]
        held[k] = not shapely.relate_pattern(shape, later, _OVERLAP).any()
    return held


def _place(geometry: Any) -> str:
    return str(shapely.set_precision(geometry, 1e-6).normalize().wkb_hex)


class Corrected(NamedTuple):
    """A corrected label.

    Attributes:
        label: The label, read lazily.
        changed: Pixels whose value differs from before; 0 or 1 of a whole image.
    """

    label: xr.DataArray
    changed: int


def apply_corrections(
    scene: xr.Dataset, name: str, corrections: Corrections
) -> Corrected:
    """Applies corrections to one label of a scene.

    A pixel is corrected when a polygon covers its centre. Void stays void: corrections
    mend labels where there are some, and never undo a mask.

    Args:
        scene: A Scene with the label.
        name: Of the label: ``(y, x)``, or ``()`` of the whole image, whose corrections
            are found by ``scene_id`` alone.
        corrections: Those of all scenes.

    Raises:
        LabelError: A correction in a CRS is of a scene that has no grid.
    """
    label = scene[name]
    rows = _rows_of(scene, corrections.table)
    table, values = corrections.table[rows], corrections.values[rows]
    if not len(table):
        return Corrected(label, 0)
    if not {"y", "x"} <= set(label.dims):
        before = label.values
        scored = (
            np.isfinite(before) if before.dtype.kind == "f" else before != VOID_CLASS
        )
        after = np.where(scored, values[-1], before).astype(before.dtype)
        return Corrected(label.copy(data=after), int(_differ(before, after).sum()))
    shapes, affine = _placed(scene, table)
    tree = shapely.STRtree(shapes)
    variable = label.variable
    read = partial(_read, variable, shapes, tree, affine, values)
    shape = tuple(variable.shape)
    changed = sum(
        int(_differ(variable[part].values, read(part, slice(0, shape[1]))).sum())
        for part in row_strips(shape)
    )
    lazy = WindowArray(shape, variable.dtype, read)
    attrs: Mapping[str, Any] = dict(label.attrs)
    return Corrected(xr.DataArray(lazy.variable(("y", "x"), attrs)), changed)


def _rows_of(scene: xr.Dataset, table: gpd.GeoDataFrame) -> np.ndarray:
    """Which rows are of a scene: those of its name, and those without that touch it."""
    names = table["scene_id"].map(_text).to_numpy()
    rows = names == str(scene.attrs.get("scene_id"))
    geobox = scene_geobox(scene)
    if table.crs is None or geobox is None or geobox.crs is None:
        return rows
    nameless = names == ""
    if nameless.any():
        outline = gpd.GeoSeries([geobox.extent.geom], crs=geobox.crs.proj)
        there = table.intersects(outline.to_crs(table.crs).iloc[0]).to_numpy()
        rows |= nameless & there
    return rows


def _placed(scene: xr.Dataset, table: gpd.GeoDataFrame) -> tuple[np.ndarray, Any]:
    """Polygons, and from (column, row) to their coordinates."""
    if table.crs is None:
        return np.asarray(table.geometry.values, object), PIXELS
    geobox = scene_geobox(scene)
    if geobox is None or geobox.crs is None:
        raise LabelError(
            "Corrections in a CRS need a scene on a grid. Received: scene "
            f"{scene.attrs.get('scene_id')!r}, which has none; draw them in pixels."
        )
    moved = table.geometry.to_crs(geobox.crs.proj)
    return np.asarray(moved.values, object), geobox.affine


def _read(
    label: xr.Variable,
    shapes: np.ndarray,
    tree: shapely.STRtree,
    affine: Any,
    values: np.ndarray,
    rows: slice,
    cols: slice,
) -> np.ndarray:
    """The corrected label of a window."""
    before = label[rows, cols].values
    corner = affine * affine.translation(cols.start, rows.start)
    ids = burn_ids(shapes, tree, corner, before.shape)
    scored = np.isfinite(before) if before.dtype.kind == "f" else before != VOID_CLASS
    here = (ids > 0) & scored
    after = before.copy()
    after[here] = values[ids[here] - 1].astype(before.dtype)
    return after


def _differ(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    same = before == after
    if before.dtype.kind == "f":
        same |= np.isnan(before) & np.isnan(after)
    return ~np.asarray(same)


def _value(told: str, names: Mapping[str, float], is_class: bool) -> float:
    """What a cell sets; infinite where it is nothing that can be set."""
    if told in names:
        return names[told]
    try:
        return np.inf if is_class else float(told)
    except ValueError:
        return np.inf


def _text(cell: Any) -> str:
    return "" if cell is None or cell is pd.NaT or cell != cell else str(cell).strip()


def _plain(name: Any) -> str:
    return "_".join(_text(name).split())
