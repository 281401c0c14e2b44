"""Labels of whole images, told by an attribute of the scene."""

import numpy as np
import xarray as xr

from arcticdl.config import LabelConfig
from arcticdl.errors import LabelError
from arcticdl.experiment.labels.several import listed_label


def image_label(scene: xr.Dataset, name: str, label: LabelConfig) -> xr.DataArray:
    """Reads the one label of a whole image.

    Args:
        scene: A Scene with its attributes.
        name: Name of the label.
        label: Its configuration, with ``attribute``.

    Returns:
        An array without dimensions: uint8 code of the class, or float32 number; of
        several classes uint8 (channel).

    Raises:
        LabelError: The scene has no such attribute, or its value is no class, or no
            number.
    """
    assert label.attribute is not None
    value = scene.attrs.get(label.attribute)
    if value is None:
        raise LabelError(
            f"The label {name!r} is told by the attribute {label.attribute!r}, which "
            f"scene {scene.attrs.get('scene_id')!r} lacks. Give it a pattern under "
            f"`data.attributes`, or a column of `data.table`. "
            f"Received: {sorted(map(str, scene.attrs))}."
        )
    if label.several:
        return listed_label(str(value), name, label)
    if label.classes:
        if value not in label.classes:
            raise LabelError(
                f"The attribute {label.attribute!r} must be one of the classes of "
                f"{name!r}, {list(label.classes)}; `data.rename` maps other words. "
                f"Received: {value!r} in scene {scene.attrs.get('scene_id')!r}."
            )
        return xr.DataArray(np.uint8(label.classes.index(value)))
    try:
        return xr.DataArray(np.float32(value))
    except ValueError as error:
        raise LabelError(
            f"The attribute {label.attribute!r} must be a number for the label "
            f"{name!r}. Received: {value!r} in scene {scene.attrs.get('scene_id')!r}."
        ) from error
