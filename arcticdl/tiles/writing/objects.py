"""Boxes of a scene as those of its tiles."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.boxes import box_edges, cut_boxes
from arcticdl.errors import LabelError
from arcticdl.scene import MIN_SHARE, box_label, label_boxes
from arcticdl.tiles.labels import LabelInfo


def box_info(
    label: xr.DataArray, classes: tuple[str, ...], colors: tuple[str, ...]
) -> LabelInfo:
    """What a label of boxes is.

    Args:
        label: The variable of a scene.
        classes: Names of its classes.
        colors: Of each class, or empty.

    Raises:
        LabelError: It has no named classes, or holds rows that are no boxes.
    """
    name, told = str(label.name), label.attrs
    if not classes:
        raise LabelError(
            f"Label `{name}` of boxes must name its classes in `flag_meanings`. "
            "Received: none. Make it with `scene.box_label`."
        )
    oriented = bool(told.get("oriented", 0))
    box_label(name, label_boxes(label), told, oriented=oriented)
    share, most = float(told.get("min_share", MIN_SHARE)), int(told.get("max_boxes", 0))
    if not 0 <= share <= 1 or most < 0:
        raise LabelError(
            f"Label `{name}` must have `min_share` in 0 to 1 and `max_boxes` of at "
            f"least 1. Received: min_share={share}, max_boxes={most}."
        )
    return LabelInfo(
        name,
        "float32",
        classes,
        colors,
        "object",
        oriented=oriented,
        max_boxes=most,
        min_share=share,
    )


def boxes_of_rows(label: xr.DataArray, rows: slice | None) -> NDArray[np.float32]:
    """The boxes of a scene that touch some of its rows; ``None``: all."""
    boxes = label_boxes(label)
    if rows is None or not len(boxes):
        return boxes
    edges = box_edges(boxes)
    return boxes[(edges[:, 3] > rows.start) & (edges[:, 1] < rows.stop)]


def cut_tile(
    info: LabelInfo, boxes: NDArray[np.float32], rows: slice, cols: slice
) -> NDArray[np.float32]:
    """The boxes of a tile, cut at its edges and ignored where too little is seen.

    Args:
        info: The label.
        boxes: ``(n, 6)`` in pixels of the scene.
        rows: Of the scene, those of the tile that lie within it.
        cols: As `rows`.

    Returns:
        float32 ``(m, 6)`` in pixels of the tile.
    """
    shape = rows.stop - rows.start, cols.stop - cols.start
    corner = int(rows.start), int(cols.start)
    return cut_boxes(
        boxes, corner, shape, min_share=info.min_share, oriented=info.oriented
    )[0]


def fill_tile(
    info: LabelInfo,
    boxes: NDArray[np.float32],
    room: NDArray[np.float32],
    scene: str,
) -> None:
    """Writes the boxes of a tile into its rows of a store; the rest stays padding.

    Raises:
        LabelError: There are more than the store has room for.
    """
    check_room(info, len(boxes), scene)
    room[: len(boxes)] = boxes


def check_room(info: LabelInfo, count: int, scene: str) -> None:
    """Refuses more boxes in a tile than the store has room for.

    Raises:
        LabelError: There are more.
    """
    if count > info.max_boxes:
        raise LabelError(
            f"`max_boxes` of label {info.name!r} must be at least the boxes of the "
            f"fullest tile. Received: max_boxes={info.max_boxes}, and {count} boxes in "
            f"a tile of scene {scene!r}. Raise it, make tiles smaller, or, where a "
            "store grows, prepare it anew."
        )
