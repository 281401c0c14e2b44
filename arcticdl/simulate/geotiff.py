"""Writes a simulated scene as an image and a label GeoTIFF."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning

from arcticdl.files import atomic_path, safe_name
from arcticdl.scene import is_swath, scene_geobox
from arcticdl.seaice import colours
from arcticdl.void import VOID_CLASS

_LAYOUT = {
    "driver": "GTiff",
    "compress": "deflate",
    "zlevel": 1,
    "tiled": True,
    "blockxsize": 256,
    "blockysize": 256,
}


def write_geotiff(scene: xr.Dataset, label: str, out_dir: Path) -> Path:
    """Writes ``NAME.tif`` and ``NAME_labels.tif``.

    Args:
        scene: Scene on a grid, float32, NaN where there is no data.
        label: The label to write; its class names and colours go along.
        out_dir: Folder, which exists.

    Returns:
        Path of the image; the label map lies beside it.
    """
    path = write_bands(scene, out_dir)
    write_labels(scene, label, path.with_name(f"{path.stem}_labels.tif"))
    return path


def write_bands(scene: xr.Dataset, out_dir: Path) -> Path:
    """Writes the image of a scene as ``NAME.tif`` and returns the path."""
    path = out_dir / f"{safe_name(scene.attrs['scene_id'])}.tif"
    profile = _profile(scene, scene.sizes["band"], "float32", np.nan)
    bands = [str(name) for name in scene["band"].values]
    with atomic_path(path) as part, _opened(part, **profile, predictor=3) as target:
        target.write(scene["image"].values)
        target.descriptions = bands
        target.units = _units(scene)
        target.update_tags(**_tags(scene))
    return path


def write_values(scene: xr.Dataset, label: str, path: Path) -> None:
    """Writes a quantity of each pixel, or several, float32 with NaN for nothing."""
    values = scene[label].values
    values = values if values.ndim == 3 else values[None]
    several = "channel" in scene[label].coords
    names = scene["channel"].values.tolist() if several else [label]
    profile = _profile(scene, len(values), "float32", np.nan)
    with (
        atomic_path(path) as part,
        rasterio.open(part, "w", **profile, predictor=3) as target,
    ):
        target.write(values)
        target.descriptions = names
        target.units = [str(scene[label].attrs.get("units", ""))] * len(values)
        target.update_tags(**_tags(scene))


def write_labels(
    scene: xr.Dataset, label: str, path: Path, *, georeferenced: bool = True
) -> None:
    """Writes a label with class names and colours.

    Args:
        scene: The scene.
        label: Name of the label.
        path: File to write.
        georeferenced: Off for labels in the geometry of a swath.
    """
    profile = _profile(scene, 1, "uint8", VOID_CLASS)
    if not georeferenced:
        profile = {k: v for k, v in profile.items() if k not in ("crs", "transform")}
    attrs = scene[label].attrs
    palette = str(attrs.get("flag_colors", "")).split()
    with atomic_path(path) as part, _opened(part, **profile) as target:
        target.write(scene[label].values, 1)
        target.set_band_description(1, label)
        if palette:
            target.write_colormap(1, colours.colormap(palette))
        tags = {key: _as_text(value) for key, value in attrs.items()}
        target.update_tags(1, **tags)
        target.update_tags(**_tags(scene))


@contextmanager
def _opened(path: Path, **profile: Any) -> Iterator[Any]:
    """A file to write to, with or without a place on Earth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as target:
            yield target


def _profile(
    scene: xr.Dataset, count: int, dtype: str, nodata: float
) -> dict[str, Any]:
    if is_swath(scene):
        raise ValueError("`scene` must lie on a regular grid. Received: a swath.")
    geobox = scene_geobox(scene)
    place: dict[str, Any] = {}  # none of a plain image
    if geobox is not None:
        place = {"crs": str(geobox.crs), "transform": geobox.affine}
    return _LAYOUT | {
        "height": scene.sizes["y"],
        "width": scene.sizes["x"],
        "count": count,
        "dtype": dtype,
        "nodata": nodata,
        **place,
    }


def _units(scene: xr.Dataset) -> list[str]:
    if "band_units" in scene.coords:
        return [str(unit) for unit in scene["band_units"].values]
    return [str(scene["image"].attrs.get("units", ""))] * scene.sizes["band"]


def _as_text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tags(scene: xr.Dataset) -> dict[str, str]:
    attrs = {str(key): str(value) for key, value in scene.attrs.items()}
    if "time" not in attrs:
        return attrs
    stamp = attrs["time"].rstrip("Z").replace("-", ":").replace("T", " ")
    return {"TIFFTAG_DATETIME": stamp, **attrs}
