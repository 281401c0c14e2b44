"""Labels of objects in a scene: a table of boxes, not a map of pixels."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from arcticdl.boxes import COLUMNS, check_boxes
from arcticdl.errors import LabelError

OBJECT, COLUMN = "object", "box"
"""Axes of a label of boxes: ``NAME_object``, and ``box`` with `boxes.COLUMNS`."""

MIN_SHARE = 0.25
"""Share of a box that must be seen, unless a label says otherwise; with less it is
ignored."""


def box_label(
    name: str,
    boxes: ArrayLike,
    attrs: dict[str, Any],
    *,
    oriented: bool = False,
    min_share: float = MIN_SHARE,
    max_boxes: int | None = None,
) -> xr.DataArray:
    """Makes a label of boxes for a scene.

    Args:
        name: Of the label.
        boxes: ``(object, 6)`` in pixels of the scene; see `arcticdl.boxes.form`.
        attrs: What says the classes; see `class_attributes`.
        oriented: Whether boxes may be turned.
        min_share: Share of a box that a tile must show; with less it is ignored.
        max_boxes: Most boxes in a tile; ``None``: as many as there are.

    Returns:
        float32 ``(NAME_object, box)``, to be assigned to the scene under its name.

    Raises:
        LabelError: They are no boxes of these classes.

    Example:
        >>> from arcticdl.scene import class_attributes
        >>> label = box_label("seals", [[8, 8, 4, 2, 0, 0]], class_attributes(["seal"]))
        >>> label.dims, label.attrs["oriented"]
        (('seals_object', 'box'), 0)
    """
    array = np.asarray(boxes, np.float32).reshape(-1, len(COLUMNS))
    classes = str(attrs.get("flag_meanings", "")).split()
    try:
        array = check_boxes(array, len(classes) or None, f"Label `{name}`")
    except ValueError as error:
        raise LabelError(str(error)) from None
    if not oriented and array[:, 4].any():
        raise LabelError(
            f"Label `{name}` must hold horizontal boxes, of the angle 0, or be oriented"
            f". Received: {int((array[:, 4] != 0).sum())} turned boxes."
        )
    told = {"oriented": int(oriented), "min_share": float(min_share)}
    told |= {} if max_boxes is None else {"max_boxes": int(max_boxes)}
    return xr.DataArray(
        array, dims=(f"{name}_{OBJECT}", COLUMN), name=name, attrs={**attrs, **told}
    )


def is_box_label(label: xr.DataArray) -> bool:
    """Whether a variable of a scene is a table of boxes.

    Example:
        >>> is_box_label(xr.DataArray(np.zeros((0, 6)), dims=("seals_object", "box")))
        True
    """
    dims = tuple(map(str, label.dims))
    return len(dims) == 2 and dims[0].endswith(f"_{OBJECT}") and dims[1] == COLUMN


def label_boxes(label: xr.DataArray) -> NDArray[np.float32]:
    """The boxes of a label as float32 ``(object, 6)``."""
    return np.asarray(label.variable.values, np.float32).reshape(-1, len(COLUMNS))
