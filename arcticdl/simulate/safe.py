"""Writes a simulated scene as a Sentinel-1 EW GRD product in SAFE layout.

The annotation holds the elements that calibration, noise removal and geolocation need,
under the names and in the units of the Sentinel-1 Product Specification; it is not a
complete product annotation.
"""

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from arcticdl.files import atomic_folder
from arcticdl.seaice import sar
from arcticdl.simulate.geotiff import write_labels
from arcticdl.simulate.scene import Truth, to_dataset

BETA_NOUGHT = 1087.0
"""Digital number of amplitude 1 in radar brightness, as EW products have it."""

_IPF = "003.71"
_LUT_STEP_PX = 40
_GRID_POINTS = 12


def write_safe(truth: Truth, out_dir: Path) -> Path:
    """Writes ``NAME.SAFE`` and, beside it, ``NAME_labels.tif``.

    Args:
        truth: The scene, drawn with its track along the columns (``heading_deg=0``).
        out_dir: Folder, which exists.

    Returns:
        Path of the SAFE folder.
    """
    name = _product_name(truth)
    labels = out_dir / f"{name}_labels.tif"
    write_labels(to_dataset(truth), "ice_type", labels, georeferenced=False)
    with atomic_folder(out_dir / f"{name}.SAFE") as part:
        _write_product(truth, part)
    return out_dir / f"{name}.SAFE"


def _write_product(truth: Truth, folder: Path) -> None:
    annotation = folder / "annotation"
    luts = annotation / "calibration"
    luts.mkdir(parents=True)
    (folder / "measurement").mkdir()
    for number, polarisation in enumerate(("hh", "hv"), start=1):
        stem = _stem(truth, polarisation, number)
        _save(_product_xml(truth, polarisation), annotation / f"{stem}.xml")
        _save(_calibration_xml(truth), luts / f"calibration-{stem}.xml")
        _save(_noise_xml(truth), luts / f"noise-{stem}.xml")
        power = getattr(truth.radar, polarisation)
        _write_measurement(truth, power, folder / "measurement" / f"{stem}.tiff")
    _save(_manifest_xml(), folder / "manifest.safe")


def _stamp(truth: Truth) -> str:
    return str(truth.time).replace("-", "").replace(":", "")


def _product_name(truth: Truth) -> str:
    seed = truth.scene_id.removeprefix("simulated_").replace("_", "")
    return f"S1A_EW_GRDM_1SDH_{_stamp(truth)}_{_stamp(truth)}_000000_000000_{seed:0>4}"


def _stem(truth: Truth, polarisation: str, number: int) -> str:
    stamp = _stamp(truth).lower()
    return f"s1a-ew-grd-{polarisation}-{stamp}-{stamp}-000000-000000-{number:03d}"


def _save(root: ET.Element, path: Path) -> None:
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add(parent: ET.Element, tag: str, value: object = None) -> ET.Element:
    node = ET.SubElement(parent, tag)
    if value is not None:
        node.text = str(value)
    return node


def _add_list(parent: ET.Element, tag: str, values: Iterable[object]) -> None:
    texts = [f"{v:.9e}" if isinstance(v, float) else str(v) for v in values]
    _add(parent, tag, " ".join(texts)).set("count", str(len(texts)))


def _manifest_xml() -> ET.Element:
    safe = "{http://www.esa.int/safe/sentinel-1.0}"
    root = ET.Element("{urn:ccsds:schema:xfdu:1}XFDU")
    facility = ET.SubElement(root, f"{safe}facility")
    ET.SubElement(
        facility, f"{safe}software", name="Sentinel-1 IPF (simulated)", version=_IPF
    )
    return root


def _header(root: ET.Element, truth: Truth, polarisation: str) -> None:
    header = _add(root, "adsHeader")
    for tag, value in (
        ("missionId", "S1A"),
        ("productType", "GRD"),
        ("polarisation", polarisation.upper()),
        ("mode", "EW"),
        ("swath", "EW"),
        ("startTime", f"{truth.time}.000000"),
        ("stopTime", f"{truth.time}.000000"),
    ):
        _add(header, tag, value)


def _product_xml(truth: Truth, polarisation: str) -> ET.Element:
    root = ET.Element("product")
    _header(root, truth, polarisation)
    rows, cols = truth.geobox.shape
    spacing = abs(truth.geobox.affine.a)
    image = _add(root, "imageAnnotation")
    info = _add(image, "imageInformation")
    _add(info, "rangePixelSpacing", spacing)
    _add(info, "azimuthPixelSpacing", spacing)
    _add(info, "numberOfSamples", cols)
    _add(info, "numberOfLines", rows)
    processing = _add(image, "processingInformation")
    _add(processing, "thermalNoiseCorrectionPerformed", "false")
    points = _add(_add(root, "geolocationGrid"), "geolocationGridPointList")
    for row, col, lat, lon, incidence in _tie_points(truth):
        point = _add(points, "geolocationGridPoint")
        _add(point, "line", row)
        _add(point, "pixel", col)
        _add(point, "latitude", f"{lat:.12e}")
        _add(point, "longitude", f"{lon:.12e}")
        _add(point, "height", 0.0)
        _add(point, "incidenceAngle", f"{incidence:.9e}")
    return root


