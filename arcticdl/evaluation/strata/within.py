"""Strata within scenes: scores by incidence angle, distance to an edge, object size."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.choices import Table, choose
from arcticdl.errors import ConfigError
from arcticdl.evaluation.choose import (
    Evaluation,
    empty_evaluation,
    evaluation_for,
    head_of,
)
from arcticdl.tasks import Head
from arcticdl.void import VOID_CLASS

if TYPE_CHECKING:
    from arcticdl.tiles import TileStore

EDGE = "edge"
_UNITS = {"band": (), "distance": ("px", "m"), "object_size": ("px", "km2")}

Counted = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Within:
    """What pixels are told apart by.

    Attributes:
        by: A name of ``STRATUM_MEASURES``: ``band``, the value of a band, such as the
            angle of incidence or the distance to a coast; ``distance``, that to the
            nearest pixel at the truth's class boundaries, or of a class;
            ``object_size``, the area of the connected part of its true class that a
            pixel belongs to, as far as the scene shows it.
        edges: Where one stratum ends and the next begins, rising; each belongs to the
            upper one.
        of: The band; or, of a distance, ``edge`` (the default) or a class.
        units: Of the edges: ``px`` (the default) or ``m`` of distances, ``px`` or
            ``km2`` of sizes; a band has its own.

    Example:
        >>> Within("distance", (2, 10)).strata
        ['below 2 px', '2 to 10 px', '10 px and more']
    """

    by: str
    edges: tuple[float, ...]
    of: str | None = None
    units: str | None = None

    @property
    def name(self) -> str:
        """What stands over the strata."""
        if self.by == "band":
            return str(self.of)
        return "object size" if self.by == "object_size" else f"distance to {self.to}"

    @property
    def to(self) -> str:
        """What a distance is to."""
        return self.of or EDGE

    @property
    def strata(self) -> list[str]:
        """Names of the strata, in rising order."""
        units = "" if self.by == "band" else f" {self.units or 'px'}"
        units = units.replace("km2", "km²")
        low = [f"{edge:g}" for edge in self.edges]
        between = [f"{a} to {b}{units}" for a, b in pairwise(low)]
        return [f"below {low[0]}{units}", *between, f"{low[-1]}{units} and more"]


@dataclass(frozen=True)
class Pixels:
    """A scene whose pixels are told apart.

    Attributes:
        scene: From ``assemble_scene``.
        truth: ``(y, x)``, or ``(y, x, channel)`` of other things than classes.
        classes: Those of the truth.
        cell_m: Height and width of a pixel in metres; ``None``: not known.
        beside: The same scene with bands that the store lacks, lazy.
    """

    scene: xr.Dataset
    truth: np.ndarray
    classes: Sequence[str] = ()
    cell_m: tuple[float, float] | None = None
    beside: xr.Dataset | None = None


def check_within(
    asked: Sequence[Within], bands: Collection[str], classes: Collection[str]
) -> None:
    """Refuses what no scene can tell.

    Args:
        asked: What to tell pixels apart by.
        bands: Those of the store, and of scenes beside it.
        classes: Those of all maps of classes that are scored; none: there is no map.

    Raises:
        ConfigError: An unknown measure, band, class or unit, edges that do not rise,
            or the same asked for twice.
    """
    names = [within.name for within in asked]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            "Strata within scenes must each be told by something else. Received twice: "
            f"{twice}."
        )
    for within in asked:
        choose("by", within.by, STRATUM_MEASURES)
        rise = all(a < b for a, b in pairwise(within.edges))
        if not within.edges or not rise:
            raise ConfigError(
                "`edges` of strata within scenes must be one or more rising numbers. "
                f"Received: edges={list(within.edges)} by {within.by!r}."
            )
        if within.by == "band" and within.of not in bands:
            raise ConfigError(
                "`of` must name a band of the scenes for strata by `band`. Received: "
                f"of={within.of!r}; the bands are {sorted(bands)}."
            )
        if within.by != "band" and not classes:
            raise ConfigError(
                f"Strata by `{within.by}` need a map of classes, whose boundaries and "
                "objects they are told by. Received: none that is scored; tell pixels "
                "apart by a `band`."
            )
        if within.by == "distance" and within.to not in (EDGE, *classes):
            raise ConfigError(
                "`of` must be `edge` or a class for strata by `distance`. Received: "
                f"of={within.of!r}; the classes are {sorted(classes)}."
            )
        if within.by == "object_size" and within.of is not None:
            raise ConfigError(
                "Strata by `object_size` take no `of`: each pixel has the size of its "
                f"own object. Received: of={within.of!r}."
            )
        if within.units is not None and within.units not in _UNITS[within.by]:
            told = " or ".join(f"`{unit}`" for unit in _UNITS[within.by])
            raise ConfigError(
                f"`units` of strata by `{within.by}` must be {told or 'left out'}. "
                f"Received: units={within.units!r}."
            )


class StrataWithin:
    """Counts the pixels of each stratum by themselves, scene by scene.

    Args:
        asked: What to tell pixels apart by; what does not fit the head is left out:
            numbers and several labels a pixel have neither boundaries nor objects.
        head: What the model answers.
        seed: Of the bootstrap.
    """

    def __init__(self, asked: Sequence[Within], head: Head, *, seed: int = 0) -> None:
        has_classes = head.form.scored_by == "classes"
        self.asked = [
            within
            for within in asked
            if within.by == "band"
            or (has_classes and within.to in (EDGE, *head.classes))
        ]
        self._parts: dict[str, list[Evaluation]] = {
            within.name: [
                evaluation_for(head, num_pictures=0, seed=seed) for _ in within.strata
            ]
            for within in self.asked
        }

    def add(self, pixels: Pixels, answer: np.ndarray) -> None:
        """Counts a scene, each pixel in one stratum of each kind.

        Args:
            pixels: The scene; its truth as the head's evaluation takes it.
            answer: ``(y, x, channel)``, activated.

        Raises:
            ConfigError: Metres are asked for where pixels have no size, or a band that
                the scene lacks.
        """
        name = str(pixels.scene.attrs["scene_id"])
        for within in self.asked:
            if within.units in ("m", "km2") and pixels.cell_m is None:
                raise ConfigError(
                    f"`units` {within.units} of strata within scenes need a grid in "
                    f"metres. Received: scene {name!r} on none; tell `edges` in px."
                )
            measured = STRATUM_MEASURES[within.by](within, pixels)
            place = np.digitize(measured, within.edges)
            known = np.isfinite(measured)
            for number, part in enumerate(self._parts[within.name]):
                inside = known & (place == number)
                if inside.any():
                    part.add(name, pixels.truth[inside][None], answer[inside][None])

    def result(self) -> Counted:
        """By name of the strata one entry each, in rising order.

        Returns:
            ``stratum``, ``place`` (its number from 0), ``by``, ``num_images``,
            ``num_pixels``, ``scores`` of these pixels of all scenes, ``intervals`` of
            95 % over scenes, and ``images``, what was counted scene by scene. A
            stratum without a scored pixel is left out.
        """
        found: Counted = {}
        for within in self.asked:
            entries = []
            for place, part in enumerate(self._parts[within.name]):
                result = _result_of(part)
                if result is not None and result["num_pixels"]:
                    named = {"stratum": within.strata[place], "place": place}
                    entries.append(named | {"by": within.by} | _kept(result))
            if entries:
                found[within.name] = entries
        return found


def pool_within(
    results: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any]
) -> Counted:
    """Adds up the strata within scenes of several folds.

    Args:
        results: The folds' results, with ``strata_within`` where they have any.
        pooled: The folds pooled, which says what is counted.

    Returns:
        As ``StrataWithin.result``.
    """
    parts: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for result in results:
        for name, entries in (result.get("strata_within") or {}).items():
            for entry in entries:
                places = parts.setdefault(name, {})
                places.setdefault(entry["place"], []).append(entry)
    found: Counted = {}
    for name, places in parts.items():
        found[name] = []
        for _, entries in sorted(places.items()):
            images = [image for entry in entries for image in entry["images"]]
            told = {key: entries[0][key] for key in ("stratum", "place", "by")}
            found[name].append(told | _kept(score_images(pooled, images)))
    return found


def score_images(
    result: Mapping[str, Any], images: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Pools some images of a result, of which only what is kept by image is known."""
    evaluation = empty_evaluation(head_of(result))
    part = {**result, "images": images, "num_void_pixels": 0, "calibration": None}
    if "sample" in result:
        part["sample"] = {"true": [], "pred": []}
        part["coverage"] = [c | {"below": 0} for c in result["coverage"]]
    evaluation.merge(part)
    return evaluation.result()


