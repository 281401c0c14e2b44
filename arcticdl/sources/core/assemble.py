"""A Scene from its parts: lazy image, validity, position, attributes."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.errors import SceneError
from arcticdl.scene import ATTRIBUTES, pixel_coords
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.remote import stem_of


def make_scene(
    image: xr.Variable,
    bands: Sequence[str],
    *,
    valid: xr.Variable | None = None,
    coords: Mapping[str, Any] | None = None,
    units: Sequence[str] = (),
    attrs: Mapping[str, Any] | None = None,
    close: Callable[[], None] | None = None,
) -> xr.Dataset:
    """Puts a scene together without reading a pixel.

    Args:
        image: ``(band, y, x)``.
        bands: A name for each band.
        valid: ``(y, x)`` boolean; ``None``: every pixel is usable.
        coords: Position; ``None``: a plain image.
        units: Unit of each band, as far as known.
        attrs: Attributes of the scene.
        close: Called when the dataset is closed.

    Returns:
        The scene.
    """
    scene_attrs = dict(attrs or {})
    if coords is None:
        coords = pixel_coords(image.shape[1:])
        scene_attrs["georeferenced"] = False
    image = image.copy(deep=False)
    image.attrs.update(_unit_attributes(units))
    data: dict[str, Any] = {"image": image}
    if valid is not None:
        data["valid"] = valid
    scene = xr.Dataset(data, {**coords, "band": list(bands)}, scene_attrs)
    if len(set(units)) > 1:
        scene = scene.assign_coords(band_units=("band", list(units)))
    if close is not None:
        scene.set_close(close)
    return scene


def band_units(scene: xr.Dataset) -> list[str]:
    """The unit of each band of a scene, ``""`` where none is told.

    Args:
        scene: A scene; its units stand in ``band_units``, or on ``image`` where all
            bands have one.

    Example:
        >>> image = (("band", "y", "x"), np.zeros((2, 2, 2)), {"units": "dB"})
        >>> band_units(xr.Dataset({"image": image}, {"band": ["HH", "HV"]}))
        ['dB', 'dB']
    """
    if "band_units" in scene.coords:
        return [str(unit).strip() for unit in scene["band_units"].values]
    shared = str(scene["image"].attrs.get("units") or "").strip()
    return [shared] * scene.sizes["band"]


def _unit_attributes(units: Sequence[str]) -> dict[str, str]:
    known = set(units)
    return {"units": known.pop()} if len(known) == 1 and "" not in known else {}


def scene_attributes(
    path: str | Path, scene_id: str | None, given: dict[str, Any]
) -> dict[str, Any]:
    """Takes the scene's attributes out of a reader's options.

    Args:
        path: File of the scene; its stem is the identifier unless told.
        scene_id: The identifier, or ``None``.
        given: Options; ``time``, ``sensor``, ``group``, ``region``, ``season`` and
            ``service`` are removed from it.

    Returns:
        The attributes, ``time`` as UTC text ``YYYY-MM-DDTHH:MM:SSZ``.
    """
    attrs = {"scene_id": scene_id or stem_of(path)}
    for name in ATTRIBUTES:
        value = given.pop(name, None)
        if value is not None:
            attrs[name] = utc_text(value) if name == "time" else str(value)
    return attrs


def utc_text(time: Any) -> str:
    """A time as text in UTC, ``YYYY-MM-DDTHH:MM:SSZ``; naive times are taken as UTC.

    Args:
        time: A datetime, or text that begins with the year: ISO 8601, also with the
            day of the year (``2021-045``), and with 24:00 for the end of a day; or as
            TIFF and EXIF have it, ``2022:04:13 15:07:59``.

    Returns:
        The time, cut to whole seconds.

    Raises:
        SceneError: It is no time.

    >>> utc_text("2022-04-13 15:07:59+01:00"), utc_text("2021-045T24:00Z")
    ('2022-04-13T14:07:59Z', '2021-02-15T00:00:00Z')
    """
    try:
        stamp = _stamp(time)
    except (ValueError, TypeError, OverflowError):
        stamp = pd.Timestamp("NaT")
    if pd.isna(stamp):
        raise SceneError(
            "`time` must be a time, as text one that begins with the year, such as "
            f"2022-04-13T15:07:59Z. Received: time={time!r}."
        )
    utc = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    return utc.strftime("%Y-%m-%dT%H:%M:%SZ")


_MIDNIGHT = re.compile(r"(?<=[T ])24:?00(:?00(\.0+)?)?")
_EXIF_DATE = re.compile(r"^(\d{4}):(\d{2}):(\d{2})(?=\s|T|$)")
_DAY_OF_YEAR = re.compile(r"(\d{4})-?(\d{3})(?!\d|-)")


def _stamp(time: Any) -> pd.Timestamp:
    if not isinstance(time, str):
        if isinstance(time, Real):
            raise TypeError(time)  # of nanoseconds, to pandas
        return pd.Timestamp(time)
    if not re.match(r"\s*\d{4}", time):
        raise ValueError(time)  # 03/04/2022 is of March or of April
    text = _EXIF_DATE.sub(r"\1-\2-\3", time.strip())
    text, whole_days = _MIDNIGHT.subn("00:00:00", text)
    if found := _DAY_OF_YEAR.match(text):
        first = pd.Timestamp(int(found[1]), 1, 1) + pd.Timedelta(int(found[2]) - 1, "D")
        if not 1 <= int(found[2]) <= 366 or first.year != int(found[1]):
            raise ValueError(text)
        text = first.strftime("%Y-%m-%d") + text[found.end() :]
    return pd.Timestamp(text) + pd.Timedelta(whole_days, "D")


def known_time(told: Any) -> str | None:
    """A time that a file's metadata tells, as text in UTC; ``None``: it tells none.

    Args:
        told: What stands there: a time, ``"unknown"``, ``"n/a"``, or nothing.

    >>> known_time("unknown"), known_time(b"2021-01-04T18:00Z")
    (None, '2021-01-04T18:00:00Z')
    """
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    # "now" and "5" are times to pandas; in a file they are not.
    if text is None or (isinstance(text, str) and not re.match(r"\s*\d{4}", text)):
        return None
    try:
        return utc_text(text)
    except SceneError:
        return None


def join_bands(
    members: Sequence[xr.Dataset],
    parts: Sequence[tuple[int, int]],
    names: Sequence[str],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Puts bands of scenes that share one grid into one scene, without reading a pixel.

    Args:
        members: The scenes; all are closed with the result.
        parts: Scene and band, by number, of each band of the result.
        names: A name for each.
        attrs: Attributes of the result.

    Returns:
        The scene, where the first one lies, without labels. A pixel is valid where it
        is in every scene that gives a band; every band keeps its unit.
    """
    read = [(members[k]["image"].variable, band) for k, band in parts]
    units = [band_units(member) for member in members]
    giving = [members[k] for k in sorted({k for k, _ in parts})]
    layers = [m["valid"].variable for m in giving if "valid" in m]
    shape = members[0]["image"].shape[1:]
    dtype = np.result_type(*(variable.dtype for variable, _ in read))
    image = WindowArray((len(parts), *shape), dtype, partial(_stack_read, read))
    valid = WindowArray(shape, bool, partial(_all_valid, layers)) if layers else None
    coords = {str(n): c for n, c in members[0].coords.items() if "band" not in c.dims}
    return make_scene(
        image.variable(("band", "y", "x"), None, read[0][0].encoding),
        names,
        valid=valid.variable(("y", "x")) if valid else None,
        coords=coords,
        units=[units[k][band] for k, band in parts],
        attrs=attrs,
        close=partial(close_all, members),
    )


def close_all(scenes: Sequence[xr.Dataset]) -> None:
    """Closes the files of several scenes."""
    for scene in scenes:
        scene.close()


def _stack_read(
    parts: Sequence[tuple[xr.Variable, int]],
    bands: Sequence[int],
    rows: slice,
    cols: slice,
) -> np.ndarray:
    """Reads bands that lie in several variables as one block ``(band, y, x)``."""
    picked = [parts[b] for b in bands]
    return np.stack([variable[i, rows, cols].values for variable, i in picked])


def _all_valid(layers: Sequence[xr.Variable], rows: slice, cols: slice) -> np.ndarray:
    """Where every one of several validity layers is true, ``(y, x)``."""
    return np.logical_and.reduce([layer[rows, cols].values for layer in layers])
