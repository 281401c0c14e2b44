"""Writes a simulated scene as a file of AI4Arctic, ready to train or raw."""

from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

from arcticdl.files import write_bytes
from arcticdl.simulate.chart import Chart, draw_chart
from arcticdl.simulate.microwave import draw_microwave
from arcticdl.simulate.scene import SERVICES, Truth
from arcticdl.simulate.worlds.told import told_chart
from arcticdl.sources.charts.ai4arctic import (
    BANDS,
    CEILING,
    CELL_SIZE_M,
    LABELS,
    normalize,
)
from arcticdl.void import VOID_CLASS

_SAR = ("sar_lines", "sar_samples")
_COARSE = ("2km_grid_lines", "2km_grid_samples")
_TIES = ("sar_line_2dgrid_points", "sar_sample_2dgrid_points")
_NUM_TIES = 21

ZONE_EDGES_KM = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Upper edges of the zones of ``distance_map`` but the last: zone 0 is land."""


def write_ai4arctic(truth: Truth, out_dir: Path) -> Path:
    """Writes ``YYYYMMDDTHHMMSS_NAME_prep.nc``.

    Bands are standardised as in the challenge, labels are those of the chart that
    ``draw_chart`` draws; the truth itself is the further variable ``ice_type``, and
    ``SIC_ceiling``, ``SOD_ceiling`` and ``FLOE_ceiling`` are the chart that the true
    parameters give (``told_chart``).

    Args:
        truth: The scene, of 80 m pixels.
        out_dir: Folder, which exists.

    Returns:
        Path of the file.
    """
    return _write(truth, out_dir, to_ai4arctic(truth), "_prep")


def _write(truth: Truth, out_dir: Path, dataset: xr.Dataset, end: str) -> Path:
    stamp = str(truth.time).replace("-", "").replace(":", "")
    path = out_dir / f"{stamp}_{truth.scene_id}{end}.nc"
    numbers = [n for n, v in dataset.data_vars.items() if v.dtype != object]
    encoding = {name: {"zlib": True, "complevel": 1} for name in numbers}
    # Made in memory: where a disk fills, HDF5 cannot close its file, and crashes.
    write_bytes(path, bytes(dataset.to_netcdf(engine="h5netcdf", encoding=encoding)))
    return path


def write_ai4arctic_raw(truth: Truth, out_dir: Path) -> Path:
    """Writes ``YYYYMMDDTHHMMSS_NAME.nc``, in the layout of a raw file.

    Bands are in physical units, and the chart is its polygons: ``polygon_icechart``,
    the number of each pixel's, and ``polygon_codes``, what the chart tells of each.
    The truth itself is the further variable ``ice_type``.

    Args:
        truth: The scene, of 80 m pixels.
        out_dir: Folder, which exists.

    Returns:
        Path of the file.
    """
    return _write(truth, out_dir, to_ai4arctic(truth, raw=True), "")


def to_ai4arctic(truth: Truth, *, raw: bool = False) -> xr.Dataset:
    """Puts a scene into the variables of a file.

    Args:
        truth: The scene.
        raw: In physical units and with the polygons of the chart, in place of
            standardised bands and finished charts.
    """
    cell_px = round(CELL_SIZE_M / abs(truth.geobox.affine.a))
    rng = np.random.default_rng([int(truth.time.astype(np.int64)), 5])
    fine = {
        "HH": truth.radar.hh_db,
        "HV": truth.radar.hv_db,
        "incidence_angle": truth.radar.incidence_deg,
        "distance_map": land_zones(truth),
    }
    data: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, field in fine.items():
        values = _scaled(field, name, raw)
        # Missing pixels of SAR are 0: where it is standardised, its mean.
        if name != "distance_map":
            values[~truth.radar.valid] = 0.0
        data[BANDS[name].variable] = (_SAR, values)
    for name, field in draw_microwave(rng, truth, cell_px).items():
        data[name] = (_COARSE, _scaled(field, name, raw))
    chart = draw_chart(truth)
    # Whatever the chart tells has an answer: that of most of the ice, however little.
    told = told_chart(truth, chart)
    finished = [] if raw else [("", chart, 0.65)]
    for end, drawn, least in (*finished, (CEILING, told, 0.01)):
        for name, scheme in LABELS.items():
            label = drawn.label(scheme, min_dominance=least)
            label[~truth.radar.valid] = VOID_CLASS
            data[name + end] = (_SAR, label)
    truth_map = np.where(truth.radar.valid, truth.ice.ice_type, np.uint8(VOID_CLASS))
    data["ice_type"] = (_SAR, truth_map)
    if raw:
        data["polygon_icechart"] = (_SAR, _polygons(truth, chart))
        data["polygon_codes"] = (("polygon",), _codes(chart))
    nodes = [np.linspace(0.0, size - 1.0, _NUM_TIES) for size in truth.geobox.shape]
    lat, lon = truth.latlon(nodes[0], nodes[1])
    data["sar_grid2d_latitude"] = (_TIES, lat)
    data["sar_grid2d_longitude"] = (_TIES, lon)
    return xr.Dataset(
        data,
        attrs={
            "scene_id": truth.scene_id,
            "original_id": truth.scene_id,
            "ice_service": SERVICES[truth.world],
            "region": truth.region,
            "flip": 0,
            "pixel_spacing": int(abs(truth.geobox.affine.a)),
        },
    )


def _scaled(field: np.ndarray, name: str, raw: bool) -> np.ndarray:
    values = field if raw else normalize(field, name)
    return np.array(values, np.float32)


def _polygons(truth: Truth, chart: Chart) -> np.ndarray:
    """The polygon of each pixel, float32, NaN where there is no SAR."""
    return np.where(truth.radar.valid, chart.polygon, np.nan).astype(np.float32)


def _codes(chart: Chart) -> np.ndarray:
    """The codes of the polygons, each a line of texts between semicolons."""
    columns = list(chart.rows[0])
    lines = [";".join(["id", *columns])]
    for number, row in enumerate(chart.rows):
        lines.append(";".join([str(number), *(row[name] for name in columns)]))
    return np.array(lines, dtype=object)


def land_zones(truth: Truth) -> np.ndarray:
    """Gives the zone of each pixel by its distance to land within the scene.

    Args:
        truth: The scene.

    Returns:
        float32 (y, x), 0 on land and as ``ZONE_EDGES_KM`` tells beside it; 10, the
        farthest zone, throughout a scene without land.
    """
    land = truth.ice.ice_type == VOID_CLASS
    if not land.any():
        return np.full(land.shape, len(ZONE_EDGES_KM), np.float32)
    side_km = abs(truth.geobox.affine.a) / 1000.0
    away_km = ndimage.distance_transform_edt(~land) * side_km
    return np.searchsorted(ZONE_EDGES_KM, away_km).astype(np.float32)
