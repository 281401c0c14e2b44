"""Scenes onto one grid, lazily; grids onto a swath."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr
from odc.geo.geobox import GeoBox

from arcticdl.choices import check_choice, check_names
from arcticdl.errors import BandNotFoundError, SceneError
from arcticdl.grid.averaging import (
    AveragingRules,
    decibel_bands,
    direction_bands,
)
from arcticdl.grid.located import void_unlocated
from arcticdl.grid.rebuild import rebuild
from arcticdl.grid.resampler import Resampler, Resampling
from arcticdl.grid.sample import ClassSampler, PointSampler
from arcticdl.grid.swath import GridFromSwath
from arcticdl.grid.target import choose_geobox
from arcticdl.grid.vectors import FRAMES, AngleReader, angle_reader, is_lonlat
from arcticdl.scene import check_scene, grid_coords, is_swath, scene_geobox


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
    vector_frame: str | None = None,
) -> Any:
    """Brings scenes onto one grid, without reading a pixel until asked.

    Continuous bands are interpolated, and averaged where a target pixel holds two or
    more source pixels a side; bands whose unit is the decibel by their power. A target
    pixel is valid where all of the source pixels that its value comes from are, so that
    nothing is invented beside a gap, past the edge, or where a swath tells no position.
    A scene that already lies on the grid, or is shifted by whole pixels, keeps its
    values to the bit. Swaths, and scenes placed by ground control points, are placed by
    inverting their positions in a plane; longitude-latitude fields modulo the circle.

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
        angle_bands: Bands in degrees of a full circle, interpolated as directions, 0 to
            360; besides those that tell it by name and unit, such as
            ``wind_from_direction``.
        vector_bands: Pairs of bands that are the x and y components of vectors, turned
            to the axes of the grid.
        vector_frame: What the components refer to: ``"east_north"``, or ``"grid"``, the
            axes that the scene comes on. ``None``: the scene's attribute
            ``vector_frame`` says so, or longitudes and latitudes leave no choice.

    Returns:
        The scene, or a list of them, each with ``valid``, on one grid. With vectors,
        the attribute ``vector_frame`` is ``"grid"``.

    Raises:
        ValueError: A choice is unknown, the grid is told in two ways, or nothing tells
            what vectors refer to.
        SceneError: A scene cannot be placed on the Earth, or tells a direction in
            radians.
        BandNotFoundError: A named band is in none of the scenes, or half of a vector.

    Example:
        >>> import numpy as np
        >>> from affine import Affine
        >>> fine = GeoBox((4, 4), Affine(50, 0, 0, 0, -50, 200), "EPSG:3413")
        >>> scene = xr.Dataset(
        ...     {"image": (("band", "y", "x"), np.full((1, 4, 4), 7.0))},
        ...     {"band": ["B04"], **grid_coords(fine)})
        >>> coarse = align(scene, resolution_m=100.0)
        >>> coarse["x"].values.tolist(), coarse["image"].values[0, 0].tolist()
        ([50.0, 150.0], [7.0, 7.0])
    """
    check_names(angle_bands=angle_bands)
    single = isinstance(scenes, xr.Dataset)
    several = [scenes] if isinstance(scenes, xr.Dataset) else list(scenes)
    if not several:
        raise ValueError("`scenes` must hold a scene. Received: none.")
    options = Resampling(resampling, label_resampling, min_valid_fraction)
    directed = Directed(tuple(angle_bands), tuple(vector_bands), vector_frame)
    for scene in several:
        check_scene(scene)
    directed.check(several)
    target = choose_geobox(
        several, geobox, like=like, crs=crs, resolution_m=resolution_m
    )
    aligned = [_align_one(scene, target, options, directed) for scene in several]
    return aligned[0] if single else aligned


def to_swath(
    scene: xr.Dataset,
    swath: xr.Dataset,
    *,
    resampling: str = "bilinear",
    angle_bands: Sequence[str] = (),
    vector_bands: Sequence[tuple[str, str]] = (),
    vector_frame: str | None = None,
) -> xr.Dataset:
    """Brings a scene on a grid, such as a predicted map, back onto a swath.

    Args:
        scene: A scene on a grid.
        swath: A scene with 2-D ``lat`` and ``lon``; pixels without are void.
        resampling: As for ``align``; integer labels take the nearest code.
        angle_bands: Bands in degrees of a full circle, besides those that tell it.
        vector_bands: Pairs of bands that are components of vectors, turned to true east
            and north, since a swath has no axes.
        vector_frame: As for ``align``.

    Returns:
        A scene with the positions of the swath. With vectors, the attribute
        ``vector_frame`` is ``"east_north"``.

    Raises:
        SceneError: ``scene`` has no grid, or ``swath`` no ``lat`` and ``lon``.
        ValueError: A choice is unknown, or nothing tells what vectors refer to.
        BandNotFoundError: A named band is not there.
    """
    check_names(angle_bands=angle_bands)
    options = Resampling(resampling)
    directed = Directed(tuple(angle_bands), tuple(vector_bands), vector_frame)
    source = scene_geobox(check_scene(scene))
    if source is None or not is_swath(swath):
        raise SceneError(
            "`to_swath` needs a `scene` on a grid and a `swath` with 2-D `lat` and "
            f"`lon`. Received: {scene.attrs.get('scene_id')!r} and "
            f"{swath.attrs.get('scene_id')!r}."
        )
    directed.check([scene])
    placement = GridFromSwath(source, swath)
    plane = _polar_plane(swath)
    turn_out = angle_reader(swath, "east_north", plane)
    rules = directed.rules(scene, plane, averages=resampling != "nearest",
                           turn_out=turn_out)  # fmt: skip

    def continuous(image: xr.Variable, valid: xr.Variable | None) -> PointSampler:
        return PointSampler(image, valid, placement, kernel=options.kernel)

    def bands(image: xr.Variable, valid: xr.Variable | None) -> Any:
        return rules.wrap(continuous, image, valid)

    def classes(label: xr.Variable) -> ClassSampler:
        return ClassSampler(label, placement)

    def nearest(image: xr.Variable, valid: xr.Variable | None) -> PointSampler:
        return PointSampler(image, valid, placement, kernel="nearest")

    coords = {"lat": swath["lat"].variable, "lon": swath["lon"].variable}
    found = rebuild(
        scene,
        coords,
        bands=bands,
        continuous=continuous,
        classes=classes,
        nearest=nearest,
    )
    return _with_frame(found, "east_north" if rules.vectors else None)


def _polar_plane(swath: xr.Dataset) -> str:
    """A polar stereographic plane: conformal, and smooth over the nearer pole."""
    lat = swath["lat"].variable
    middle = float(lat[lat.shape[0] // 2, lat.shape[1] // 2])
    return "EPSG:3031" if middle < 0.0 else "EPSG:3413"


def _align_one(
    scene: xr.Dataset, target: GeoBox, options: Resampling, directed: "Directed"
) -> xr.Dataset:
    if is_swath(scene):
        scene = void_unlocated(scene)
    resampler = Resampler(scene, target, options)
    rules = directed.rules(scene, target.crs, averages=not resampler.keeps_values)

    def bands(image: xr.Variable, valid: xr.Variable | None) -> Any:
        return rules.wrap(resampler.continuous, image, valid)

    found = rebuild(
        scene,
        grid_coords(target),
        bands=bands,
        continuous=resampler.continuous,
        classes=resampler.classes,
        nearest=resampler.nearest,
    )
    kept = resampler.shift is not None and scene.attrs.get("vector_frame") == "grid"
    return _with_frame(found, "grid" if rules.vectors or kept else None)


def _with_frame(scene: xr.Dataset, frame: str | None) -> xr.Dataset:
    """Says what vectors refer to now; what referred to the old grid is told no more."""
    if frame is not None:
        scene.attrs["vector_frame"] = frame
    elif scene.attrs.get("vector_frame") == "grid":
        del scene.attrs["vector_frame"]
    return scene


@dataclass(frozen=True)
class Directed:
    """Bands that are angles or components of vectors, as a caller names them."""

    angles: tuple[str, ...]
    vectors: tuple[tuple[str, str], ...]
    frame: str | None

    def __post_init__(self) -> None:
        if self.frame is not None:
            check_choice("vector_frame", self.frame, FRAMES)
            if not self.vectors:
                raise ValueError(
                    "`vector_frame` says what the components of `vector_bands` refer "
                    f"to, and no pair is named there. Received: {self.frame!r}."
                )

    def check(self, scenes: Sequence[xr.Dataset]) -> None:
        """Refuses names that are in none of the scenes, and halves of vectors."""
        held = [{str(b) for b in scene["band"].values} for scene in scenes]
        wanted = {*self.angles, *(name for pair in self.vectors for name in pair)}
        missing = sorted(wanted - set().union(*held))
        missing += [
            name
            for names in held
            for pair in self.vectors
            if len(names & set(pair)) == 1
            for name in sorted(set(pair) - names)
        ]
        if missing:
            raise BandNotFoundError(
                "`angle_bands` and `vector_bands` must name bands of the scenes, both "
                f"components of each vector. Received: {sorted(set(missing))}; they "
                f"hold: {sorted(set().union(*held))}."
            )

    def rules(
        self,
        scene: xr.Dataset,
        plane: Any,
        *,
        averages: bool,
        turn_out: AngleReader | None = None,
    ) -> AveragingRules:
        """How the bands of one scene are averaged.

        Args:
            scene: The scene.
            plane: CRS in which vectors are averaged.
            averages: Whether pixels are averaged at all, and not only picked.
            turn_out: Angle of the axes wanted, at target pixels; ``None``: the plane's.
        """
        names = [str(band) for band in scene["band"].values]
        vectors = [
            (names.index(u), names.index(v))
            for u, v in self.vectors
            if {u, v} <= set(names)
        ]
        turn_in = angle_reader(scene, self._frame_of(scene), plane) if vectors else None
        known = direction_bands(scene) if averages else []
        angles = [n for n, name in enumerate(names) if name in (*self.angles, *known)]
        decibels = [names.index(name) for name in decibel_bands(scene)]
        return AveragingRules(
            len(names),
            decibels=decibels if averages else (),
            angles=angles if averages else (),
            vectors=vectors,
            turn_in=turn_in,
            turn_out=turn_out if vectors else None,
        )

    def _frame_of(self, scene: xr.Dataset) -> str:
        told = self.frame or scene.attrs.get("vector_frame")
        if told is not None:
            check_choice("vector_frame", told, FRAMES)
            return str(told)
        geobox = scene_geobox(scene)
        if geobox is not None and is_lonlat(geobox):
            return "east_north"
        raise ValueError(
            "`vector_frame` must say what the components of `vector_bands` refer to: "
            "'east_north', or 'grid', the axes that the scene comes on. Received: "
            f"None, and scene {scene.attrs.get('scene_id')!r} has no such attribute."
        )