def cell_of(store: "TileStore", tile: int) -> tuple[float, float] | None:
    """Height and width of a store's pixels in metres, where its grid has any.

    Args:
        store: The store.
        tile: A tile of the scene.
    """
    crs, shape = store.manifest.crs, store.manifest.geometry.iloc[tile]
    if crs is None or not crs.is_projected or shape is None or shape.is_empty:
        return None
    left, bottom, right, top = shape.bounds
    if not np.isclose(shape.area, (right - left) * (top - bottom), rtol=1e-3):
        return None  # a footprint of a swath, not a window of a grid
    metres = crs.axis_info[0].unit_conversion_factor
    height, width = store.tile_size_px
    return (top - bottom) * metres / height, (right - left) * metres / width


def measure_band(within: Within, pixels: Pixels) -> NDArray[np.float64]:
    """The values of a band; NaN where there are none."""
    from arcticdl.scene import read_values  # a report of scores needs no GDAL

    scene = pixels.scene if within.of in pixels.scene["band"] else pixels.beside
    if scene is None:
        raise ConfigError(
            f"Strata by the band {within.of!r} need the scene that holds it. Received: "
            f"{pixels.scene.attrs['scene_id']!r}, which is none of `data.scenes`."
        )
    rows, cols = pixels.truth.shape[:2]
    window = {"y": slice(rows), "x": slice(cols)}
    band = read_values(scene["image"].sel(band=within.of).isel(window), "y", "x")
    values = np.full((rows, cols), np.nan)  # tiles may reach beyond a scene's end
    values[: band.shape[0], : band.shape[1]] = band
    valid = read_values(pixels.scene["valid"], "y", "x")
    return np.where(valid, values, np.nan)


