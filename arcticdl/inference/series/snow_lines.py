"""How high the snow line lies, map by map, with a DEM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from arcticdl.choices import check_names, choose
from arcticdl.files import refuse_existing, write_json, write_text
from arcticdl.metrics.glaciers import snow_line

DEFINITION = (
    "Altitude of the snow line: the one with the fewest pixels of snow below it and "
    "without snow above it, of all pixels that are of one of the named classes and "
    "have an elevation. Agreement: share of these pixels on their right side, 0-1. The "
    "elevation is that of the DEM, bilinearly at the centre of each pixel, above the "
    "DEM's own zero."
)


def measure_snow_lines(
    maps: Sequence[str | Path],
    elevation: str | Path,
    out: str | Path,
    *,
    snow: Sequence[str],
    no_snow: Sequence[str],
    overwrite: bool = False,
) -> pd.DataFrame:
    """Writes the altitude of the snow line of each map, with its definition beside.

    A map and its elevation are held in memory, about 30 bytes a pixel.

    Args:
        maps: GeoTIFFs of classes, as ``predict`` writes them.
        elevation: A DEM in metres that GDAL reads, on any grid with a CRS.
        out: ``NAME.csv``; ``NAME.json`` stands beside it.
        snow: Names of the classes that are snow.
        no_snow: Names of those that are none, such as bare ice and rock; all others,
            such as water and cloud, are left out.
        overwrite: Whether files may be replaced.

    Returns:
        One row a map: ``file``, ``altitude_m``, ``agreement``, ``num_pixels``.

    Raises:
        ValueError: A map has no CRS or no such class, a class is snow and none, or no
            pixel has an elevation.
        FileNotFoundError: A file is missing.
        FileExistsError: A file is there and ``overwrite`` is false.
    """
    check_names(snow=snow, no_snow=no_snow)
    if both := sorted(set(snow) & set(no_snow)):
        raise ValueError(
            "A class must be snow (`snow`, --snow) or none (`no_snow`, --no-snow). "
            f"Received: {both} as both."
        )
    target = Path(out)
    if target.suffix.lower() != ".csv":
        raise ValueError(f"`out` (--out) must end in .csv. Received: {target}")
    made = (target, target.with_suffix(".json"))
    refuse_existing(*made, overwrite=overwrite)
    for path in (*maps, elevation):
        if not Path(path).is_file():
            raise FileNotFoundError(f"No such file: {path}")
    rows = []
    for path in maps:
        covered, height = _read(Path(path), Path(elevation), snow, no_snow)
        rows.append({"file": Path(path).name, **snow_line(covered, height)._asdict()})
    table = pd.DataFrame(rows)
    told = {"definition": DEFINITION, "snow": list(snow), "no_snow": list(no_snow)}
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target.with_suffix(".json"), {**told, "elevation": Path(elevation).name})
    write_text(target, table.to_csv(index=False, float_format="%.3f"))
    return table


def _read(
    path: Path, elevation: Path, snow: Sequence[str], no_snow: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """1 snow, 0 none, 255 neither; and the elevation of the same pixels."""
    with rasterio.open(path) as file:
        if file.crs is None:
            raise ValueError(f"A map must have a CRS. Received: {path} without one.")
        names = {
            v: int(k[6:]) for k, v in file.tags().items() if k.startswith("class_")
        }
        codes = file.read(1)
        covered = np.full(codes.shape, 255, np.uint8)
        for value, chosen in ((0, no_snow), (1, snow)):
            for name in chosen:
                covered[codes == _code(name, names, path)] = value
        return covered, _elevation(elevation, file)


def _code(name: str, names: dict[str, int], path: Path) -> int:
    if not names:
        raise ValueError(
            "A map must name its classes (tags class_0, class_1, ...). Received: "
            f"{path} without."
        )
    code: int = choose("class", name, names)
    return code


def _elevation(path: Path, grid: Any) -> np.ndarray:
    """The DEM on the grid of a map, NaN outside of it."""
    with rasterio.open(path) as dem:
        if dem.crs is None:
            raise ValueError(f"A DEM must have a CRS. Received: {path} without one.")
        options = {"crs": grid.crs, "transform": grid.transform, "nodata": np.nan}
        size = {"width": grid.width, "height": grid.height}
        bilinear = {"resampling": Resampling.bilinear, "dtype": "float32"}
        with WarpedVRT(dem, **options, **size, **bilinear) as warped:
            height: np.ndarray = warped.read(1)
    if not np.isfinite(height).any():
        raise ValueError(
            f"The DEM must cover the map. Received: {path}, which has no elevation "
            f"where {grid.name} lies."
        )
    return height
