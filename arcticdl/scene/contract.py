"""The Scene contract: what every reader gives and every later step may rely on.

A scene is an ``xarray.Dataset`` with ``image (band, y, x)``, the coordinate ``band``
of names, and one of three kinds of position: ``spatial_ref`` with regular ``x`` and
``y``; 2-D ``lat`` and ``lon`` for swath data; or neither, with ``x`` and ``y`` at pixel
centres and the attribute ``georeferenced = False``. ``valid (y, x)`` is boolean,
``True`` where a pixel is usable. Further variables are labels, integer with 255 for
void or float with NaN for void: ``(y, x)`` one value a pixel, ``()`` one value for the
whole image; with a leading axis ``channel`` several values, or yes (1) or no (0) to
several classes; or the number of a polygon and what each class covers of it
(`arcticdl.scene.shares`). Or a label is a table of boxes, ``(NAME_object, box)``: see
`arcticdl.scene.boxes`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.errors import LabelError, SceneError
from arcticdl.scene.boxes import box_label, is_box_label, label_boxes
from arcticdl.void import VOID_CLASS

NOT_LABELS = ("image", "valid", "lat", "lon", "spatial_ref")
"""Variables of a scene that are not labels."""

TAKEN = (*NOT_LABELS, "band", "x", "y")
"""Names that no label can have."""

CHANNEL = "channel"
"""The axis of a label of several channels; ``NAME_channel`` where labels differ in it.
"""

SHARES = "shares"
"""The attribute of a label of shares: see `arcticdl.scene.shares`."""

ATTRIBUTES = ("group", "region", "season", "sensor", "service", "time")
"""Optional scene attributes that travel into the manifest of a tile store; so does
what the attribute ``columns``, a dict of texts and numbers, names besides."""

MAX_SIDE_PX = 1_000_000
"""A raster that claims a longer side than this is taken for a corrupt header."""

_FEW_BANDS = 16
"""Up to so many, pixels are copied band by band."""

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
    check_names(labels=labels)
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
    """Names of a scene's label variables, in the order of the dataset.

    Example:
        >>> scene = xr.Dataset({"ice": (("y", "x"), np.zeros((2, 2), "uint8"))})
        >>> label_names(scene.assign(melting=((), np.uint8(1)), note=((), "cloudy")))
        ('ice', 'melting')
    """
    return tuple(
        str(name)
        for name, variable in ds.data_vars.items()
        if name not in NOT_LABELS and _is_label(variable)
    )


def refuse_taken(ds: xr.Dataset, *names: str) -> None:
    """Refuses names of new labels that would replace what a scene holds.

    Args:
        ds: The scene.
        names: Of what is to be added.

    Raises:
        LabelError: The scene has a variable, coordinate or axis of that name, or the
            contract keeps it for another meaning.

    Example:
        >>> refuse_taken(xr.Dataset({"ice": (("y", "x"), np.zeros((2, 2)))}), "ice")
        Traceback (most recent call last):
        arcticdl.errors.LabelError: A label must have a name of its own. Received: \
'ice', which is taken: the scene holds ['ice'], and ['band', 'image', 'lat', 'lon', \
'spatial_ref', 'valid', 'x', 'y'] have a meaning in every scene. Choose another name, \
or drop a label that it is to replace (`scene.drop_vars`).
    """
    held = {str(name) for name in (*ds.variables, *ds.dims)}
    for name in names:
        if name in held or name in TAKEN:
            raise LabelError(
                f"A label must have a name of its own. Received: {name!r}, which is "
                f"taken: the scene holds {sorted(held - set(TAKEN))}, and "
                f"{sorted(TAKEN)} have a meaning in every scene. Choose another name, "
                "or drop a label that it is to replace (`scene.drop_vars`)."
            )


def channel_dim(label: xr.DataArray) -> str | None:
    """The axis of a label's channels: ``channel`` or ``NAME_channel``, or ``None``."""
    own = (CHANNEL, f"{label.name}_{CHANNEL}")
    return next((str(dim) for dim in label.dims if dim in own), None)


def is_share_label(label: xr.DataArray) -> bool:
    """Whether a label holds polygons and shares: see `arcticdl.scene.shares`."""
    return bool(label.attrs.get(SHARES, 0)) and channel_dim(label) is not None


def label_dims(label: xr.DataArray) -> tuple[str, ...]:
    """The order of axes in which a label is stored: y, x and, last, the channels."""
    channel = channel_dim(label)
    space = ("y", "x") if {"y", "x"} <= set(label.dims) else ()
    return (*space, channel) if channel else space


def channel_names(label: xr.DataArray) -> tuple[str, ...]:
    """Names of a label's channels; empty for a label without a channel axis.

    They are the ``flag_meanings``, or the coordinate of the axis, or numbers.

    Raises:
        LabelError: Names repeat, or are not as many as channels.

    Example:
        >>> floes = xr.DataArray(
        ...     np.zeros((2, 4, 4), "uint8"), {"channel": ["brash", "pancake"]},
        ...     ("channel", "y", "x"))
        >>> channel_names(floes)
        ('brash', 'pancake')
    """
    channel = channel_dim(label)
    if channel is None:
        return ()
    names = str(label.attrs.get("flag_meanings", "")).split()
    if not names and channel in label.coords:
        names = ["_".join(str(n).split()) for n in label[channel].values]
    names = names or [str(number) for number in range(label.sizes[channel])]
    if len(set(names)) != label.sizes[channel] or "" in names:
        raise LabelError(
            f"Label `{label.name}` must give every channel a name of its own. "
            f"Received: {names} for {label.sizes[channel]} channels."
        )
    return tuple(names)


