"""What objects tell of a scene: how many there are, how large, how dense."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy.stats import chi2

from arcticdl.choices import check_names
from arcticdl.inference.objects.merge import Found
from arcticdl.inference.objects.vectors import GEOD, object_sizes, to_lonlat
from arcticdl.scene import is_swath, scene_geobox
from arcticdl.scene.grid import grid_coords, pixel_coords

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def poisson_interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a Poisson mean, of which a count was drawn.

    Source:
        Garwood 1936, doi:10.1093/biomet/28.3-4.437.

    Example:
        >>> [round(v, 3) for v in poisson_interval(10)]
        [4.795, 18.39]
    """
    tail = (1 - confidence) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.ppf(1 - tail, 2 * count + 2) / 2)


def corrected_count(
    count: int,
    truth: Sequence[int],
    found: Sequence[int],
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any] | None:
    """A count as it would be without misses and false alarms, as tested scenes say.

    The count is multiplied by the ratio of objects to detections in scenes that trained
    no model. The interval holds the chance of the count (Poisson) and that of the ratio
    (tested scenes drawn with replacement); that the scene is like them, it takes as
    given.

    Args:
        count: Objects that were found.
        truth: Objects of each tested scene.
        found: Objects that were found in each of them, at the same least score.
        confidence: Probability covered.
        num_resamples: Draws.
        seed: Of the draws.

    Returns:
        ``count``, ``interval``, ``ratio``, ``num_scenes``; ``None`` where fewer than
        two scenes were tested or nothing was found in them.

    Example:
        >>> corrected_count(10, [2, 4, 6], [1, 2, 3])["count"]
        20.0
    """
    one, other = np.asarray(truth, float), np.asarray(found, float)
    if len(one) < 2 or not other.sum():
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(one), (num_resamples, len(one)))
    below = other[drawn].sum(axis=1)
    ratio = one[drawn].sum(axis=1)[below > 0] / below[below > 0]
    totals = rng.poisson(count, len(ratio)) * ratio
    tail = (1 - confidence) / 2
    ratio_of_all = float(one.sum() / other.sum())
    return {
        "count": count * ratio_of_all,
        "interval": [float(v) for v in np.quantile(totals, [tail, 1 - tail])],
        "ratio": ratio_of_all,
        "num_scenes": len(one),
    }


def describe_objects(
    found: Found,
    scene: xr.Dataset,
    classes: Sequence[str],
    tested: Mapping[str, tuple[Sequence[int], Sequence[int]]] | None = None,
) -> dict[str, Any]:
    """Counts with intervals and the distribution of sizes, class by class.

    Args:
        found: The objects that count, those above a least score.
        scene: Their scene.
        classes: Names of the classes.
        tested: Class -> objects and detections of each tested scene, if known.

    Returns:
        JSON values: ``area_km2`` (or ``area_px`` of a plain image) that was seen, and
        for each class ``count``, ``interval`` (95 %, Poisson), ``corrected`` (see
        ``corrected_count``, or ``None``), ``density`` an area, and the quantiles of
        each size.
    """
    check_names(classes=classes)
    sizes = object_sizes(found, scene)
    codes = found.boxes[:, 5].astype(int)
    area = seen_area(found, scene)
    total = float(area.sum())
    told: dict[str, Any] = {}
    for code, name in enumerate(classes):
        own = codes == code
        count = int(own.sum())
        told[name] = {
            "count": count,
            "interval": list(poisson_interval(count)),
            "corrected": corrected_count(count, *tested[name])
            if tested and name in tested
            else None,
            "density": count / total if total else None,
            "sizes": {k: _quantiles(v[own]) for k, v in sizes.items() if count},
        }
    key = "area_px" if _is_plain(scene) else "area_km2"
    return {key: total, "classes": told}


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    found = np.quantile(values, _QUANTILES).round(3).tolist()
    return {f"q{100 * q:02.0f}": v for q, v in zip(_QUANTILES, found, strict=True)}


def seen_area(found: Found, scene: xr.Dataset) -> NDArray[np.float64]:
    """Area of the valid pixels of each cell: km2, or pixels of a plain image."""
    if _is_plain(scene):
        return found.valid_px.astype(np.float64)
    rows, columns = found.valid_px.shape
    shape = (scene.sizes["y"], scene.sizes["x"])
    y, x = (
        np.minimum(np.arange(n + 1) * found.cell_px, length).astype(float)
        for n, length in zip((rows, columns), shape, strict=True)
    )
    area = np.zeros((rows, columns))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    lonlat = to_lonlat(grid, scene)
    for row, column in np.argwhere(found.valid_px > 0).tolist():
        ring = lonlat[row : row + 2, column : column + 2].reshape(4, 2)[[0, 1, 3, 2]]
        area[row, column] = abs(GEOD.polygon_area_perimeter(*ring.T)[0]) / 1e6
    pixels = np.diff(y)[:, None] * np.diff(x)[None]
    return area * found.valid_px / pixels


def density_map(found: Found, scene: xr.Dataset, classes: Sequence[str]) -> xr.Dataset:
    """Objects an area, by class, on cells of which the longer side has 64 at most.

    Args:
        found: The objects that count.
        scene: Their scene, on a grid of its own or a plain image.
        classes: Names of the classes.

    Returns:
        ``density (density_class, y, x)`` float32, objects a km2 (of a plain image a
        million pixels), NaN where nothing was seen.

    Raises:
        ValueError: The scene lies on 2-D lat/lon.
    """
    check_names(classes=classes)
    if is_swath(scene):
        raise ValueError(
            "A density map needs a regular grid; the scene lies on 2-D lat/lon. Align "
            "it first: arcticdl.grid.align([scene], crs=..., resolution_m=...)."
        )
    plain = _is_plain(scene)
    area = seen_area(found, scene) / (1e6 if plain else 1.0)
    column, row = (found.boxes[:, k].astype(int) // found.cell_px for k in (0, 1))
    rows, columns = area.shape
    row, column = row.clip(0, rows - 1), column.clip(0, columns - 1)
    count = np.zeros((len(classes), rows, columns))
    np.add.at(count, (found.boxes[:, 5].astype(int), row, column), 1)
    density = np.divide(count, area, out=np.full_like(count, np.nan), where=area > 0)
    geobox = scene_geobox(scene)
    coords: dict[str, Any] = pixel_coords(area.shape)
    if geobox is not None:
        cells = geobox.transform * geobox.transform.scale(found.cell_px)
        coords = grid_coords(GeoBox(area.shape, cells, geobox.crs))
    attrs = {"units": "1" if plain else "km-2", "long_name": "objects an area"}
    if plain:
        attrs["long_name"] = "objects a million pixels"
    variable = (("density_class", "y", "x"), density.astype("float32"), attrs)
    coords |= {"density_class": list(classes)}
    kept = {k: v for k, v in scene.attrs.items() if k in ("scene_id", "time", "sensor")}
    return xr.Dataset({"density": variable}, coords, kept)


def _is_plain(scene: xr.Dataset) -> bool:
    geobox = None if is_swath(scene) else scene_geobox(scene)
    return not is_swath(scene) and (geobox is None or geobox.crs is None)
