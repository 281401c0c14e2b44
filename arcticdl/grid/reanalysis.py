"""Weather fields on the pixels of a scene."""

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from arcticdl.grid.align import align, to_swath
from arcticdl.scene import is_swath
from arcticdl.sources.formats.reanalysis import open_reanalysis

WINDS = (
    ("u10", "v10"), ("10u", "10v"), ("u100", "v100"), ("u10n", "v10n"), ("u", "v"),
    ("uas", "vas"),
)  # fmt: skip
"""Components of the wind towards east and north, as ECMWF and CMIP name them."""

DIRECTIONS = ("wdir10", "wdir", "mwd")
"""Bands that are directions in degrees."""


def align_reanalysis(
    path: str | Path,
    scene: xr.Dataset,
    *,
    bands: Sequence[str] | None = None,
    max_gap_h: float = 3.0,
    resampling: str = "bilinear",
) -> xr.Dataset:
    """Brings the weather at the time of a scene onto its pixels, lazily.

    ``stack([scene, align_reanalysis("era5.nc", scene)])`` has both. On a grid the pairs
    of ``WINDS`` are turned to its axes, and ``DIRECTIONS`` interpolated as directions
    (they stay clockwise from north). On a swath, which has no axes, components stay
    east and north.

    Args:
        path: NetCDF or Zarr of a reanalysis, on latitudes and longitudes.
        scene: A scene with a position and the attribute ``time``.
        bands: Variables to keep; ``None``: all.
        max_gap_h: Hours that the nearest time may lie off.
        resampling: ``"bilinear"``, ``"cubic"`` or ``"nearest"``.

    Returns:
        The fields on the scene's pixels, with ``valid``; ``time`` and ``time_gap_s`` as
        by ``arcticdl.sources.open_reanalysis``.

    Raises:
        SourceError: No time is near enough, or the file is unreadable.
        SceneError: The scene has no position, or no time.
        BandNotFoundError: A variable is not there.
    """
    fields = open_reanalysis(path, scene, bands=bands, max_gap_h=max_gap_h)
    if is_swath(scene) and not is_swath(fields):
        return to_swath(fields, scene, resampling=resampling)
    held = {str(name) for name in fields["band"].values}
    return align(
        fields,
        like=scene,
        resampling=resampling,
        vector_bands=[pair for pair in WINDS if set(pair) <= held],
        angle_bands=[name for name in DIRECTIONS if name in held],
    )
