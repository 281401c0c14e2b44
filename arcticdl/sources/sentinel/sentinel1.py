"""Sentinel-1 GRD products (EW and IW, medium and high resolution, S1A to S1D).

Backscatter is calibrated, and thermal noise removed, from the product's own annotation;
neither SNAP nor GDAL's calibration is needed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import xarray as xr
from rasterio.errors import RasterioError
from rasterio.windows import Window

from arcticdl.choices import check_choice
from arcticdl.errors import SourceError
from arcticdl.seaice import sar
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import known_time, make_scene
from arcticdl.sources.core.lazy import HandlePool, WindowArray
from arcticdl.sources.core.raster import open_handle
from arcticdl.sources.core.safe_xml import find_count, find_text, parse_xml
from arcticdl.sources.core.tie_points import GeolocationGrid
from arcticdl.sources.core.zipped import ProductPath, product_path
from arcticdl.sources.reader import Reader
from arcticdl.sources.sentinel.sentinel1_luts import (
    LutVector,
    NoiseModel,
    interpolate_vectors,
    read_geolocation,
    read_noise,
    read_vectors,
)

INCIDENCE_BAND = "incidence_angle"
FLOOR_DB = -50.0
"""Power that noise removal left at or below this is drawn as this dark."""

_FIRST_NOISE_IPF = 2.43


@dataclass(frozen=True)
class Channel:
    """One polarisation of a product.

    Attributes:
        polarisation: ``"HH"``, ``"HV"``, ``"VV"`` or ``"VH"``.
        shape: Lines and samples.
        calibration: sigmaNought vectors: digital numbers over this are amplitudes.
        noise: Noise power to subtract; ``None`` for nothing.
        is_denoised: Whether noise is subtracted, here or by the processor.
        noisy_fraction: Of the image, where no noise block tells any, so that it stays.
        pool: Handles of the measurement file.
    """

    polarisation: str
    shape: tuple[int, int]
    calibration: tuple[LutVector, ...]
    noise: NoiseModel | None
    is_denoised: bool
    noisy_fraction: float
    pool: HandlePool

    def read_dn(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads digital numbers, float32 (rows, cols); 0 means no data."""
        window = Window.from_slices(rows, cols)
        try:
            with self.pool.borrow() as source:
                return source.read(1, window=window).astype(np.float32)
        except RasterioError as error:
            raise SourceError(
                f"The {self.polarisation} measurement cannot be read: {error}"
            ) from None

    def sigma0(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads calibrated backscatter, linear float32, NaN where there is no data."""
        dn = self.read_dn(rows, cols)
        empty = dn == 0.0
        power = calibrate(
            dn, self.calibration, self.noise, row=rows.start, col=cols.start
        )
        power[empty] = np.nan
        return power


def calibrate(
    dn: np.ndarray,
    calibration: tuple[LutVector, ...],
    noise: NoiseModel | None,
    *,
    row: int = 0,
    col: int = 0,
) -> np.ndarray:
    """Turns digital numbers into backscatter: ``(DN**2 - noise) / A**2``.

    Args:
        dn: (y, x) digital numbers.
        calibration: sigmaNought vectors A.
        noise: Noise model, or ``None`` to leave the noise in.
        row: Image line of the first row.
        col: Image column of the first column.

    Returns:
        Linear sigma0, float32 of the same shape; negative where noise exceeds power.
    """
    rows, cols = (
        first + np.arange(size)
        for first, size in zip((row, col), dn.shape, strict=True)
    )
    power = dn.astype(np.float32) ** 2
    if noise is not None:
        power -= noise.window(rows, cols)
    amplitude = interpolate_vectors(calibration, rows, cols)
    power /= amplitude
    power /= amplitude
    return power


def open_sentinel1(
    path: str | ProductPath,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    denoise: bool = True,
    scale: str = "db",
) -> xr.Dataset:
    """Opens a Sentinel-1 GRD product as a lazy swath scene.

    Args:
        path: The SAFE folder, ``manifest.safe`` in it, or the product's ``.zip``.
        bands: Names out of the polarisations (``"HH"``, ``"HV"``, ...) and
            ``"incidence_angle"``; ``None``: all.
        band_names: New names of the bands.
        denoise: Subtracts the annotated thermal noise.
        scale: ``"db"``, decibels with values at or below -50 dB, negative power
            included, drawn as -50; or ``"linear"``, power that may be negative, for
            averaging.

    Returns:
        A scene of float32 backscatter and incidence angle in degrees, with lazy ``lat``
        and ``lon`` (y, x); pixels without data are NaN and not ``valid``. Attribute
        ``thermal_noise_removed`` is ``"True"``, ``"False"``, or ``"partly"`` where
        some of the image lies outside all noise blocks of the annotation;
        ``thermal_noise_kept_fraction`` says how much, pixels without data included.

    Raises:
        FileNotFoundError: A file of the product is missing.
        SourceError: A file is damaged, or the product is not GRD.
        ValueError: ``scale`` is unknown.
    """
    check_choice("scale", scale, _SCALES)
    path = product_path(path)
    folder = path.parent if path.name == "manifest.safe" else path
    manifest = parse_xml(folder / "manifest.safe")
    ipf = _ipf_version(manifest)
    annotations = _annotations(folder)
    channels = {
        channel.polarisation: channel
        for channel in (_read_channel(each, ipf, denoise) for each in annotations)
    }
    root = parse_xml(annotations[0])
    grid = read_geolocation(root, annotations[0])
    return _assemble(
        folder, root, channels, grid, choose_bands([*channels, INCIDENCE_BAND], bands,
        band_names), scale, ipf,
    )  # fmt: skip


def _annotations(folder: ProductPath) -> list[ProductPath]:
    found = (folder / "annotation").glob("*.xml")
    paths: list[ProductPath] = sorted(found, key=str)
    if not paths:
        raise FileNotFoundError(f"There is no annotation/*.xml in {folder}.")
    return paths


def _ipf_version(manifest: ElementTree.Element) -> float:
    """Version of the processor, NaN where the manifest does not tell."""
    for node in manifest.iter():
        if "IPF" in node.get("name", "") and node.tag.endswith("software"):
            number = re.match(r"\d+(\.\d+)?", node.get("version", ""))
            return float(number[0]) if number else float("nan")
    return float("nan")


def _read_channel(annotation: ProductPath, ipf: float, denoise: bool) -> Channel:
    root = parse_xml(annotation)
    product = find_text(root, "adsHeader/productType", annotation)
    if product != "GRD":
        raise SourceError(
            f"{annotation} must describe a GRD product. Received: {product!r}."
        )
    info = "imageAnnotation/imageInformation/"
    shape = (
        find_count(root, f"{info}numberOfLines", annotation, low=1),
        find_count(root, f"{info}numberOfSamples", annotation, low=1),
    )
    luts = annotation.parent / "calibration"
    path = luts / f"calibration-{annotation.name}"
    calibration = read_vectors(
        parse_xml(path), "calibrationVector", "sigmaNought", path
    )
    if any((vector.values <= 0.0).any() for vector in calibration):
        raise SourceError(f"{path} must hold positive values of sigmaNought.")
    already = root.findtext(".//thermalNoiseCorrectionPerformed") == "true"
    noise = None
    if denoise and not already:
        noise = _read_noise_file(luts / f"noise-{annotation.name}", shape, ipf)
    measurement = _measurement(annotation)
    return Channel(
        find_text(root, "adsHeader/polarisation", annotation),
        shape,
        calibration,
        noise,
        already or denoise,
        0.0 if noise is None else noise.untold_fraction(shape),
        HandlePool(partial(_open_measurement, str(measurement), shape)),
    )


def _read_noise_file(
    path: ProductPath, shape: tuple[int, int], ipf: float
) -> NoiseModel:
    if ipf < _FIRST_NOISE_IPF:
        raise SourceError(
            f"Noise vectors of IPF {ipf} are not calibrated (they are since IPF "
            f"{_FIRST_NOISE_IPF}). Open with `denoise=False`. Received: {path}."
        )
    return read_noise(parse_xml(path), shape, path)


def _measurement(annotation: ProductPath) -> ProductPath:
    folder = annotation.parent.parent / "measurement"
    for suffix in (".tiff", ".tif"):
        path = folder / (annotation.stem + suffix)
        if path.is_file():
            if path.stat().st_size == 0:
                raise SourceError(f"The measurement {path} is empty (0 bytes).")
            return path
    raise FileNotFoundError(f"There is no measurement {annotation.stem} in {folder}.")


def _open_measurement(path: str, shape: tuple[int, int]) -> rasterio.DatasetReader:
    source = open_handle(path, "GTiff")
    if source.shape != shape:
        source.close()
        raise SourceError(
            f"{path} must have the lines and samples of its annotation, {shape}. "
            f"Received: {source.shape}."
        )
    return source


_SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "db": partial(sar.to_db, floor_db=FLOOR_DB),
    "linear": np.asarray,
}


def _assemble(
    folder: ProductPath,
    root: ElementTree.Element,
    channels: dict[str, Channel],
    grid: GeolocationGrid,
    chosen: tuple[list[int], list[str]],
    scale: str,
    ipf: float,
) -> xr.Dataset:
    members = list(channels.values())
    shapes = {channel.shape for channel in members}
    if len(shapes) > 1:
        raise SourceError(
            f"The channels of {folder} must have one shape. Received: {sorted(shapes)}."
        )
    for channel in members:
        with channel.pool.borrow():
            pass
    shape = shapes.pop()
    picks: list[Channel | None] = [*members, None]
    readers = [picks[index] for index in chosen[0]]
    image = WindowArray(
        (len(readers), *shape), np.float32, partial(_read_image, readers, grid, scale)
    )
    valid = WindowArray(shape, bool, partial(_read_valid, members))
    unit = {"db": "dB", "linear": "1"}[scale]
    return make_scene(
        image.variable(("band", "y", "x")),
        chosen[1],
        valid=valid.variable(("y", "x")),
        coords=grid.coords(shape),
        units=["degree" if reader is None else unit for reader in readers],
        attrs=_attributes(folder, root, ipf, members),
        close=partial(_close_all, members),
    )


def _attributes(
    folder: ProductPath, root: ElementTree.Element, ipf: float, members: list[Channel]
) -> dict[str, Any]:
    annotation = folder / "annotation"
    mission = find_text(root, "adsHeader/missionId", annotation)
    mode = find_text(root, "adsHeader/mode", annotation)
    time = known_time(find_text(root, "adsHeader/startTime", annotation))
    return {
        "scene_id": folder.name.removesuffix(".SAFE"),
        **({"time": time} if time else {}),
        "sensor": f"Sentinel-{mission[1:]} {mode}",
        "ipf_version": ipf,
        **_noise_attributes(members),
    }


def _noise_attributes(members: list[Channel]) -> dict[str, Any]:
    """What is left of the thermal noise, in the worst of the channels."""
    if not all(channel.is_denoised for channel in members):
        return {"thermal_noise_removed": "False"}
    kept = max(channel.noisy_fraction for channel in members)
    if kept == 0.0:
        return {"thermal_noise_removed": "True"}
    return {"thermal_noise_removed": "partly", "thermal_noise_kept_fraction": kept}


def _read_image(
    readers: list[Channel | None],
    grid: GeolocationGrid,
    scale: str,
    bands: list[int],
    rows: slice,
    cols: slice,
) -> np.ndarray:
    size = (len(bands), rows.stop - rows.start, cols.stop - cols.start)
    block = np.empty(size, np.float32)
    for place, band in enumerate(bands):
        reader = readers[band]
        if reader is None:
            block[place] = grid.incidence(_index(rows), _index(cols))
        else:
            block[place] = _SCALES[scale](reader.sigma0(rows, cols))
    return block


def _read_valid(members: list[Channel], rows: slice, cols: slice) -> np.ndarray:
    return np.logical_and.reduce([c.read_dn(rows, cols) > 0 for c in members])


def _index(part: slice) -> np.ndarray:
    return np.arange(part.start, part.stop)


def _close_all(members: list[Channel]) -> None:
    for channel in members:
        channel.pool.close()


def is_sentinel1(path: Any, head: bytes) -> bool:
    """A SAFE folder of Sentinel-1, or its manifest."""
    folder = path.parent if path.name == "manifest.safe" else path
    if not (folder / "manifest.safe").is_file():
        return False
    return folder.name.startswith("S1") or any(
        folder.glob("annotation/calibration/calibration-*.xml")
    )


READER = Reader(is_sentinel1, open_sentinel1)
