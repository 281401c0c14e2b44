"""Writes a simulated scene as an image and a label GeoTIFF."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from arcticdl.seaice import colours
from arcticdl.seaice.schemes import AUTOICE_SOD
from arcticdl.simulate.scene import (
    BAND_UNITS,
    BANDS,
    Truth,
    ice_type_of,
    image_of,
    label_attributes,
    scene_tags,
)
from arcticdl.void import VOID_CLASS

_LAYOUT = {"driver": "GTiff", "compress": "deflate", "zlevel": 1, "tiled": True}


def write_geotiff(truth: Truth, out_dir: Path) -> Path:
    """Writes ``NAME.tif`` and ``NAME_labels.tif``.

    Args:
        truth: The scene.
        out_dir: Folder, which exists.

    Returns:
        Path of the image; the label map lies beside it.
    """
    path = out_dir / f"{truth.scene_id}.tif"
    labels = out_dir / f"{truth.scene_id}_labels.tif"
    write_labels(truth, labels)
    _write_image(truth, path)
    return path


def _profile(truth: Truth, count: int, dtype: str, nodata: float) -> dict[str, Any]:
    height, width = truth.geobox.shape
    return _LAYOUT | {
        "height": height,
        "width": width,
        "count": count,
        "dtype": dtype,
        "nodata": nodata,
        "crs": "EPSG:3413",
        "transform": truth.geobox.affine,
        "blockxsize": 256,
        "blockysize": 256,
    }


def _write_image(truth: Truth, path: Path) -> None:
    partial = path.with_suffix(".partial")
    profile = _profile(truth, len(BANDS), "float32", np.nan) | {"predictor": 3}
    with rasterio.open(partial, "w", **profile) as target:
        target.write(image_of(truth))
        target.descriptions = BANDS
        target.units = BAND_UNITS
        target.update_tags(**_tags(truth))
    partial.replace(path)


def write_labels(truth: Truth, path: Path, *, georeferenced: bool = True) -> None:
    """Writes the ice types with class names and WMO colours.

    Args:
        truth: The scene.
        path: File to write.
        georeferenced: Off for labels in the geometry of a swath.
    """
    partial = path.with_suffix(".partial")
    profile = _profile(truth, 1, "uint8", VOID_CLASS)
    if not georeferenced:
        del profile["crs"], profile["transform"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(partial, "w", **profile) as target:
            target.write(ice_type_of(truth), 1)
            target.set_band_description(1, "ice_type")
            target.write_colormap(1, colours.colormap(AUTOICE_SOD.colours))
            tags = {key: _as_text(value) for key, value in label_attributes().items()}
            target.update_tags(1, **tags)
            target.update_tags(**_tags(truth))
    partial.replace(path)


def _as_text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tags(truth: Truth) -> dict[str, str]:
    stamp = str(truth.time).replace("-", ":").replace("T", " ")
    return {"TIFFTAG_DATETIME": stamp, **scene_tags(truth)}
