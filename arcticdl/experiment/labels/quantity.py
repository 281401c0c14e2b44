"""Labels that are quantities: a band of the scene itself, or several of a file."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr

from arcticdl.errors import BandNotFoundError, LabelError
from arcticdl.grid.dates import known_pixels
from arcticdl.scene import CHANNEL
from arcticdl.sources.core.assemble import band_units
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.units import units_differ


def band_itself(
    scene: xr.Dataset, name: str, band: str | Sequence[str]
) -> xr.DataArray:
    """Makes bands of a scene the label of it.

    Args:
        scene: A Scene.
        name: Name of the label.
        band: The band; several are as many quantities.

    Returns:
        float32 (y, x), of several bands (NAME_channel, y, x); lazy, NaN where the scene
        is not valid.

    Raises:
        BandNotFoundError: The scene has no such band.
    """
    names = [str(each) for each in scene["band"].values]
    wanted = [band] if isinstance(band, str) else list(band)
    if not set(wanted) <= set(names):
        raise BandNotFoundError(
            f"`data.labels.{name}.band` must be a band of the scene: {names}. "
            f"Received: {band!r}."
        )
    places = [names.index(each) for each in wanted]
    if not isinstance(band, str):
        return _quantities(scene, name, wanted, places)
    read = partial(_read, scene, places[0])
    lazy = WindowArray(scene["image"].shape[1:], np.dtype("float32"), read)
    unit = band_units(scene)[places[0]]
    return xr.DataArray(lazy.variable(("y", "x"), {"units": unit} if unit else {}))


def refuse_unit(label: xr.DataArray, name: str, units: str) -> None:
    """Refuses a quantity whose file tells another unit than the configuration.

    Args:
        label: The label, as its file tells it.
        name: Its name.
        units: ``data.labels.NAME.units``.

    Raises:
        LabelError: Both are known, and differ.
    """
    told = str(label.attrs.get("units", "")).strip()
    if units_differ(told, units.strip()):
        raise LabelError(
            f"`data.labels.{name}.units` must be the unit of the file, whose numbers "
            f"are taken as they are. Received: {units!r}, and {told!r} in the file. "
            "Name that unit; or convert the numbers, and correct what the file says."
        )


def bands_of_file(
    opened: xr.Dataset, name: str, outputs: Sequence[str]
) -> xr.DataArray:
    """Makes the bands of a file a label of several quantities.

    Args:
        opened: The file as a Scene on the pixels of the image.
        name: Name of the label.
        outputs: Names of the quantities, one a band.

    Returns:
        float32 (NAME_channel, y, x), lazy, NaN where the file is not valid.

    Raises:
        LabelError: The file has another number of bands.
    """
    if opened.sizes["band"] != len(outputs):
        raise LabelError(
            f"The file of label {name!r} must have one band for each of "
            f"`data.labels.{name}.outputs`, {list(outputs)}. Received: "
            f"{opened.sizes['band']} bands."
        )
    return _quantities(opened, name, outputs, list(range(len(outputs))))


def _quantities(
    opened: xr.Dataset, name: str, outputs: Sequence[str], places: list[int]
) -> xr.DataArray:
    """Bands of a scene as quantities: float32 (NAME_channel, y, x), lazy."""
    shape = (len(outputs), *opened["image"].shape[1:])
    read = partial(_read_some, opened, places)
    lazy = WindowArray(shape, np.dtype("float32"), read)
    meanings = " ".join("_".join(output.split()) for output in outputs)
    dims = (f"{name}_{CHANNEL}", "y", "x")  # its own: labels differ in their number
    return xr.DataArray(lazy.variable(dims, {"flag_meanings": meanings}))


def _read(scene: xr.Dataset, index: int, rows: slice, cols: slice) -> np.ndarray:
    return known_pixels(scene, [index], rows, cols)[0]


def _read_some(
    scene: xr.Dataset, places: list[int], which: list[int], rows: slice, cols: slice
) -> np.ndarray:
    return known_pixels(scene, [places[k] for k in which], rows, cols)
