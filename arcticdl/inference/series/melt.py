"""When melt begins, pixel by pixel, from scenes of one grid."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from arcticdl.errors import BandNotFoundError
from arcticdl.files import refuse_existing, refuse_sources
from arcticdl.inference.output import MapFile, scene_georeference
from arcticdl.metrics.melt_onset import melt_onset
from arcticdl.scene import read_values
from arcticdl.sources import open_scene
from arcticdl.tiles.writing.scan import read_valid

_ROWS = 256


def measure_melt_onset(
    scenes: Sequence[str | Path],
    out: str | Path,
    *,
    band: str,
    winter: tuple[str, str],
    change: float,
    least_times: int = 3,
    overwrite: bool = False,
) -> Path:
    """Writes the day of the year on which melt begins as a GeoTIFF.

    Rows are read as they are needed: memory grows with the width and the number of
    scenes.

    Args:
        scenes: Files of scenes that tell their time, all on one grid.
        out: ``NAME.tif``: day of the year in which the winter ends, 1 on 1 January and
            more than 366 in the year after; NaN where no melt was seen.
        band: Backscatter in dB, or brightness temperature in K.
        winter: First and last day whose scenes make the winter mean, ISO 8601.
        change: As for ``arcticdl.metrics.melt_onset``.
        least_times: Scenes in a row beyond the threshold.
        overwrite: Whether the file may be replaced.

    Returns:
        The file.

    Raises:
        ValueError: Grids differ, a scene tells no time, two are of one time, or none is
            within the winter or after it.
        BandNotFoundError: A scene lacks the band.
        FileExistsError: It is there and ``overwrite`` is false, or is one of `scenes`.
    """
    target = Path(out)
    if target.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"`out` (--out) must end in .tif. Received: {target}")
    refuse_existing(target, overwrite=overwrite)
    refuse_sources([target], scenes)
    opened = sorted((_open(path, band) for path in scenes), key=_time)
    _check_grids(opened)
    first, times = opened[0], [_time(scene) for scene in opened]
    onset = partial(
        melt_onset,
        times=times,
        winter=winter,
        change=change,
        least_times=least_times,
    )
    onset(np.zeros((len(times), 1)))  # refuses what is wrong
    year = np.datetime64(winter[1], "Y").astype("M8[D]")
    target.parent.mkdir(parents=True, exist_ok=True)
    about = (
        f"Day of the year {str(year)[:4]} on which melt begins: the first of "
        f"{least_times} scenes in a row whose {band} differs from the mean of "
        f"{winter[0]} to {winter[1]} by {change:g} or beyond."
    )
    file = _file(target, first, {"definition": about, "year": str(year)[:4]})
    try:
        for row in range(0, first.sizes["y"], _ROWS):
            values = np.stack([_rows(scene, row) for scene in opened])
            days = onset(values)
            told = (days - year).astype(float) + 1
            told[np.isnat(days)] = np.nan
            file.write_rows(row, told[None].astype(np.float32))
        return file.commit()
    except BaseException:
        file.discard()
        raise


def _open(path: str | Path, band: str) -> xr.Dataset:
    scene = open_scene(path)
    if "time" not in scene.attrs:
        raise ValueError(
            f"Each scene must tell its time. Received: {path} without one."
        )
    if band not in scene["band"].values:
        raise BandNotFoundError(
            f"`band` (--band) must be one of {sorted(map(str, scene['band'].values))}. "
            f"Received: {band!r} of {path}."
        )
    return scene.sel(band=[band])


def _time(scene: xr.Dataset) -> np.datetime64:
    return np.datetime64(str(scene.attrs["time"]).removesuffix("Z"), "s")


def _check_grids(scenes: Sequence[xr.Dataset]) -> None:
    first, *others = [
        (scene.sizes["y"], scene.sizes["x"], scene_georeference(scene))
        for scene in scenes
    ]
    for scene, other in zip(scenes[1:], others, strict=True):
        if other != first:
            raise ValueError(
                "All scenes must lie on one grid: bring them to it with "
                f"`arcticdl.grid.align`. Received: {scene.attrs.get('scene_id')!r} on "
                f"another than {scenes[0].attrs.get('scene_id')!r}."
            )


def _rows(scene: xr.Dataset, row: int) -> np.ndarray:
    part = {"y": slice(row, row + _ROWS)}
    values = read_values(scene["image"].isel(part), "y", "x", "band")[..., 0]
    return np.where(read_valid(scene, part), values, np.nan)


def _file(target: Path, scene: xr.Dataset, tags: dict[str, str]) -> MapFile:
    return MapFile(
        target,
        (scene.sizes["y"], scene.sizes["x"]),
        dtype="float32",
        nodata=float("nan"),
        georeference=scene_georeference(scene),
        tags=tags,
        band_names=("melt onset",),
        units="day of year",
    )
