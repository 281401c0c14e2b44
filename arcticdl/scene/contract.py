"""The Scene contract: what every reader gives and every later step may rely on.

A scene is an ``xarray.Dataset`` with ``image (band, y, x)``, the coordinate ``band``
of names, and one of three kinds of position: ``spatial_ref`` with regular ``x`` and
``y``; 2-D ``lat`` and ``lon`` for swath data; or neither, with ``x`` and ``y`` at pixel
centres and the attribute ``georeferenced = False``. ``valid (y, x)`` is boolean,
``True`` where a pixel is usable. Further variables ``(y, x)`` are labels: integer with
255 for void, or float with NaN for void.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from arcticdl.errors import LabelError, SceneError
from arcticdl.void import VOID_CLASS

NOT_LABELS = ("image", "valid")
"""Data variables of a scene that are not labels."""

ATTRIBUTES = ("group", "region", "season", "sensor", "service", "time")
"""Optional scene attributes that travel into the manifest of a tile store."""

MAX_SIDE_PX = 1_000_000
"""A raster that claims a longer side than this is taken for a corrupt header."""

GRID_TOLERANCE_PX = 1e-3
"""Pixel centres further apart than this are on two grids, not on one."""


def check_scene(ds: xr.Dataset, labels: Iterable[str] | None = None) -> xr.Dataset:
    """Checks a dataset against the Scene contract without reading any pixel.

    Args:
        ds: The dataset.
        labels: Names of the label variables that must be there; ``None``: whichever
            are there.

    Returns:
        The same dataset.

    Raises:
        SceneError: The dataset does not keep the contract.
        LabelError: A label is missing, or does not fit the image.
    """
    _check_image(ds)
    _check_position(ds)
    if "valid" in ds:
        _check_layer(ds, "valid", SceneError)
        if ds["valid"].dtype != bool:
            raise SceneError(
                "`valid` must be boolean, True where a pixel is usable. "
                f"Received: dtype {ds['valid'].dtype}."
            )
    found = label_names(ds)
    wanted = tuple(found) if labels is None else tuple(labels)
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise LabelError(
            f"The scene lacks the labels {missing}. It holds: {sorted(found)}."
        )
    for name in wanted:
        _check_label(ds, name)
    return ds


def label_names(ds: xr.Dataset) -> tuple[str, ...]:
    """Names of a scene's label variables, in the order of the dataset."""
    return tuple(
        str(name)
        for name, variable in ds.data_vars.items()
        if name not in NOT_LABELS and variable.dims == ("y", "x")
    )


def is_swath(ds: xr.Dataset) -> bool:
    """Whether a scene's position is given by 2-D ``lat`` and ``lon``."""
    return all(name in ds.variables and ds[name].ndim == 2 for name in ("lat", "lon"))


def read_values(array: xr.DataArray, *dims: str) -> np.ndarray:
    """Reads an array and gives its values with the dimensions in the given order.

    Reads first: xarray turns a lazy array into one that gathers pixel by pixel, which
    takes longer than to decode most files.
    """
    return np.asarray(array.variable).transpose([array.dims.index(d) for d in dims])


def scene_geobox(ds: xr.Dataset) -> GeoBox | None:
    """The grid of a scene, from its coordinates, hence right for a crop as well.

    Args:
        ds: A scene.

    Returns:
        The ``GeoBox``, or ``None`` for a swath or a plain image.
    """
    if "spatial_ref" not in ds.variables or is_swath(ds):
        return None
    attrs = ds["spatial_ref"].attrs
    wkt = attrs.get("crs_wkt") or attrs.get("spatial_ref")
    if not wkt:
        raise SceneError("`spatial_ref` must carry `crs_wkt`. Received: none.")
    declared = [float(part) for part in str(attrs.get("GeoTransform", "")).split()]
    origin, step = [], []
    for axis, place in (("x", 1), ("y", 5)):
        centres = np.asarray(ds[axis].values, "float64")
        if len(centres) > 1:
            pixel = (centres[-1] - centres[0]) / (len(centres) - 1)
        elif len(declared) == 6:
            pixel = declared[place]
        else:
            raise SceneError(
                f"A scene one pixel wide along `{axis}` must say its pixel size by the "
                "attribute `GeoTransform` of `spatial_ref`. Received: none."
            )
        step.append(float(pixel))
        origin.append(float(centres[0] - pixel / 2))
    transform = Affine(step[0], 0.0, origin[0], 0.0, step[1], origin[1])
    return GeoBox((ds.sizes["y"], ds.sizes["x"]), transform, wkt)


