"""Map files: GeoTIFF written row by row under a temporary name."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from arcticdl.files import PartFile
from arcticdl.scene import is_swath, scene_geobox
from arcticdl.void import VOID_CLASS


def scene_georeference(scene: xr.Dataset) -> dict[str, Any]:
    """CRS and affine transform of a scene, empty for a plain image.

    Raises:
        ValueError: The scene is on 2-D lat/lon; a map needs a regular grid.
    """
    if is_swath(scene):
        raise ValueError(
            "The scene lies on 2-D lat/lon and has no regular grid. Align it first: "
            "arcticdl.grid.align([scene], crs=..., resolution_m=...)."
        )
    geobox = scene_geobox(scene)
    if geobox is None or geobox.crs is None:
        return {}
    crs = rasterio.crs.CRS.from_wkt(geobox.crs.to_wkt())
    return {"crs": crs, "transform": geobox.transform}


def pixel_area_m2(georeference: Mapping[str, Any]) -> float | None:
    """Nominal area of a pixel, m2, in the projection's own plane.

    Args:
        georeference: As from ``scene_georeference``.

    Returns:
        The area; ``None`` without a projected CRS.
    """
    crs = georeference.get("crs")
    if crs is None or not crs.is_projected:
        return None
    _, metres = crs.linear_units_factor
    return float(abs(georeference["transform"].determinant) * metres**2)


class MapFile:
    """One GeoTIFF that appears under its name only when it is complete.

    Args:
        path: The file.
        shape: (rows, columns).
        count: Bands.
        dtype: ``"uint8"``, ``"int32"`` or ``"float32"``.
        nodata: Value of pixels without input.
        georeference: ``crs`` and ``transform``, or empty.
        tags: Tags of the file.
        band_names: Descriptions of the bands.
        colors: ``#rrggbb`` of class 0, 1, ... for a colour table (one uint8 band).
        units: Unit of the values, if any.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        *,
        count: int = 1,
        dtype: str = "uint8",
        nodata: float | None = VOID_CLASS,
        georeference: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
        band_names: tuple[str, ...] = (),
        colors: tuple[str, ...] = (),
        units: str = "",
    ):
        self.path = Path(path)
        self._place = PartFile(self.path)
        profile = {
            "driver": "GTiff",
            "height": shape[0],
            "width": shape[1],
            "count": count,
            "dtype": dtype,
            "nodata": nodata,
            "compress": "deflate",
            "predictor": 3 if dtype == "float32" else 2,
            # Noise of floats packs no better for more work: 1 % of the file, not time.
            "zlevel": 1 if dtype == "float32" else 6,
            "bigtiff": "if_safer",
            **(georeference or {}),
        }
        if min(shape) >= 256:
            profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            self._file = rasterio.open(self._place.part, "w", **profile)
        self._file.update_tags(**(tags or {}))
        for number, name in enumerate(band_names, start=1):
            self._file.set_band_description(number, name)
        if units not in ("", "1"):
            self._file.units = (units,) * count
        if colors:
            self._file.write_colormap(1, _colormap(colors))

    def write_rows(self, row: int, rows: NDArray[Any]) -> None:
        """Writes (band, rows, columns) from row ``row`` on."""
        window = Window(0, row, rows.shape[2], rows.shape[1])  # type: ignore[call-arg]
        self._file.write(rows, window=window)

    def commit(self) -> Path:
        """Closes the file, reads every block of it back, and gives it its name.

        Raises:
            OSError: The file is not whole, as on a full disk; an older one stays.
        """
        try:
            self._file.close()
        except BaseException:
            self._place.discard()
            raise
        return self._place.commit()

    def discard(self) -> None:
        """Closes and removes the unfinished file."""
        self._file.close()
        self._place.discard()


def _colormap(colors: tuple[str, ...]) -> dict[int, tuple[int, int, int, int]]:
    table = {
        code: (*(int(color[i : i + 2], 16) for i in (1, 3, 5)), 255)
        for code, color in enumerate(colors)
    }
    return {**table, VOID_CLASS: (0, 0, 0, 0)}  # type: ignore[dict-item]
