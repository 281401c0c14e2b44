"""Labels of which several classes may hold at once: yes or no to each of them."""

import re
from functools import partial

import numpy as np
import xarray as xr

from arcticdl.config import LabelConfig
from arcticdl.errors import LabelError
from arcticdl.scene import CHANNEL, class_attributes
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.void import VOID_CLASS

_BETWEEN = re.compile(r"[;,|]")


def band_label(opened: xr.Dataset, name: str, label: LabelConfig) -> xr.DataArray:
    """Reads a file with one band of 0 and 1 a class.

    Args:
        opened: The file as a Scene on the pixels of the image; what is not valid is
            void, and so is 255.
        name: Name of the label.
        label: Its configuration, with ``several`` and ``classes``.

    Returns:
        uint8 (channel, y, x), lazy.

    Raises:
        LabelError: The file has another number of bands; when a window is read, also a
            number that is neither 0, 1 nor 255.
    """
    if opened.sizes["band"] != len(label.classes):
        raise LabelError(
            f"The file of label {name!r} must have one band for each of its "
            f"{len(label.classes)} classes. Received: {opened.sizes['band']}."
        )
    image = opened["image"].variable
    valid = opened["valid"].variable if "valid" in opened else None
    lazy = WindowArray(image.shape, np.uint8, partial(_read, name, image, valid))
    attrs = _attributes(label)
    return xr.DataArray(lazy.variable((CHANNEL, "y", "x"), attrs))


def listed_label(told: str, name: str, label: LabelConfig) -> xr.DataArray:
    """Reads names of classes that hold for a whole image.

    Args:
        told: Names between ``;``, ``,`` or ``|``; none: no class holds.
        name: Name of the label.
        label: Its configuration.

    Returns:
        uint8 (channel): 1 for the classes that are named, else 0.

    Raises:
        LabelError: A name is no class.

    Example:
        >>> ice = LabelConfig(
        ...     attribute="kinds", classes=("pond", "ridge", "lead"), several=True)
        >>> listed_label("lead; pond", "ice", ice).values.tolist()
        [1, 0, 1]
    """
    named = {part.strip() for part in _BETWEEN.split(told)} - {""}
    unknown = sorted(named - set(label.classes))
    if unknown:
        raise LabelError(
            f"The attribute {label.attribute!r} must list classes of {name!r}, "
            f"{list(label.classes)}. Received: {unknown} in {told!r}."
        )
    codes = np.array([c in named for c in label.classes], np.uint8)
    return xr.DataArray(codes, dims=(CHANNEL,), attrs=_attributes(label))


def _attributes(label: LabelConfig) -> dict[str, str]:
    """Names and colours of the channels; codes are those of no and yes."""
    attrs = class_attributes(label.classes, label.colors)
    kept = ("flag_meanings", "flag_colors", "void_class")
    return {key: attrs[key] for key in kept if key in attrs}


def _read(
    name: str,
    image: xr.Variable,
    valid: xr.Variable | None,
    channels: list[int],
    rows: slice,
    cols: slice,
) -> np.ndarray:
    values = image[channels, rows, cols].values
    void = ~np.isfinite(values) | (values == VOID_CLASS)
    if valid is not None:
        void |= ~valid[rows, cols].values
    wrong = np.unique(values[~void & (values != 0) & (values != 1)])
    if len(wrong):
        raise LabelError(
            f"Label {name!r} answers yes (1) or no (0) to each class, or "
            f"{VOID_CLASS} for void. Received: {wrong[:10].tolist()}."
        )
    return np.where(void, VOID_CLASS, values == 1).astype(np.uint8)
