"""Weather fields of a reanalysis (ERA5, CARRA) at the time of a scene."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import SceneError, SourceError
from arcticdl.sources.bands import BandNames
from arcticdl.sources.core.assemble import utc_text
from arcticdl.sources.formats.cf_axes import decode_times
from arcticdl.sources.formats.groups import open_group, open_raw
from arcticdl.sources.formats.netcdf import scene_of
from arcticdl.sources.formats.versions import merge_versions
from arcticdl.sources.formats.winds import Vectors, find_vectors

TIME_NAMES = ("valid_time", "time")
"""Names of the time axis: of ERA5 since 2024, and before."""


def open_reanalysis(
    path: str | Path,
    time: Any,
    *,
    bands: str | Sequence[str] | None = None,
    band_names: BandNames = None,
    max_gap_h: float = 3.0,
) -> xr.Dataset:
    """Opens the fields of a reanalysis that are nearest to a time, as a lazy scene.

    The file is NetCDF or Zarr with a time axis, such as the hourly ERA5 of the Climate
    Data Store: latitude falling, longitudes of any convention. Final and preliminary
    data along ``expver`` are merged, the final before. Components of the wind stay as
    they are; ``arcticdl.grid.align_reanalysis`` turns them to the axes of a scene.

    Args:
        path: The file, or the folder of the store.
        time: The time wanted: text, a datetime (UTC unless it says otherwise), or a
            scene with the attribute ``time``.
        bands: Variables to keep, such as ``["u10", "v10", "t2m"]``, or one; ``None``:
            all.
        band_names: New names (see ``choose_bands``).
        max_gap_h: Hours that the nearest time may lie off; of two equally near ones the
            earlier is taken.

    Returns:
        The scene. Attributes ``time``, that of the fields; ``time_gap_s``, by how many
        seconds they are later than asked for; and, where the file tells,
        ``vector_frame``: whether vectors refer to ``"east_north"`` or to their
        ``"grid"``, and ``vector_frame_from``: what tells it.

    Raises:
        SourceError: The file has no time axis, or no time within ``max_gap_h``.
        SceneError: ``time`` is no time, or a scene without one.
        BandNotFoundError: A variable is not there.
        ValueError: ``max_gap_h`` is negative.
    """
    return open_fields(
        path, time, bands=bands, band_names=band_names, max_gap_h=max_gap_h
    )[0]


def open_fields(
    path: str | Path,
    time: Any,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    max_gap_h: float = 3.0,
) -> tuple[xr.Dataset, Vectors]:
    """Opens what ``open_reanalysis`` does, and tells which bands are vectors."""
    if not max_gap_h >= 0.0:
        raise ValueError(
            f"`max_gap_h` must be at least 0. Received: max_gap_h={max_gap_h}."
        )
    wanted = np.datetime64(_wanted_time(time).rstrip("Z"), "s")
    times = field_times(path)
    gaps_s = (times - wanted) / np.timedelta64(1, "s")
    index = int(np.abs(gaps_s).argmin())
    if abs(gaps_s[index]) > max_gap_h * 3600.0:
        raise SourceError(
            f"{path} must hold a time within {max_gap_h:g} h of {wanted}Z. Received: "
            f"{len(times)} times from {times.min()}Z to {times.max()}Z, the nearest "
            f"{abs(gaps_s[index]) / 3600.0:.2f} h off; `max_gap_h` allows more."
        )
    merged = merge_versions(open_group(str(path), None, bands))
    try:
        scene = scene_of(
            merged,
            str(path),
            bands=bands,
            band_names=band_names,
            time_index=index if len(times) > 1 else None,
            reasons=False,
        )
        vectors = find_vectors(scene, merged)
    except BaseException:
        merged.close()
        raise
    scene.set_close(merged.close)
    scene.attrs["time"] = utc_text(times[index])
    scene.attrs["time_gap_s"] = int(gaps_s[index])
    if vectors.frame is not None:
        scene.attrs |= {
            "vector_frame": vectors.frame,
            "vector_frame_from": vectors.told,
        }
    return scene, vectors


def _wanted_time(time: Any) -> str:
    if isinstance(time, xr.Dataset):
        if "time" not in time.attrs:
            raise SceneError(
                f"Scene {time.attrs.get('scene_id')!r} must have the attribute `time`, "
                "or `time` be told itself. Received: none."
            )
        time = time.attrs["time"]
    return utc_text(time)


def field_times(path: str | Path) -> np.ndarray:
    """Times of the fields of a file, datetime64[s] (time,), UTC.

    Args:
        path: NetCDF file, or the folder of a Zarr store.

    Returns:
        The times in the order of the axis; one where the file holds a single time.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: It has no readable time axis, or one that runs through two.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"There is no file {path}.")
    raw = open_raw(str(path))
    try:
        named = [n for n in TIME_NAMES
                 if n in raw.variables
                 and " since " in str(raw[n].attrs.get("units", ""))]  # fmt: skip
        # An axis goes before a lone time, which may be that of a forecast's start.
        named.sort(key=lambda name: raw[name].ndim != 1)
        if not named or raw[named[0]].ndim > 1:
            raise SourceError(
                f"{path} must have a time axis, one of {sorted(TIME_NAMES)} with units "
                f"such as 'hours since 1900-01-01'. Received: {named or 'none'}."
            )
        line = raw.variables[named[0]]
        times = decode_times(f"{named[0]!r} of {path}", line.values.ravel(), line.attrs)
    finally:
        raw.close()
    if not times.size or np.isnat(times).any():
        raise SourceError(f"{path} must give each field a time. Received: gaps.")
    return times
