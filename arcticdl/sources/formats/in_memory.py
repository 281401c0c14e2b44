"""Scenes of what xarray already holds: from odc-stac, stackstac, rioxarray, or a file.

The layouts are those that the libraries document: odc-stac gives a dataset of a
variable a band with the attribute ``nodata``; stackstac an array with the dimension
``band``, the coordinate ``epsg``, and by default the corners of pixels in ``x`` and
``y``; rioxarray an array with the coordinate ``spatial_ref``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice
from arcticdl.errors import SceneError, SourceError
from arcticdl.scene import check_scene
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.remote import stem_of
from arcticdl.sources.formats.netcdf import VALID_FROM, scene_of

_HALF = 0.01  # of a pixel: how near a corner or a centre must be


def open_in_memory(
    data: xr.Dataset | xr.DataArray,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    time_index: int | None = None,
    reasons: bool = True,
    valid_from: str = "all",
    crs: Any = None,
    dims: Sequence[str] | None = None,
    packed_scale: float | None = None,
) -> xr.Dataset:
    """Makes a scene of a dataset or an array, lazy where that is lazy.

    Args:
        data: The dataset or array; a scene stays as it is but for ``bands``. Booleans
            become 0 and 1, but for a variable ``valid``.
        bands: Names of the bands to keep.
        band_names: New names (see ``choose_bands``).
        time_index: See ``open_netcdf``.
        reasons: See ``open_netcdf``.
        valid_from: See ``open_netcdf``.
        crs: CRS of the coordinates, in place of what the data says.
        dims: See ``open_netcdf``.
        packed_scale: See ``open_netcdf``.

    Returns:
        The scene.

    Raises:
        SourceError: See ``open_netcdf``; or ``x`` and ``y`` contradict ``transform``.
        BandNotFoundError: A band is not there.
    """
    check_choice("valid_from", valid_from, VALID_FROM)
    if isinstance(data, xr.Dataset) and _is_scene(data):
        return _chosen(data, bands, band_names)
    name = name_of(data)
    raw = data if isinstance(data, xr.Dataset) else _dataset_of(data)
    return scene_of(
        _centred(_numbers(raw)), name, bands=bands, band_names=band_names,
        time_index=time_index, reasons=reasons, valid_from=valid_from, crs=crs,
        dims=dims, packed_scale=packed_scale,
    )  # fmt: skip


def name_of(data: xr.Dataset | xr.DataArray) -> str:
    """What a dataset is called: by itself, or by the file that it is of.

    >>> name_of(xr.DataArray([1.0], name="sic"))
    'sic'
    """
    source = data.encoding.get("source")
    name = data.attrs.get("scene_id") or (stem_of(source) if source else "")
    return str(name or getattr(data, "name", None) or "scene")


def _is_scene(data: xr.Dataset) -> bool:
    if "image" not in data or data["image"].dims != ("band", "y", "x"):
        return False
    if "band" not in data.coords or data["band"].dtype.kind not in "OUST":
        return False
    try:
        check_scene(data)
    except SceneError:
        return False
    return True


def _chosen(
    scene: xr.Dataset, bands: Sequence[str] | None, band_names: BandNames
) -> xr.Dataset:
    names = [str(name) for name in scene["band"].values]
    indices, chosen = choose_bands(names, bands, band_names)
    kept = scene.isel(band=indices).assign_coords(band=chosen)
    kept.set_close(scene.close)
    return kept


def _dataset_of(array: xr.DataArray) -> xr.Dataset:
    """An array as a dataset, each place along ``band`` called by its name."""
    if "band" not in array.dims:
        return array.to_dataset(name=str(array.name or "band_1"))
    count = array.sizes["band"]
    told = array.attrs.get("long_name", ())
    names = [f"band_{i + 1}" for i in range(count)]
    if "band" in array.coords and array["band"].dtype.kind in "OUST":
        names = [str(name) for name in array["band"].values]
    elif not isinstance(told, str) and len(told) == count == len(set(told)):
        names = [str(name) for name in told]
    return array.assign_coords(band=names).to_dataset(name="image")


def _numbers(raw: xr.Dataset) -> xr.Dataset:
    """Masks as numbers, such as a label of yes and no is."""
    masks = [n for n, v in raw.data_vars.items() if v.dtype == bool and n != "valid"]
    return raw.assign({name: raw[name].astype("uint8") for name in masks})


def _centred(raw: xr.Dataset) -> xr.Dataset:
    """Coordinates at the centres of pixels, where an attribute says they are not."""
    for variable in raw.data_vars.values():
        transform = variable.attrs.get("transform", raw.attrs.get("transform"))
        if transform is None or not {"x", "y"} <= set(raw.coords):
            continue
        numbers = [float(number) for number in tuple(transform)[:6]]
        return raw.assign_coords(
            x=_shifted("x", raw["x"], numbers[0], numbers[2]),
            y=_shifted("y", raw["y"], numbers[4], numbers[5]),
        )
    return raw


def _shifted(name: str, line: xr.DataArray, step: float, origin: float) -> xr.DataArray:
    values = np.asarray(line.values, "float64")
    count = len(values)
    if count < 2:
        return line
    drift_px = (values[-1] - values[0]) / step - (count - 1)
    if abs(drift_px) > (count - 1) * _HALF:
        return line  # thinned or resampled since
    place = (values[0] - origin) / step
    is_centre = abs(place - np.floor(place) - 0.5) < _HALF
    is_corner = abs(place - np.round(place)) < _HALF
    if abs(drift_px) > 0.5 or not (is_centre or is_corner):
        raise SourceError(
            f"Coordinate `{name}` must lie at corners or centres of the pixels of "
            f"`transform`. Received: {values[0]:.9g} to {values[-1]:.9g} beside an "
            f"origin of {origin:.9g} and a step of {step:.9g}; drop the attribute "
            "`transform` if it is of other data."
        )
    # Stackstac rounds its coordinates to its bounds; it warps to the transform.
    first = np.floor(place) if is_centre else np.round(place)
    return line.copy(data=origin + step * (first + 0.5 + np.arange(count)))