def measure_distance(within: Within, pixels: Pixels) -> NDArray[np.float64]:
    """Distance of each pixel to the nearest one at an edge, or of a class.

    Pixels that touch one of another class, by a side, stand at the edge, at 0; void is
    no class. Without any such pixel all are farther than any edge of a stratum.
    """
    from scipy.ndimage import distance_transform_edt

    if within.to == EDGE:
        there = _edges(pixels.truth)
    else:
        there = pixels.truth == list(pixels.classes).index(within.to)
    if not there.any():
        return np.full(there.shape, np.finfo(np.float64).max)
    sampling = pixels.cell_m if within.units == "m" else None
    return np.asarray(distance_transform_edt(~there, sampling=sampling))


def measure_object_size(within: Within, pixels: Pixels) -> NDArray[np.float64]:
    """Area of the connected part, by sides, of its true class; NaN on void."""
    from scipy.ndimage import label

    area = np.full(pixels.truth.shape, np.nan)
    cell = 1.0
    if within.units == "km2" and pixels.cell_m is not None:
        cell = pixels.cell_m[0] * pixels.cell_m[1] / 1e6
    for code in range(len(pixels.classes)):
        parts, count = label(pixels.truth == code)
        if count:
            sizes = np.bincount(parts.ravel()) * cell
            area = np.where(parts > 0, sizes[parts], area)
    return area


STRATUM_MEASURES = Table(
    None,
    {
        name: f"{__name__}:measure_{name}"
        for name in ("band", "distance", "object_size")
    },
)
"""What pixels are told apart by."""


def _edges(truth: np.ndarray) -> NDArray[np.bool_]:
    found = np.zeros(truth.shape, bool)
    known = truth != VOID_CLASS
    for axis in (0, 1):
        one, other = (
            tuple(part if a == axis else slice(None) for a in (0, 1))
            for part in (slice(None, -1), slice(1, None))
        )
        differ = (truth[one] != truth[other]) & known[one] & known[other]
        found[one] |= differ
        found[other] |= differ
    return found


def _result_of(part: Evaluation) -> dict[str, Any] | None:
    """What was counted; ``None`` where nothing was added."""
    try:
        return part.result()
    except ValueError:
        return None


def _kept(result: Mapping[str, Any]) -> dict[str, Any]:
    names = ("num_images", "num_pixels", "scores", "intervals", "images")
    return {name: result[name] for name in names}
