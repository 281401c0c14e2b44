"""Scenes onto one grid, lazily; grids onto a swath."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from arcticdl.errors import BandNotFoundError, SceneError
from arcticdl.grid.directions import DirectedBands
from arcticdl.grid.positions import (
    GridPlacement,
    LonLatPlacement,
    Placement,
    whole_shift,
)
from arcticdl.grid.reduce import BlockMean, ScaledPlacement, ShiftedCopy, ShiftedLabel
from arcticdl.grid.sample import KERNELS, ClassSampler, PointSampler
from arcticdl.grid.swath import GridFromSwath, SwathPlacement
from arcticdl.grid.target import choose_geobox
from arcticdl.grid.vectors import FRAMES
from arcticdl.scene import (
    check_scene,
    grid_coords,
    is_swath,
    label_names,
    named_label,
    scene_geobox,
)
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.lazy import WindowArray

LABEL_RULES = ("auto", "majority", "nearest")
"""How labels are resampled; ``"auto"``: majority where the target is coarser."""

COARSE_RATIO = 2.0
"""From this many source pixels a side on, a target pixel holds their mean."""

_FINE_RATIO = 4  # source pixels a side that are left after whole blocks are averaged
_MAX_POINTS = 16


def align(
    scenes: xr.Dataset | Sequence[xr.Dataset],
    geobox: GeoBox | None = None,
    *,
    like: xr.Dataset | None = None,
    crs: Any = None,
    resolution_m: float | None = None,
    resampling: str = "bilinear",
    label_resampling: str = "auto",
    min_valid_fraction: float = 1.0,
    angle_bands: Sequence[str] = (),
    vector_bands: Sequence[tuple[str, str]] = (),
    vector_frame: str = "east_north",
) -> Any:
    """Brings scenes onto one grid, without reading a pixel until asked.

    Continuous bands are interpolated, and averaged where a target pixel holds two or
    more source pixels a side. A target pixel is valid where all of the source pixels
    that its value comes from are, so that nothing is invented beside a gap or past the
    edge. A scene that already lies on the grid, or is shifted by whole pixels, keeps
    its values to the bit. Swaths, and scenes placed by ground control points, are
    placed by inverting their positions in the plane of the target; longitude-latitude
    fields modulo the circle.

    Args:
        scenes: One scene, or several.
        geobox: The grid.
        like: A scene whose grid is taken.
        crs: CRS of the grid, with ``resolution_m``; ``EPSG:3413`` unless told.
        resolution_m: Pixel size in metres.
        resampling: ``"bilinear"``, ``"cubic"`` or ``"nearest"``.
        label_resampling: ``"nearest"``, ``"majority"``, or ``"auto"``: majority where a
            target pixel holds two or more source pixels a side.
        min_valid_fraction: Weight of the contributing source pixels that must be valid,
            0 to 1; below 1, the valid ones alone make the value.
        angle_bands: Bands in degrees of a full circle: interpolated as directions.
        vector_bands: Pairs of bands that are the x and y components of vectors, turned
            to the axes of the grid.
        vector_frame: ``"east_north"`` or ``"grid"``: what the components refer to.

    Returns:
        The scene, or a list of them, each with ``valid``, on one grid.

    Raises:
        ValueError: A choice is unknown, or the grid is told in two ways.
        SceneError: A scene cannot be placed on the Earth.
        BandNotFoundError: A named band is in none of the scenes.
    """
    single = isinstance(scenes, xr.Dataset)
    several = [scenes] if isinstance(scenes, xr.Dataset) else list(scenes)
    if not several:
        raise ValueError("`scenes` must hold a scene. Received: none.")
    _check_choice("resampling", resampling, KERNELS)
    _check_choice("label_resampling", label_resampling, LABEL_RULES)
    _check_choice("vector_frame", vector_frame, FRAMES)
    if not 0.0 < min_valid_fraction <= 1.0:
        raise ValueError(
            "`min_valid_fraction` must be above 0 and at most 1. "
            f"Received: min_valid_fraction={min_valid_fraction}."
        )
    for scene in several:
        check_scene(scene)
    _check_bands(several, [*angle_bands, *(b for pair in vector_bands for b in pair)])
    target = choose_geobox(
        several, geobox, like=like, crs=crs, resolution_m=resolution_m
    )
    aligned = [
        _align_one(scene, target, resampling, label_resampling, min_valid_fraction,
                   angle_bands, vector_bands, vector_frame)
        for scene in several
    ]  # fmt: skip
    return aligned[0] if single else aligned


def to_swath(
    scene: xr.Dataset, swath: xr.Dataset, *, resampling: str = "bilinear"
) -> xr.Dataset:
    """Brings a scene on a grid, such as a predicted map, back onto a swath.

    Args:
        scene: A scene on a grid.
        swath: A scene with 2-D ``lat`` and ``lon``.
        resampling: As for ``align``; integer labels take the nearest code.

    Returns:
        A scene with the positions of the swath.

    Raises:
        SceneError: ``scene`` has no grid, or ``swath`` no ``lat`` and ``lon``.
    """
    _check_choice("resampling", resampling, KERNELS)
    source = scene_geobox(check_scene(scene))
    if source is None or not is_swath(swath):
        raise SceneError(
            "`to_swath` needs a `scene` on a grid and a `swath` with 2-D `lat` and "
            f"`lon`. Received: {scene.attrs.get('scene_id')!r} and "
            f"{swath.attrs.get('scene_id')!r}."
        )
    shape = tuple(swath["lat"].shape)
    placement = GridFromSwath(source, swath)

    def continuous(image: xr.Variable, valid: xr.Variable | None) -> PointSampler:
        return PointSampler(image, valid, placement, kernel=resampling)

    def classes(label: xr.Variable) -> ClassSampler:
        return ClassSampler(label, placement)

    coords = {"lat": swath["lat"].variable, "lon": swath["lon"].variable}
    return _rebuild(scene, shape, coords, continuous, classes)


def _align_one(
    scene: xr.Dataset,
    target: GeoBox,
    resampling: str,
    label_resampling: str,
    min_valid_fraction: float,
    angle_bands: Sequence[str],
    vector_bands: Sequence[tuple[str, str]],
    vector_frame: str,
) -> xr.Dataset:
    engine = _Engine(scene, target, resampling, label_resampling, min_valid_fraction)
    bands = [str(b) for b in scene["band"].values]
    directed = DirectedBands(
        bands,
        angles=[b for b in angle_bands if b in bands],
        vectors=[p for p in vector_bands if set(p) <= set(bands)],
        source_crs=engine.source_crs if vector_frame == "grid" else "EPSG:4326",
        target=target,
    )

    def continuous(image: xr.Variable, valid: xr.Variable | None) -> Any:
        if directed.is_empty or image.shape[0] != len(bands):
            return engine.continuous(image, valid)
        return directed.wrap(engine.continuous, image, valid)

    shape = tuple(target.shape)
    return _rebuild(scene, shape, grid_coords(target), continuous, engine.classes)


class _Engine:
    """Chooses how one scene is resampled onto a grid, and makes the readers."""

    def __init__(
        self,
        scene: xr.Dataset,
        target: GeoBox,
        kernel: str,
        label_rule: str,
        min_valid_fraction: float,
    ) -> None:
        self.kernel, self.label_rule = kernel, label_rule
        self.min_valid_fraction = min_valid_fraction
        source = scene_geobox(scene)
        self.source_crs: Any = "EPSG:4326" if source is None else source.crs
        self.shift = None if source is None else whole_shift(source, target)
        if self.shift is None:
            self.place = _placement(scene, source, target)

    def continuous(self, image: xr.Variable, valid: xr.Variable | None) -> Any:
        """A reader of continuous bands on the grid."""
        if self.shift is not None:
            return ShiftedCopy(image, valid, self.shift)
        place, dtype = self.place, image.dtype
        points = 1
        if place.ratio >= COARSE_RATIO and self.kernel != "nearest":
            factor = int(place.ratio // _FINE_RATIO)
            if factor > 1 and place.period is None:
                image, valid = _block_means(image, valid, factor)
                place = ScaledPlacement(place, factor)
            points = min(_MAX_POINTS, int(np.ceil(place.ratio)))
        return PointSampler(
            image,
            valid,
            place,
            kernel=self.kernel,
            points=points,
            min_valid_fraction=self.min_valid_fraction,
            dtype=dtype,
        )

    def classes(self, label: xr.Variable) -> Any:
        """A reader of an integer label on the grid."""
        if self.shift is not None:
            return ShiftedLabel(label, self.shift)
        points = 1
        coarse = self.place.ratio >= COARSE_RATIO
        if self.label_rule == "majority" or (self.label_rule == "auto" and coarse):
            points = min(_MAX_POINTS, max(3, int(np.ceil(self.place.ratio))))
        return ClassSampler(label, self.place, points)


def _placement(scene: xr.Dataset, source: GeoBox | None, target: GeoBox) -> Placement:
    if source is None:
        if not is_swath(scene):
            raise SceneError(
                f"Scene {scene.attrs.get('scene_id')!r} has no position on the Earth, "
                "so that it cannot be aligned."
            )
        return SwathPlacement(scene, target)
    if source.crs is not None and source.crs.geographic:
        return LonLatPlacement(source, target)
    return GridPlacement(source, target)


def _block_means(
    image: xr.Variable, valid: xr.Variable | None, factor: int
) -> tuple[xr.Variable, xr.Variable]:
    mean = BlockMean(image, valid, factor)
    lazy = WindowArray((len(image), *mean.shape), mean.dtype, mean.read)
    weight = WindowArray(mean.shape, "float32", mean.read_weight)
    return lazy.variable(("band", "y", "x")), weight.variable(("y", "x"))


def _rebuild(
    scene: xr.Dataset,
    shape: tuple[int, ...],
    coords: Mapping[str, Any],
    continuous: Any,
    classes: Any,
) -> xr.Dataset:
    """A scene with the same bands and labels, read through resamplers."""
    image = scene["image"].variable
    valid = scene["valid"].variable if "valid" in scene else None
    reader = continuous(image, valid)
    lazy = WindowArray((image.shape[0], *shape), reader.dtype, reader.read)
    attrs = {k: v for k, v in scene.attrs.items() if k != "georeferenced"}
    result = make_scene(
        lazy.variable(("band", "y", "x"), image.attrs),
        [str(b) for b in scene["band"].values],
        valid=WindowArray(shape, bool, reader.read_valid).variable(("y", "x")),
        coords=coords,
        attrs=attrs,
        close=scene.close,
    )
    if "band_units" in scene.coords:
        result = result.assign_coords(band_units=scene["band_units"].variable)
        result.set_close(scene.close)
    for name in label_names(scene):
        result[name] = _label(named_label(scene[name]), shape, continuous, classes)
    return result


def _label(
    label: xr.Variable, shape: tuple[int, ...], continuous: Any, classes: Any
) -> xr.Variable:
    """A label on the new pixels: channel by channel; of a whole image as it is."""
    if "y" not in label.dims:
        return label
    if label.ndim == 2:
        return _label_map(label, shape, continuous, classes)
    layers = [_label_map(layer, shape, continuous, classes) for layer in label]
    size = (len(layers), *shape)
    reader = WindowArray(size, layers[0].dtype, partial(_read_layers, layers))
    return reader.variable(tuple(map(str, label.dims)), label.attrs)


def _read_layers(
    layers: list[xr.Variable], chosen: list[int], rows: slice, cols: slice
) -> np.ndarray:
    return np.stack([layers[k][rows, cols].values for k in chosen])


def _label_map(
    label: xr.Variable, shape: tuple[int, ...], continuous: Any, classes: Any
) -> xr.Variable:
    if label.dtype.kind != "f":
        reader = classes(label)
        return WindowArray(shape, reader.dtype, reader.read).variable(
            ("y", "x"), label.attrs
        )
    as_band = WindowArray((1, *label.shape), label.dtype, partial(_one_band, label))
    reader = continuous(as_band.variable(("band", "y", "x")), None)
    return WindowArray(shape, label.dtype, partial(_first_band, reader)).variable(
        ("y", "x"), label.attrs
    )


def _one_band(
    label: xr.Variable, bands: list[int], rows: slice, cols: slice
) -> np.ndarray:
    return np.repeat(label[rows, cols].values[None], len(bands), axis=0)


def _first_band(reader: Any, rows: slice, cols: slice) -> np.ndarray:
    return reader.read([0], rows, cols)[0]


def _check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {sorted(choices)}. "
            f"Received: {argument}={value!r}."
        )


def _check_bands(scenes: Sequence[xr.Dataset], wanted: Sequence[str]) -> None:
    there = {str(b) for scene in scenes for b in scene["band"].values}
    missing = sorted(set(wanted) - there)
    if missing:
        raise BandNotFoundError(
            "`angle_bands` and `vector_bands` must name bands of the scenes. "
            f"Received: {missing}; they hold: {sorted(there)}."
        )
