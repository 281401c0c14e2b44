"""Objects of a class map one by one, those that touch taken apart."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr
from numpy.typing import NDArray

from arcticdl.choices import check_choice, check_choices
from arcticdl.files import atomic_path, write_features, write_json
from arcticdl.inference.objects.separate import (
    check_options,
    check_size,
    separate_objects,
)
from arcticdl.inference.output import MapFile, pixel_area_m2, scene_georeference
from arcticdl.inference.products.polygons import areas_km2, place_shapes
from arcticdl.inference.products.product import Legend, Product, class_maps
from arcticdl.inference.products.provenance import now, tags_of
from arcticdl.metrics.floes import MIN_FLOE_PX, VOID_INSTANCE, measure_instances
from arcticdl.void import VOID_CLASS

LANDSCAPES = ("distance", "probability")
"""What objects are taken apart by: where they are narrow, or where their class is
unlikely."""

_ENDINGS = (
    *("_instances.tif", "_instances.gpkg", "_instances.json", "_instances.png"),
)
_SHARES = (5, 25, 50, 75, 95)
_DEFINITION = (
    "Mean caliper diameter over all directions: perimeter of the convex hull of an "
    "object's pixels over pi, in the plane of the projection. Objects that reach the "
    "frame or void are cut, and left out here."
)


def write_instances(
    maps: xr.Dataset,
    scene: xr.Dataset | None,
    stem: Path,
    *,
    of: Sequence[str] = (),
    landscape: str = "distance",
    max_neck: float = 0.75,
    min_area_px: int = MIN_FLOE_PX,
) -> None:
    """Writes the objects of a class: ``NAME_instances.tif``, ``.gpkg``, ``.json``.

    The raster holds the number of each pixel's object, int32, with 0 for background and
    -1 for void. The polygons bear ``number``, ``class``, ``score``, ``cut``, lengths in
    the plane of the projection and the area on the ellipsoid; the JSON file tells how
    many objects there are and how large. ``NAME_instances.png`` shows them. The map is
    held in memory whole.

    Args:
        maps: Finished maps.
        scene: Drawn beneath the objects, where it is given.
        stem: Path without an ending.
        of: Classes that objects are made of.
        landscape: One of ``LANDSCAPES``; the probability of several classes, or of a
            map that thresholds or steps have changed, needs the output ``prob``.
        max_neck: See ``inference.separate_objects``; of probabilities the share of the
            surer object's that is still no boundary.
        min_area_px: Least pixels of an object.
    """
    name, legend, codes = _classes(maps, of)
    label = maps[name].values
    prob = object_prob(maps, name, codes)
    mask, void = np.isin(label, codes), label == VOID_CLASS
    chosen = prob if landscape == "probability" else None
    numbers = separate_objects(
        mask,
        void=void,
        landscape=chosen,
        max_neck=max_neck,
        min_area_px=min_area_px,
    )
    raster, vectors, summary, picture = _files(maps, stem)
    _write_raster(maps, numbers, raster)
    frame = _frame(maps, numbers, label, legend, prob)
    _write_vectors(maps, frame, vectors)
    options = {"of": list(of), "landscape": landscape, "max_neck": max_neck}
    options["min_area_px"] = min_area_px
    write_json(summary, _summary(maps, frame, options))
    _draw(maps, scene, numbers, frame, picture)


def object_prob(
    maps: xr.Dataset, name: str, codes: Sequence[int]
) -> NDArray[np.float32] | None:
    """The probability of the objects' classes in each pixel, if the maps tell it.

    Args:
        maps: Finished maps.
        name: The map of classes.
        codes: Classes that objects are made of.

    Returns:
        float32 ``(y, x)``, 0 where it is unknown: the output ``prob``, added over the
        classes; of a single class ``confidence``, which is its own within its objects
        where the map is the network's answer: a pixel that thresholds or steps have
        given to the class has the confidence of another; else ``None``.
    """
    prefix = name.removesuffix("class")
    finished = {"thresholds", "postprocess"} & set(maps[name].attrs)
    if f"{prefix}prob" in maps:
        found = maps[f"{prefix}prob"].values[list(codes)].sum(axis=0)
    elif f"{prefix}confidence" in maps and len(codes) == 1 and not finished:
        found = maps[f"{prefix}confidence"].values
    else:
        return None
    return np.nan_to_num(found.astype(np.float32))


def _classes(maps: xr.Dataset, of: Sequence[str]) -> tuple[str, Legend, list[int]]:
    """The first map that has all the classes, and their codes.

    Raises:
        ValueError: No map has, or none are named.
    """
    every = class_maps(maps)
    known = {name for legend in every.values() for name in legend.names}
    if isinstance(of, str) or not of:
        raise ValueError(
            "The product 'instances' needs `of`, a list of the classes that objects "
            f"are made of, of {sorted(known)}. Received: of={of!r}. In YAML: "
            "`predict.products: [{name: instances, options: {of: [NAME]}}]`."
        )
    names = [str(name).replace("_", " ") for name in of]
    for variable, legend in every.items():
        codes = dict(zip(legend.names, legend.codes, strict=True))
        if set(names) <= set(codes):
            return variable, legend, [codes[name] for name in names]
    check_choices("of", names, known)
    raise ValueError(
        f"`of` must be classes of one map. Received: {list(of)} of the maps "
        f"{ {name: list(legend.names) for name, legend in every.items()} }."
    )


def _write_raster(maps: xr.Dataset, numbers: NDArray[np.int32], path: Path) -> None:
    tags = {key: str(value) for key, value in tags_of(maps).items()}
    file = MapFile(
        path,
        numbers.shape,
        dtype="int32",
        nodata=VOID_INSTANCE,
        georeference=scene_georeference(maps),
        tags=tags,
        band_names=("instance",),
    )
    try:
        file.write_rows(0, numbers[None])
        file.commit()
    except BaseException:
        file.discard()
        raise


def _frame(
    maps: xr.Dataset,
    numbers: NDArray[np.int32],
    label: NDArray[Any],
    legend: Legend,
    prob: NDArray[np.float32] | None,
) -> Any:
    """One row an object, as `write_instances` says."""
    import geopandas

    place = scene_georeference(maps)
    area = pixel_area_m2(place)
    unit = "px" if area is None else "m"
    sizes = measure_instances(numbers, pixel_m=1.0 if area is None else math.sqrt(area))
    shapes = _outlines(numbers)
    columns: dict[str, Any] = {
        "number": sizes["number"],
        "class": _commonest(numbers, label, legend),
    }
    if prob is not None:
        columns["score"] = _means(numbers, prob)
    for key in ("diameter", "length", "width"):
        columns[f"{key}_{unit}"] = sizes[f"{key}_m"].round(3)
    if place:
        km2 = areas_km2(shapes, place["crs"], place["transform"])
        columns["area_m2"] = (km2 * 1e6).round(3)
    else:
        columns["area_px"] = sizes["area_m2"]
    columns["cut"] = sizes["cut"]
    for key in ("scene_id", "time"):
        columns[key] = [str(maps.attrs.get(key, ""))] * len(shapes)
    placed = place_shapes(shapes, place["transform"]) if place else shapes
    return geopandas.GeoDataFrame(columns, geometry=placed, crs=place.get("crs"))


def _outlines(numbers: NDArray[np.int32]) -> NDArray[Any]:
    """Polygons of the objects by number, in pixels, x right and y down."""
    from rasterio.features import shapes

    found = np.empty(max(int(numbers.max()), 0), object)
    for outline, number in shapes(numbers, mask=numbers > 0, connectivity=4):
        found[int(number) - 1] = shapely.geometry.shape(outline)
    return found


def _commonest(
    numbers: NDArray[np.int32], label: NDArray[Any], legend: Legend
) -> list[str]:
    """The class of most pixels of each object."""
    inside = numbers > 0
    counts = np.zeros((int(numbers.max(initial=0)) + 1, len(legend.codes)), np.int64)
    for place, code in enumerate(legend.codes):
        own = numbers[inside & (label == code)]
        counts[:, place] = np.bincount(own, minlength=len(counts))
    return [legend.names[place] for place in counts[1:].argmax(axis=1)]


def _means(
    numbers: NDArray[np.int32], prob: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The mean probability of each object's pixels, rounded."""
    ranks = np.maximum(numbers, 0).ravel()
    total = np.bincount(ranks, weights=prob.ravel())
    means = total[1:] / np.bincount(ranks)[1:]
    return np.asarray(means.round(4), np.float64)


