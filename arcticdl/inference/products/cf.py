"""Maps as a dataset of the CF conventions, read by rows when it is written."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.inference.products.product import flag_codes
from arcticdl.inference.products.provenance import now, tags_of
from arcticdl.void import VOID_CLASS

CONVENTIONS = "CF-1.11"
CHUNK_PX = 256
WORKERS = 4
"""Blocks of rows in memory at once."""

_AXES = {
    "projected": (
        ("x", "projection_x_coordinate", "X"),
        ("y", "projection_y_coordinate", "Y"),
    ),
    "geographic": (("x", "longitude", "X"), ("y", "latitude", "Y")),
}
_DEGREES = {"longitude": "degrees_east", "latitude": "degrees_north"}
_OWN = ("flag_colors", "long_name", "postprocess", "standard_name", "thresholds")


def cf_dataset(maps: xr.Dataset) -> xr.Dataset:
    """Gives maps the variables, attributes and encodings of CF-1.11.

    Args:
        maps: Finished maps; on a grid, on 2-D ``lat`` and ``lon``, or on neither.

    Returns:
        The same values, in dask arrays of rows: classes with ``flag_values`` and
        ``flag_meanings`` and void as ``_FillValue``, values with units; grid mapping
        or positions; the scene's time; the maps' provenance as global attributes.
    """
    position = _position(maps)
    data = {}
    for name in map(str, maps.data_vars):
        # Named anew: coordinates of the maps come back as those of CF.
        variable = maps[name].variable.chunk({"y": CHUNK_PX})
        data[_plain(name)] = xr.Variable(
            [_plain(str(dim)) for dim in variable.dims],
            variable.data,
            _attributes(maps[name]),
            _encoding(maps[name], position),
        )
    found = xr.Dataset(data, _coordinates(maps) | position, _globals(maps))
    for coordinate in found.coords.values():
        coordinate.encoding = {"_FillValue": None}
    if "time" in found.coords:
        encoding = {"units": "seconds since 1970-01-01T00:00:00", "dtype": "int64"}
        found["time"].encoding |= encoding
    return found


def _plain(name: str) -> str:
    """A name of letters, digits and underscores, as CF recommends."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    return text if text[:1].isalpha() else f"v{text}"


def _position(maps: xr.Dataset) -> dict[str, Any]:
    if {"lat", "lon"} <= set(maps.variables):
        return {
            short: (("y", "x"), maps[short].variable.chunk({"y": CHUNK_PX}).data, {
                "standard_name": name, "long_name": name, "units": _DEGREES[name]})
            for short, name in (("lat", "latitude"), ("lon", "longitude"))
        }  # fmt: skip
    wkt = maps["spatial_ref"].attrs.get("crs_wkt") if "spatial_ref" in maps else None
    if not wkt:
        return {
            axis: (
                axis,
                maps[axis].values,
                {"units": "1", "long_name": f"pixel {axis}"},
            )
            for axis in ("y", "x")
            if axis in maps.coords
        }
    from pyproj import CRS

    crs = CRS.from_wkt(wkt)
    given = maps["spatial_ref"].attrs
    mapping = {**crs.to_cf(), "spatial_ref": wkt}
    mapping |= {k: given[k] for k in ("GeoTransform",) if k in given}
    if mapping.get("grid_mapping_name") == "polar_stereographic":
        # PROJ tells the pole by the sign of the standard parallel alone.
        pole = math.copysign(90.0, float(mapping.get("standard_parallel", 90.0)))
        mapping.setdefault("latitude_of_projection_origin", pole)
    found: dict[str, Any] = {"spatial_ref": ((), np.int32(0), mapping)}
    for axis, name, letter in _AXES["projected" if crs.is_projected else "geographic"]:
        unit = _DEGREES.get(name) or _cf_unit(crs.axis_info[0].unit_name)
        attrs = {"standard_name": name, "long_name": name.replace("_", " ")}
        found[axis] = (axis, maps[axis].values, attrs | {"units": unit, "axis": letter})
    return found


def _cf_unit(name: str) -> str:
    return {"metre": "m", "kilometre": "km"}.get(name, name.replace(" ", "_"))


def _coordinates(maps: xr.Dataset) -> dict[str, Any]:
    """Names of bands, such as the class of each probability, and the time."""
    found: dict[str, Any] = {}
    for name in map(str, maps.data_vars):
        for dim in map(str, maps[name].dims[:-2]):
            text = np.array([str(value) for value in maps[dim].values], dtype=object)
            # Words are no coordinate variable of CF, hence a name of their own.
            label = {"long_name": f"names along {dim}"}
            found[f"{_plain(dim)}_name"] = (_plain(dim), text, label)
    if maps.attrs.get("time"):
        moment = pd.Timestamp(maps.attrs["time"]).tz_localize(None).to_datetime64()
        attrs = {"standard_name": "time", "long_name": "time of the scene"}
        attrs["units_metadata"] = "leap_seconds: unknown"
        found["time"] = ((), moment.astype("datetime64[s]"), attrs)
    return found


def _attributes(variable: xr.DataArray) -> dict[str, Any]:
    given = variable.attrs
    attrs: dict[str, Any] = {"long_name": str(variable.name)}
    attrs |= {k: given[k] for k in _OWN if k in given}
    if "flag_values" in given:
        attrs["flag_values"] = np.array(flag_codes(variable), variable.dtype)
        names = str(given["flag_meanings"]).split()
        attrs["flag_meanings"] = " ".join(re.sub(r"[^\w.+@-]", "_", n) for n in names)
        return attrs
    if "valid_range" in given:
        attrs["valid_range"] = np.asarray(given["valid_range"], variable.dtype)
    return attrs | {"units": str(given.get("units") or "1")}


def _encoding(variable: xr.DataArray, position: dict[str, Any]) -> dict[str, Any]:
    whole = np.issubdtype(variable.dtype, np.integer)
    chunks = [1] * (variable.ndim - 2)
    chunks += [min(CHUNK_PX, size) for size in variable.shape[-2:]]
    fill: Any = np.array(VOID_CLASS if whole else np.nan, variable.dtype)[()]
    encoding: dict[str, Any] = {"_FillValue": fill, "chunksizes": tuple(chunks)}
    if "spatial_ref" in position:
        encoding["grid_mapping"] = "spatial_ref"
    return encoding | {"zlib": True, "complevel": 4, "shuffle": True}


def _globals(maps: xr.Dataset) -> dict[str, Any]:
    told = tags_of(maps)
    software = told.pop("TIFFTAG_SOFTWARE")
    scene = told.get("scene_id", "a scene")
    return {
        "Conventions": CONVENTIONS,
        "title": f"Maps of {scene} by a neural network",
        "source": f"neural network, {software}",
        "history": f"{now().isoformat()} written by {software}",
        **{key: str(value) for key, value in told.items()},
    }


def stem_file(ending: str) -> Any:
    """Names the one file of a product, by the name of the scene and an ending."""

    def files(maps: xr.Dataset, stem: Path) -> list[Path]:
        return [stem.with_name(f"{stem.name}{ending}")]

    return files
