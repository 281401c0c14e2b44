"""A scene on other pixels: its bands and labels read through resamplers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import LabelError
from arcticdl.scene import (
    is_box_label,
    is_share_label,
    label_names,
    named_label,
)
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.lazy import WindowArray

BandReader = Callable[[xr.Variable, xr.Variable | None], Any]


def rebuild(
    scene: xr.Dataset,
    coords: Mapping[str, Any],
    *,
    bands: BandReader,
    continuous: BandReader,
    classes: Callable[[xr.Variable], Any],
    nearest: BandReader,
) -> xr.Dataset:
    """Gives a scene with the same bands and labels on other pixels, lazily.

    Args:
        scene: The scene.
        coords: Coordinates of the new pixels, ``y`` and ``x`` or ``lat`` and ``lon``.
        bands: Makes a reader of the image from ``(image, valid)``.
        continuous: The same of a float label, which comes as an image of one band.
        classes: Makes a reader of an integer label.
        nearest: As `continuous`, of the channels of a label of shares, which belong to
            one polygon and are picked together.

    Returns:
        The scene, with ``valid``.

    Raises:
        LabelError: A label is a table of boxes, which are in pixels of their image.
    """
    boxed = [name for name in label_names(scene) if is_box_label(scene[name])]
    if boxed:
        raise LabelError(
            "Boxes are in pixels of their image and are not carried to another grid. "
            f"Received: {boxed} of scene {scene.attrs.get('scene_id')!r}. Bring the "
            "scene there first, then add the boxes: from a file with coordinates of "
            "its own (`sources.add_boxes`)."
        )
    image = scene["image"].variable
    valid = scene["valid"].variable if "valid" in scene else None
    shape = _shape(coords)
    reader = bands(image, valid)
    lazy = WindowArray((image.shape[0], *shape), reader.dtype, reader.read)
    # Where the pixels come from; the blocks of their file are of the other grid.
    lies = {k: v for k, v in image.encoding.items() if k == "source"}
    result = make_scene(
        lazy.variable(("band", "y", "x"), image.attrs, lies),
        [str(b) for b in scene["band"].values],
        valid=WindowArray(shape, bool, reader.read_valid).variable(("y", "x")),
        coords=coords,
        attrs=scene.attrs,
        close=scene.close,
    )
    if "band_units" in scene.coords:
        result = result.assign_coords(band_units=scene["band_units"].variable)
        result.set_close(scene.close)
    for name in label_names(scene):
        label = named_label(scene[name])
        if is_share_label(scene[name]):
            result[name] = _picked(label, shape, nearest)
        else:
            result[name] = _label(label, shape, continuous, classes)
    return result


def _shape(coords: Mapping[str, Any]) -> tuple[int, int]:
    if "lat" in coords:
        rows, cols = coords["lat"].shape
        return rows, cols
    return len(coords["y"][1]), len(coords["x"][1])


def _label(
    label: xr.Variable, shape: tuple[int, ...], continuous: Any, classes: Any
) -> xr.Variable:
    """A label on the new pixels: channel by channel; of a whole image as it is."""
    if "y" not in label.dims:
        return label
    if label.ndim == 2:
        return _label_map(label, shape, continuous, classes)
    layers = [_label_map(layer, shape, continuous, classes) for layer in label]
    size = (len(layers), *shape)
    reader = WindowArray(size, layers[0].dtype, partial(_read_layers, layers))
    return reader.variable(tuple(map(str, label.dims)), label.attrs)


def _picked(label: xr.Variable, shape: tuple[int, ...], nearest: Any) -> xr.Variable:
    """A label of shares on the new pixels, each as the nearest source pixel is."""
    reader = nearest(label, None)
    lazy = WindowArray((len(label), *shape), label.dtype, reader.read)
    return lazy.variable(tuple(map(str, label.dims)), label.attrs)


def _read_layers(
    layers: list[xr.Variable], chosen: list[int], rows: slice, cols: slice
) -> np.ndarray:
    return np.stack([layers[k][rows, cols].values for k in chosen])


def _label_map(
    label: xr.Variable, shape: tuple[int, ...], continuous: Any, classes: Any
) -> xr.Variable:
    if label.dtype.kind != "f":
        reader = classes(label)
        return WindowArray(shape, reader.dtype, reader.read).variable(
            ("y", "x"), label.attrs
        )
    as_band = WindowArray((1, *label.shape), label.dtype, partial(_one_band, label))
    reader = continuous(as_band.variable(("band", "y", "x")), None)
    return WindowArray(shape, label.dtype, partial(_first_band, reader)).variable(
        ("y", "x"), label.attrs
    )


def _one_band(
    label: xr.Variable, bands: list[int], rows: slice, cols: slice
) -> np.ndarray:
    return np.repeat(label[rows, cols].values[None], len(bands), axis=0)


def _first_band(reader: Any, rows: slice, cols: slice) -> np.ndarray:
    return reader.read([0], rows, cols)[0]