def describe_geobox(geobox: GeoBox) -> str:
    """One line on a grid for messages: size, pixel, corner and CRS."""
    a = geobox.transform
    turned = "" if a.b == a.d == 0 else f", rotated by ({a.b:.9g}, {a.d:.9g})"
    name = "no CRS"
    if geobox.crs is not None:
        epsg = geobox.crs.to_epsg()
        name = f"EPSG:{epsg}" if epsg else geobox.crs.proj.name
    return (
        f"GeoBox({geobox.shape.y} x {geobox.shape.x} px of {a.a:.9g} x {a.e:.9g}"
        f"{turned}, corner ({a.c:.12g}, {a.f:.12g}), {name})"
    )


def grid_offset_px(one: GeoBox, other: GeoBox) -> float:
    """Largest distance between equal pixel centres of two grids, in pixels.

    Args:
        one: A grid.
        other: Another.

    Returns:
        The distance at the worst corner, in pixels of ``one``; ``inf`` where CRS or
        shape differ.
    """
    if one.shape != other.shape or one.crs != other.crs:
        return float("inf")
    col, row = grid_corners(one.shape)
    x, y = transform_points(other.transform, col, row)
    col_back, row_back = transform_points(~one.transform, x, y)
    return float(np.hypot(col_back - col, row_back - row).max())


