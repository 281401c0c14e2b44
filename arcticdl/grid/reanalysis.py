"""Weather fields on the pixels of a scene."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from arcticdl.choices import check_choice, check_names
from arcticdl.errors import BandNotFoundError, SourceError
from arcticdl.grid.align import align, to_swath
from arcticdl.grid.vectors import FRAMES
from arcticdl.scene import is_swath
from arcticdl.sources.formats.reanalysis import open_fields
from arcticdl.sources.formats.winds import Vectors


def align_reanalysis(
    path: str | Path,
    scene: xr.Dataset,
    *,
    bands: Sequence[str] | None = None,
    max_gap_h: float = 3.0,
    resampling: str = "bilinear",
    vector_frame: str | None = None,
) -> xr.Dataset:
    """Brings the weather at the time of a scene onto its pixels, lazily.

    ``stack([scene, align_reanalysis("era5.nc", scene)])`` has both. On a grid the
    components of winds, and of other vectors that have standard names, are turned to
    its axes; on a swath, which has no axes, to east and north. Bands whose names tell
    that they are directions are interpolated as such, as by ``align`` (they stay
    clockwise from north).

    Args:
        path: NetCDF or Zarr of a reanalysis.
        scene: A scene with a position and the attribute ``time``.
        bands: Variables to keep; ``None``: all.
        max_gap_h: Hours that the nearest time may lie off.
        resampling: ``"bilinear"``, ``"cubic"`` or ``"nearest"``.
        vector_frame: What components refer to in the file: ``"east_north"``, or
            ``"grid"``, the axes of its own grid. ``None``: the file tells. A grid of
            longitudes and latitudes leaves no choice; that of CARRA has them along its
            axes; else GRIB's flag ``uvRelativeToGrid`` or standard names tell, such as
            ``eastward_wind``, ``x_wind`` and ``grid_eastward_wind``.

    Returns:
        The fields on the scene's pixels, with ``valid``; ``time`` and ``time_gap_s`` as
        by ``arcticdl.sources.open_reanalysis``. With vectors, ``vector_frame`` says
        what they refer to now, ``vector_frame_of_file`` what they did in the file, and
        ``vector_frame_from`` what tells that.

    Raises:
        SourceError: No time is near enough, the file is unreadable, or nothing tells
            what components refer to.
        SceneError: The scene has no position, or no time.
        BandNotFoundError: A variable is not there, or one component of two.
        ValueError: An unknown choice.
    """
    check_names(bands=bands)
    if vector_frame is not None:
        check_choice("vector_frame", vector_frame, FRAMES)
    fields, vectors = open_fields(path, scene, bands=bands, max_gap_h=max_gap_h)
    frame, told = vector_frame, "the caller"
    if frame is None:
        frame, told = vectors.frame, vectors.told
    on_swath = is_swath(scene) and not is_swath(fields)
    if vectors.pairs or vectors.lone:
        _check_vectors(path, vectors, frame, keeps_east=on_swath)
    options: dict[str, Any] = {
        "resampling": resampling,
        "vector_bands": vectors.pairs,
        "vector_frame": frame if vectors.pairs else None,
    }
    if on_swath:
        found = to_swath(fields, scene, **options)
    else:
        found = align(fields, like=scene, **options)
    if vectors.pairs:
        found.attrs |= {"vector_frame_of_file": frame, "vector_frame_from": told}
    return found


def _check_vectors(
    path: str | Path, vectors: Vectors, frame: str | None, *, keeps_east: bool
) -> None:
    """Refuses components that would be left, or turned, in a way that nobody told."""
    if frame is None:
        raise SourceError(
            f"{path} must tell what the components {vectors.pairs or vectors.lone} "
            f"refer to. Received: {vectors.told}, which do not. Pass `vector_frame`: "
            "'east_north', or 'grid', the axes of the file's own grid."
        )
    if vectors.lone and not (keeps_east and frame == "east_north"):
        raise BandNotFoundError(
            "Both components of a vector are needed to turn it. Received: "
            f"{list(vectors.lone)} alone; add the other one to `bands`, or leave out "
            "this one."
        )