def named_label(label: xr.DataArray) -> xr.Variable:
    """A label without its coordinates, its channels named by ``flag_meanings``."""
    names = channel_names(label)
    attrs = {**label.attrs, "flag_meanings": " ".join(names)} if names else label.attrs
    variable = label.variable.copy(deep=False)
    variable.attrs = attrs
    return variable


def declares_void(label: xr.DataArray) -> bool:
    """Whether something says that code 255 of a label is void, and not a class.

    That is the attribute ``void_class``, a fill value, or a class of that code; a
    reader sets ``void_class`` where a file declares 255 as nodata.

    Example:
        >>> mask = xr.DataArray(np.uint8([[0, 255]]), dims=("y", "x"))
        >>> declares_void(mask), declares_void(mask.assign_attrs(void_class=255))
        (False, True)
    """
    told = {**label.encoding, **label.attrs}
    keys = ("void_class", "_FillValue", "missing_value", "nodata", "flag_values")
    texts = " ".join(str(v) for k in keys if k in told for v in np.ravel(told[k]))
    return not {"255", "255.0"}.isdisjoint(texts.replace(",", " ").split())


def is_swath(ds: xr.Dataset) -> bool:
    """Whether a scene's position is given by 2-D ``lat`` and ``lon``."""
    return all(name in ds.variables and ds[name].ndim == 2 for name in ("lat", "lon"))


def read_values(array: xr.DataArray | xr.Variable, *dims: str) -> np.ndarray:
    """Reads an array and gives its values with the dimensions in the given order.

    Reads first: xarray turns a lazy array into one that gathers pixel by pixel, which
    takes longer than to decode most files.
    """
    variable = array.variable if isinstance(array, xr.DataArray) else array
    return np.asarray(variable).transpose([array.dims.index(d) for d in dims])


def copy_pixels(source: np.ndarray, target: np.ndarray) -> None:
    """Copies pixels whose last axis is their bands, in a third of NumPy's time.

    Where the bands lie apart in memory, as most files have them, NumPy goes over the
    few bands of each pixel in turn; here it goes over the pixels of each band.

    Args:
        source: ``(y, x, band)``, or any other array, which is copied as it is.
        target: Of the same shape.
    """
    few = source.ndim == 3 and source.shape[2] <= _FEW_BANDS
    if few and source.strides[2] > source.strides[1]:
        for band in range(source.shape[2]):
            target[..., band] = source[..., band]
    else:
        target[...] = source


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
        ``flag_values``, ``flag_meanings``, ``void_class`` and, with colours,
        ``flag_colors``.

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
    attrs: dict[str, Any] = {"flag_values": values, "flag_meanings": " ".join(names)}
    attrs["void_class"] = VOID_CLASS
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
    label = ds[name]
    if is_box_label(label):
        oriented = bool(label.attrs.get("oriented", 0))
        box_label(name, label_boxes(label), label.attrs, oriented=oriented)
        return
    _check_label_dims(ds, label)
    if label.dtype.kind not in "iuf" or (label.dtype == np.int8):
        raise LabelError(
            f"Label `{name}` must be integer with {VOID_CLASS} for void, or float with "
            f"NaN for void. Received: dtype {label.dtype}."
        )
    if is_share_label(label) and (label.dtype.kind != "f" or label.ndim != 3):
        raise LabelError(
            f"Label `{name}` of shares must be float (channel, y, x). "
            f"Received: dtype {label.dtype}, dims {label.dims}."
        )
    if channel_names(label):
        return
    meanings = str(label.attrs.get("flag_meanings", "")).split()
    values = np.atleast_1d(label.attrs.get("flag_values", []))
    if len(meanings) != len(values):
        raise LabelError(
            f"Label `{name}` must name one class a code. Received: flag_values="
            f"{values.tolist()}, flag_meanings={' '.join(meanings)!r}."
        )


def _check_label_dims(ds: xr.Dataset, label: xr.DataArray) -> None:
    channel = channel_dim(label)
    space = tuple(dim for dim in label.dims if dim != channel)
    wanted = tuple(ds["image"].shape[1:])
    shape = tuple(label.sizes[dim] for dim in space)
    first = channel is None or label.dims[0] == channel
    if first and (not space or (space == ("y", "x") and shape == wanted)):
        return
    raise LabelError(
        f"Label `{label.name}` must be (y, x) of shape {wanted}, as the image, or (), "
        f"each with or without a leading axis `{CHANNEL}`. "
        f"Received: dims {label.dims}, shape {label.shape}."
    )


def _is_label(variable: xr.DataArray) -> bool:
    """Whether a variable lies as labels do; what is amiss then is an error."""
    if is_box_label(variable):
        return True
    space = set(variable.dims) - {channel_dim(variable)}
    if space == {"y", "x"}:
        return True
    # A number that stands alone may also name the projection, as CF has it.
    of_grid = {"grid_mapping_name", "crs_wkt", "spatial_ref"} & set(variable.attrs)
    return not space and variable.dtype.kind in "iuf" and not of_grid
