"""The void rule: which pixels of a label are never scored, and which of an image shown.

Integer labels mark void with a class code (255 unless told), float labels with NaN,
scaled images with 0 in every band.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

VOID_CLASS = 255
"""The code that marks an integer label as void."""

SHOWN = 2.0**-20
"""What stands in place of 0 in a pixel that is seen; see `mark_shown`."""


def split_void(y_true: Any, void_class: int | None = VOID_CLASS) -> tuple[Any, Any]:
    """Separates labels into safe labels and a validity map, with ``keras.ops``.

    Args:
        y_true: Tensor of integer class codes, or of floats with NaN for void; any
            shape.
        void_class: Code of void pixels. ``None``: integer labels have no void.

    Returns:
        ``(label, valid)``: the labels with void replaced by 0 (same shape and dtype)
        and a boolean tensor, ``True`` where the pixel is scored.
    """
    from keras import ops

    y_true = ops.convert_to_tensor(y_true)
    if "float" in str(y_true.dtype):
        valid = ops.logical_not(ops.isnan(y_true))
        if void_class is not None:
            valid = ops.logical_and(valid, ops.not_equal(y_true, float(void_class)))
    elif void_class is None:
        valid = ops.ones_like(y_true, dtype="bool")
    else:
        valid = ops.not_equal(ops.cast(y_true, "int32"), void_class)
    return ops.where(valid, y_true, ops.zeros_like(y_true)), valid


def is_scored(
    y_true: ArrayLike, void_class: int | None = VOID_CLASS
) -> NDArray[np.bool_]:
    """Tells which labels are not void; the twin of `split_void` in NumPy.

    Args:
        y_true: Class codes of any shape, or floats with NaN for void.
        void_class: Code of void pixels. ``None``: integer labels have no void.

    Returns:
        Booleans of the shape of `y_true`.

    Example:
        >>> is_scored([0, 255, 1]).tolist(), is_scored([0.0, float("nan")]).tolist()
        ([True, False, True], [True, False])
    """
    label = np.asarray(y_true)
    scored = ~np.isnan(label) if label.dtype.kind == "f" else np.ones(label.shape, bool)
    return scored if void_class is None else scored & (label != void_class)


def check_codes_beside_void(num_classes: int, void_class: int | None) -> None:
    """Refuses so many classes that one of them has the code which void has unless told.

    Its pixels would never be learnt or scored, and nothing would say so. A class that
    somebody names as void, such as 0, is meant.

    Args:
        num_classes: Codes from 0 to ``num_classes - 1`` are classes.
        void_class: Code of void pixels.

    Raises:
        ValueError: Void is 255, and so is a class.
    """
    if void_class == VOID_CLASS < num_classes:
        raise ValueError(
            f"Void is {VOID_CLASS} unless `void_class` says otherwise, which of more "
            f"than {VOID_CLASS} classes is one. Give another `void_class`, such as -1, "
            f"or None where there is no void. Received: {num_classes} classes."
        )


def mark_shown(image: Any, valid: Any) -> Any:
    """Gives valid pixels that are 0 in every band a value of no consequence instead.

    Detectors, superpixels and the codes of autoencoders and of views tell what is seen
    from the image alone: 0 in every band is nodata. A valid pixel may be scaled to just
    that, such as black under ``"minmax"`` and ``"percentile"``, or the commonest grey
    under ``"robust"``, and a whole shadow would then count as never looked at.

    Args:
        image: Array (..., y, x, band) float32, normalised; written over.
        valid: Array (..., y, x) of booleans.

    Returns:
        The image.

    Example:
        >>> import numpy as np
        >>> scaled = np.zeros((1, 2, 3), "float32")
        >>> mark_shown(scaled, np.array([[True, False]])).any(axis=-1).tolist()
        [[True, False]]
    """
    blank = ~image.any(axis=-1)
    blank &= valid
    if blank.any():
        image[blank] = SHOWN
    return image