def _tie_points(truth: Truth) -> Iterable[tuple[int, int, float, float, float]]:
    rows, cols = (_nodes(size, _GRID_POINTS) for size in truth.geobox.shape)
    lat, lon = truth.latlon(rows, cols)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            incidence = float(truth.radar.incidence_deg[row, col])
            yield int(row), int(col), float(lat[i, j]), float(lon[i, j]), incidence


def _nodes(size: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(count, size)).round().astype(int))


def _columns(truth: Truth) -> np.ndarray:
    """Columns of the LUT vectors: every 40, and both sides of each seam."""
    cols = truth.geobox.shape[1]
    swath = truth.radar.noise.swath[0].astype(int)
    seams = np.flatnonzero(np.diff(swath))
    steps = np.arange(0, cols, _LUT_STEP_PX)
    return np.unique(np.concatenate([steps, seams, seams + 1, [cols - 1]]))


def amplitude(truth: Truth) -> np.ndarray:
    """Gives sigmaNought of each column: brightness over the root of the sine."""
    sine = np.sin(np.deg2rad(truth.radar.incidence_deg[0].astype(np.float64)))
    return BETA_NOUGHT / np.sqrt(sine)


def _calibration_xml(truth: Truth) -> ET.Element:
    root = ET.Element("calibration")
    vectors = _add(root, "calibrationVectorList")
    cols = _columns(truth)
    sigma = amplitude(truth)[cols]
    for row in _nodes(truth.geobox.shape[0], 5):
        vector = _add(vectors, "calibrationVector")
        _add(vector, "line", int(row))
        _add_list(vector, "pixel", map(int, cols))
        _add_list(vector, "sigmaNought", map(float, sigma))
        _add_list(vector, "betaNought", [BETA_NOUGHT] * len(cols))
    return root


def _noise_xml(truth: Truth) -> ET.Element:
    root = ET.Element("noise")
    noise = truth.radar.noise
    cols = _columns(truth)
    power = sar.from_db(noise.across_db()[0].astype(np.float64)) * amplitude(truth) ** 2
    vectors = _add(root, "noiseRangeVectorList")
    for row in _nodes(truth.geobox.shape[0], 5):
        vector = _add(vectors, "noiseRangeVector")
        _add(vector, "line", int(row))
        _add_list(vector, "pixel", map(int, cols))
        _add_list(vector, "noiseRangeLut", map(float, power[cols]))
    blocks = _add(root, "noiseAzimuthVectorList")
    rows = truth.geobox.shape[0]
    lines = np.unique(np.append(np.arange(0, rows, 10), rows - 1))
    for number in np.unique(noise.swath[0]):
        inside = np.flatnonzero(noise.swath[0] == number)
        block = _add(blocks, "noiseAzimuthVector")
        _add(block, "swath", f"EW{number + 1}")
        _add(block, "firstAzimuthLine", 0)
        _add(block, "firstRangeSample", int(inside[0]))
        _add(block, "lastAzimuthLine", rows - 1)
        _add(block, "lastRangeSample", int(inside[-1]))
        _add_list(block, "line", map(int, lines))
        wave = sar.from_db(noise.along_db()[lines, inside[0]].astype(np.float64))
        _add_list(block, "noiseAzimuthLut", map(float, wave))
    return root


def _write_measurement(truth: Truth, power: np.ndarray, path: Path) -> None:
    """Digital numbers: root of (sigma0 + noise) times the amplitude, 0 outside."""
    total = np.maximum(power + truth.radar.noise.power(), 0.0)
    numbers = np.sqrt(total) * amplitude(truth).astype(np.float32)
    numbers = np.clip(np.rint(numbers), 1, 65535).astype(np.uint16)
    numbers[~truth.radar.valid] = 0
    points = [
        GroundControlPoint(row=row + 0.5, col=col + 0.5, x=lon, y=lat, z=0.0)
        for row, col, lat, lon, _ in _tie_points(truth)
    ]
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": 1,
        "height": numbers.shape[0],
        "width": numbers.shape[1],
        "gcps": points,
        "crs": CRS.from_epsg(4326),
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(numbers, 1)
