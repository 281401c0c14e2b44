"""Before a day of computing: is a scene like those that a model was trained on?

What the training scenes were rides in the card. A scene whose numbers or pixels are of
another size would be mapped without a word, and wrongly; a look at some windows tells.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choices, check_names
from arcticdl.scene import read_values, scene_geobox
from arcticdl.tiles.writing.footprints import pixel_side_m
from arcticdl.tiles.writing.scan import read_valid

TRAINED_ON = "trained_on"
"""Key of a card under which ``training_record`` rides."""

ALLOWED = ("resolution", "scale")
"""Findings that stop a map, unless they are allowed."""

SCALE_LIMITS = (3.0, 10.0)
"""Factor beyond the training scenes at which a band is told of, and refused.

Water beside ice differs by less in one scene; decibels for power, 8 for 16 bits, or
reflectance times 10 000 by far more.
"""

RESOLUTION_LIMITS = (1.1, 2.0)
"""The same of the size of pixels."""

_ON_CIRCLE = re.compile(r"season_(sin|cos)|position_[xyz]")
"""Bands that tell no size: near an axis of the circle one of them is 0, and rightly."""

_WINDOW_PX = 128
_WINDOWS = 3
_ATTRIBUTES = ("region", "season")


def training_record(store: Any, indices: Any) -> dict[str, Any]:
    """What a card says of the scenes that a model was trained on.

    Args:
        store: The tile store.
        indices: Its training tiles.

    Returns:
        JSON values: ``bands``, name -> least and greatest root mean square of a scene,
        in the band's unit; ``pixel_m``, least and greatest side of a pixel in metres,
        where scenes have a projected grid; ``region`` and ``season``, the names that
        the scenes bear.
    """
    rows = store.manifest.iloc[indices]
    names = [str(name) for name in rows["scene_id"].unique()]
    stats = [store.scene_stats(name) for name in names]
    bands = {}
    for number, band in enumerate(store.bands):
        sizes = np.array([np.hypot(s.mean[number], s.std[number]) for s in stats])
        if np.isfinite(sizes).any():
            bands[str(band)] = _range(sizes[np.isfinite(sizes)])
    told: dict[str, Any] = {"bands": bands}
    known = getattr(
        store, "store", store
    ).scenes  # of a store seen as sequences its own
    sides = [pixel_side_m(known[name]) for name in names if name in known]
    sides = [side for side in sides if side is not None]
    if sides:
        told["pixel_m"] = _range(np.array(sides))
    for key in _ATTRIBUTES:
        if key in rows:
            told[key] = sorted({str(value) for value in rows[key].dropna()} - {""})
    return told


def joined_record(records: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """What all members of an ensemble were trained on, each one's ranges and names.

    Args:
        records: As from ``training_record``, of each member.

    Returns:
        The same, with the ranges that hold those of all; nothing where one is unknown.

    Example:
        >>> one = {"bands": {"HH": [0.1, 0.2]}, "region": ["kara"]}
        >>> joined_record([one, {"bands": {"HH": [0.15, 0.4]}, "region": ["fram"]}])
        {'bands': {'HH': [0.1, 0.4]}, 'region': ['fram', 'kara']}
    """
    known = [record for record in records if record]
    if len(known) < len(records):
        return {}
    names = {name for record in known for name in record["bands"]}
    joined: dict[str, Any] = {
        "bands": {
            name: _hull([r["bands"][name] for r in known if name in r["bands"]])
            for name in sorted(names)
        }
    }
    if all("pixel_m" in record for record in known):
        joined["pixel_m"] = _hull([record["pixel_m"] for record in known])
    for key in _ATTRIBUTES:
        if all(record.get(key) for record in known):
            joined[key] = sorted({name for record in known for name in record[key]})
    return joined


def _hull(ranges: Sequence[Sequence[float]]) -> list[float]:
    return [min(r[0] for r in ranges), max(r[1] for r in ranges)]


def check_like_training(
    card: Mapping[str, Any] | None, scene: xr.Dataset, allow: Collection[str] = ()
) -> list[str]:
    """Compares some windows of a scene with the scenes of training.

    Args:
        card: A model's card; one that does not say what it was trained on asks nothing.
        scene: The scene, with the card's bands.
        allow: Of ``ALLOWED``, what is told of but not refused.

    Returns:
        What differs but does not stop a map, a sentence each: bands more than 3 times
        larger or smaller than in any training scene, bands without a number, pixels
        that differ by more than a tenth, a region or a season that was never trained
        on.

    Raises:
        ValueError: A band is more than 10 times larger or smaller, or a pixel more than
            2 times, and it is not allowed; or ``allow`` names something else.
    """
    check_names(allow=allow)
    check_choices("allow", allow, ALLOWED)
    told = (card or {}).get(TRAINED_ON)
    if not told:
        return []
    name = scene.attrs.get("scene_id", "?")
    found = []
    sizes = _sizes(scene)
    lost = [band for band, size in sizes.items() if size is None]
    if lost and len(lost) < len(sizes):
        found.append(
            f"Scene {name!r}: no number of {', '.join(lost)} where it was looked; the "
            "model sees their mean there."
        )
    for kind, what, factor, limits in _factors(told, scene, sizes):
        size = f"{factor:.3g}" if factor >= 1 else f"1/{1 / factor:.3g}"
        text = f"Scene {name!r}: {what} is {size} times that of the training scenes."
        least, most = limits
        if max(factor, 1 / factor) > most and kind not in allow:
            raise ValueError(
                f"{text} Beyond a factor of {most:g} a map would be wrong. Mend the "
                f"scene, or go on with `predict.allow: [{kind}]` (--allow {kind})."
            )
        if max(factor, 1 / factor) > least:
            found.append(text)
    for key in _ATTRIBUTES:
        value = str(scene.attrs.get(key, ""))
        if value and told.get(key) and value not in told[key]:
            found.append(
                f"Scene {name!r}: {key} {value!r} was never trained on; that of the "
                f"training scenes is {', '.join(told[key])}."
            )
    return found


def _factors(
    told: Mapping[str, Any], scene: xr.Dataset, sizes: Mapping[str, float | None]
) -> list[tuple[str, str, float, tuple[float, float]]]:
    """How far each band, and the pixel, lies outside the range of training."""
    found = []
    for band, size in sizes.items():
        if _ON_CIRCLE.fullmatch(band):
            continue
        if band in told["bands"] and size is not None:
            factor = _beyond(size, *told["bands"][band])
            found.append(("scale", f"the size of band {band!r}", factor, SCALE_LIMITS))
    geobox = scene_geobox(scene)
    if geobox is not None and geobox.crs is not None and "pixel_m" in told:
        about = {"crs": geobox.crs.to_wkt(), "step": list(geobox.resolution.xy)}
        side = pixel_side_m(about)
        if side is not None:
            factor = _beyond(side, *told["pixel_m"])
            found.append(("resolution", "the pixel size", factor, RESOLUTION_LIMITS))
    return found


def _beyond(size: float, least: float, most: float) -> float:
    """Factor outside a range; 1 within, and where there is nothing to divide by."""
    if size > most > 0:
        return size / most
    if 0 < size < least:
        return size / least
    return 1.0


def _sizes(scene: xr.Dataset) -> dict[str, float | None]:
    """Root mean square of each band over its numbers in nine windows; None of none.

    A band that is nowhere leaves the others to be looked at.
    """
    squares = np.zeros(scene.sizes["band"])
    counts = np.zeros(scene.sizes["band"], int)
    for rows in _spread(scene.sizes["y"]):
        for cols in _spread(scene.sizes["x"]):
            part = {"y": rows, "x": cols}
            image = read_values(scene["image"].isel(part), "y", "x", "band")
            values = image[read_valid(scene, part)].astype(np.float64)
            known = np.isfinite(values)
            squares += (np.where(known, values, 0.0) ** 2).sum(axis=0)
            counts += known.sum(axis=0)
    names = [str(band) for band in scene["band"].values]
    sizes = np.sqrt(squares / np.maximum(counts, 1))
    return {
        name: size if count else None
        for name, size, count in zip(names, sizes.tolist(), counts, strict=True)
    }


def _spread(size: int) -> list[slice]:
    """Evenly spread windows along an axis, which do not overlap where there is room."""
    starts = np.linspace(0, max(size - _WINDOW_PX, 0), _WINDOWS).astype(int)
    return [slice(start, start + _WINDOW_PX) for start in np.unique(starts).tolist()]


def _range(values: np.ndarray) -> list[float]:
    return [float(values.min()), float(values.max())]
