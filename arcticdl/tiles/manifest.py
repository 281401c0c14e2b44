"""The manifest: one row a tile, as GeoParquet."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arcticdl.errors import StoreError
from arcticdl.files import atomic_path
from arcticdl.tiles.labels import SCORED

if TYPE_CHECKING:
    import geopandas

    from arcticdl.tiles.labels import LabelInfo

SCENE_COLUMNS = ("group", "region", "season", "service", "sensor")
"""Attributes of a scene that its tiles carry; absent ones are missing values."""

ARRAY_ROW = "array_row"
"""Column of a store that scenes were dropped from: where each tile lies in the arrays.
Without it tile ``i`` lies at ``i``."""

REQUIRED = (
    "tile_id",
    "scene_id",
    "group",
    "row",
    "col",
    "time",
    "valid_fraction",
    "geometry",
)


def count_columns(label: "LabelInfo") -> list[str]:
    """Columns with what `LabelInfo.count` gives: ``label:class``."""
    return [f"{label.name}:{name}" for name in label.classes or (SCORED,)]


def value_columns(label: "LabelInfo") -> list[str]:
    """Columns with the values of a label of images; none for one of pixels.

    ``label_NAME``, or ``label_NAME_0``, ``label_NAME_1``, ... where it has channels.

    Example:
        >>> from arcticdl.tiles import LabelInfo
        >>> value_columns(LabelInfo("area", "float32", ("a", "b"), (), "image", 2))
        ['label_area_0', 'label_area_1']
    """
    if not label.is_image:
        return []
    if label.num_channels:
        return [f"label_{label.name}_{k}" for k in range(label.num_channels)]
    return [f"label_{label.name}"]


def build_manifest(
    rows: list[dict[str, Any]], crs: str | None
) -> "geopandas.GeoDataFrame":
    """Builds the manifest.

    Args:
        rows: One dict a tile, with at least `REQUIRED`.
        crs: WKT of the geometries' CRS, or None.
    """
    import geopandas
    import pandas as pd

    table = pd.DataFrame(rows)
    table.insert(0, "tile_id", range(len(table)))
    geometry = table.pop("geometry")
    table["time"] = pd.to_datetime(table["time"])
    for column in table.columns:
        # What scenes bring themselves may be text in one and absent in another.
        own = column not in (*REQUIRED, "sha256") and _holds_text(table[column])
        if own or column in ("scene_id", *SCENE_COLUMNS):
            table[column] = table[column].astype("string")
    return geopandas.GeoDataFrame(table, geometry=list(geometry), crs=crs)


def _holds_text(values: Any) -> bool:
    return values.map(lambda value: isinstance(value, str)).any()


def read_manifest(content: bytes, path: Path) -> "geopandas.GeoDataFrame":
    """Reads a manifest.

    Args:
        content: Of the file.
        path: Of the file, for messages.

    Raises:
        StoreError: The file is unreadable or lacks a column.
    """
    import geopandas

    try:
        manifest = geopandas.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"A tile store must hold a readable manifest. Received: {path} ({error})."
        ) from error
    missing = sorted(set(REQUIRED) - set(manifest.columns))
    if missing:
        raise StoreError(
            f"A manifest must have the columns {sorted(REQUIRED)}. Received: {path} "
            f"without {missing}."
        )
    return manifest


def write_manifest(manifest: "geopandas.GeoDataFrame", path: Path) -> None:
    """Writes a manifest as GeoParquet."""
    with atomic_path(path) as part:
        manifest.to_parquet(part, index=False, write_covering_bbox=False)