def grid_corners(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the four outer corners of a grid of ``shape`` (y, x)."""
    rows, cols = shape
    return np.array([0.0, cols, 0.0, cols]), np.array([0.0, 0.0, rows, rows])


def transform_points(transform: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Applies an affine transform to numbers or arrays."""
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def grid_coords(geobox: GeoBox) -> dict[str, Any]:
    """Coordinates ``y``, ``x`` and ``spatial_ref`` of a grid, for a scene on it."""
    given = {str(name): coord for name, coord in xr_coords(geobox).items()}
    # A longitude-latitude grid comes with axes named so.
    named = {"y": "y", "latitude": "y", "x": "x", "longitude": "x"}
    coords: dict[str, Any] = {"spatial_ref": given["spatial_ref"]}
    for name, axis in named.items():
        if name in given:
            coords[axis] = (axis, given[name].values, dict(given[name].attrs))
    return coords


def pixel_coords(shape: Sequence[int]) -> dict[str, Any]:
    """Coordinates ``y`` and ``x`` at pixel centres, for a plain image."""
    return {"y": np.arange(shape[0]) + 0.5, "x": np.arange(shape[1]) + 0.5}


def class_attributes(
    classes: Sequence[str],
    colors: Sequence[str] = (),
    codes: Sequence[int] | None = None,
) -> dict[str, Any]:
    """CF attributes that say which class each code of a label stands for.

    Args:
        classes: Names of the classes; blanks become ``_``.
        colors: ``#rrggbb`` a class, or nothing.
        codes: Code of each class; ``None``: 0, 1, 2, ...

    Returns:
        ``flag_values``, ``flag_meanings`` and, with colours, ``flag_colors``.

    Raises:
        LabelError: Names repeat, or the numbers of names, colours and codes differ.
    """
    names = ["_".join(str(name).split()) for name in classes]
    values = list(range(len(names))) if codes is None else [int(c) for c in codes]
    sizes = {len(names), len(values), len(colors) or len(names)}
    if len(set(names)) != len(names) or "" in names or len(sizes) > 1:
        raise LabelError(
            "Class names must differ, with one code and one colour each. Received: "
            f"classes={tuple(classes)}, codes={values}, colors={tuple(colors)}."
        )
    if VOID_CLASS in values:
        raise LabelError(
            f"Code {VOID_CLASS} means void and cannot be a class. "
            f"Received: codes={values}."
        )
    attrs = {"flag_values": values, "flag_meanings": " ".join(names)}
    return {**attrs, "flag_colors": " ".join(colors)} if colors else attrs


def _check_image(ds: xr.Dataset) -> None:
    if "image" not in ds:
        raise SceneError(
            "A scene needs a variable `image`. "
            f"Received: {sorted(map(str, ds.data_vars))}."
        )
    image = ds["image"]
    if image.dims != ("band", "y", "x") or 0 in image.shape:
        raise SceneError(
            "`image` must be (band, y, x) with no empty side. "
            f"Received: dims {image.dims}, shape {image.shape}."
        )
    if image.dtype.kind not in "iuf":
        raise SceneError(
            f"`image` must hold real numbers. Received: dtype {image.dtype}."
        )
    names = [str(n) for n in ds["band"].values] if "band" in ds.coords else []
    if len(set(names)) != image.sizes["band"]:
        raise SceneError(
            "The coordinate `band` must give every band a name of its own. "
            f"Received: {names or 'no such coordinate'}."
        )


def _check_position(ds: xr.Dataset) -> None:
    if is_swath(ds):
        for name in ("lat", "lon"):
            _check_layer(ds, name, SceneError)
        return
    if "spatial_ref" not in ds.variables and ds.attrs.get("georeferenced") is not False:
        raise SceneError(
            "A scene needs `spatial_ref` with `x` and `y`, or 2-D `lat` and `lon`, or "
            "the attribute `georeferenced = False`. Received: none of them."
        )
    for axis in ("y", "x"):
        if axis not in ds.coords or ds[axis].dims != (axis,):
            raise SceneError(f"The coordinate `{axis}` ({axis},) is missing.")
        _check_regular(axis, np.asarray(ds[axis].values, "float64"))


def _check_regular(axis: str, centres: np.ndarray) -> None:
    if len(centres) < 2:
        return
    step = (centres[-1] - centres[0]) / (len(centres) - 1)
    even = centres[0] + step * np.arange(len(centres))
    gap = np.abs(centres - even).max()
    if not np.isfinite(step) or step == 0 or gap > abs(step) * 0.01:
        raise SceneError(
            f"The coordinate `{axis}` must be regular. Received: mean step {step:.9g}, "
            f"off by up to {gap:.9g}. Swath data carries 2-D `lat` and `lon` instead."
        )


def _check_layer(ds: xr.Dataset, name: str, error: type[ValueError]) -> None:
    wanted = tuple(ds["image"].shape[1:])
    if ds[name].dims != ("y", "x") or ds[name].shape != wanted:
        raise error(
            f"`{name}` must be (y, x) of shape {wanted}, as the image. "
            f"Received: dims {ds[name].dims}, shape {ds[name].shape}."
        )


def _check_label(ds: xr.Dataset, name: str) -> None:
    _check_layer(ds, name, LabelError)
    label = ds[name]
    if label.dtype.kind not in "iuf" or (label.dtype == np.int8):
        raise LabelError(
            f"Label `{name}` must be integer with {VOID_CLASS} for void, or float with "
            f"NaN for void. Received: dtype {label.dtype}."
        )
    meanings = str(label.attrs.get("flag_meanings", "")).split()
    values = np.atleast_1d(label.attrs.get("flag_values", []))
    if len(meanings) != len(values):
        raise LabelError(
            f"Label `{name}` must name one class a code. Received: flag_values="
            f"{values.tolist()}, flag_meanings={' '.join(meanings)!r}."
        )