def _write_vectors(maps: xr.Dataset, frame: Any, path: Path) -> None:
    told = {key: str(value) for key, value in tags_of(maps).items()}
    about = {"geometry_type": "Polygon", "layer_metadata": told}
    with atomic_path(path) as part:
        write_features(frame, part, "instances", **about)


def _summary(maps: xr.Dataset, frame: Any, options: dict[str, Any]) -> dict[str, Any]:
    """How many objects there are, and how large those are that are seen whole."""
    told = tags_of(maps)
    told["software"] = told.pop("TIFFTAG_SOFTWARE")
    unit = "m" if "diameter_m" in frame else "px"
    whole = frame.loc[~frame["cut"].astype(bool), f"diameter_{unit}"].to_numpy(float)
    sizes: dict[str, Any] = {"value": None}
    if len(whole):
        sizes = {"value": float(whole.mean())}
        sizes |= {f"percentile_{p}": float(np.percentile(whole, p)) for p in _SHARES}
    return {
        **{key: str(value) for key, value in told.items()},
        "written": now().isoformat(),
        "separated": options,
        "num_objects": len(frame),
        "num_cut": len(frame) - len(whole),
        "diameter": {**sizes, "units": unit, "definition": _DEFINITION},
    }


def _draw(
    maps: xr.Dataset,
    scene: xr.Dataset | None,
    numbers: NDArray[np.int32],
    frame: Any,
    path: Path,
) -> None:
    """Draws the scene, where it is given, and its objects."""
    from arcticdl.plots import scene_map, write_figure

    where = maps if scene is None else scene
    parts: dict[str, Any] = {k: where[k] for k in ("image", "valid") if k in where}
    parts["objects"] = (("y", "x"), numbers, {"numbers_objects": True})
    both = xr.Dataset(parts, where.coords, where.attrs)
    title = f"{where.attrs.get('scene_id', path.stem)}: {len(frame):,} objects"
    write_figure(scene_map(both, "objects", title=title), path)


def _check(
    maps: xr.Dataset,
    *,
    of: Sequence[str] = (),
    landscape: str = "distance",
    max_neck: float = 0.75,
    min_area_px: int = MIN_FLOE_PX,
) -> None:
    name, _, codes = _classes(maps, of)
    check_choice("landscape", landscape, LANDSCAPES)
    check_options(max_neck=max_neck, min_area_px=min_area_px)
    check_size(maps[name].shape)
    if landscape == "probability" and object_prob(_small(maps), name, codes) is None:
        raise ValueError(
            "`landscape`='probability' needs the probability of the objects' classes: "
            f"add 'prob' to `predict.outputs`. Received: maps {list(maps.data_vars)}."
        )


def _small(maps: xr.Dataset) -> xr.Dataset:
    """A corner of maps, to ask what they hold."""
    return maps.isel(y=slice(0, 1), x=slice(0, 1))


def _files(maps: xr.Dataset, stem: Path) -> list[Path]:
    return [stem.with_name(f"{stem.name}{ending}") for ending in _ENDINGS]


PRODUCT = Product(write_instances, _files, needs=("grid", "classes"), check=_check)
