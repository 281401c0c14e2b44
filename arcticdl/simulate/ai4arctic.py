"""Writes a simulated scene as a ready-to-train file of the AI4Arctic dataset."""

from pathlib import Path

import numpy as np
import xarray as xr

from arcticdl.files import write_bytes
from arcticdl.simulate.chart import draw_chart
from arcticdl.simulate.microwave import draw_microwave
from arcticdl.simulate.scene import Truth
from arcticdl.sources.charts.ai4arctic import BANDS, CELL_SIZE_M, LABELS, normalize
from arcticdl.void import VOID_CLASS

_SAR = ("sar_lines", "sar_samples")
_COARSE = ("2km_grid_lines", "2km_grid_samples")
_TIES = ("sar_line_2dgrid_points", "sar_sample_2dgrid_points")
_NUM_TIES = 21


def write_ai4arctic(truth: Truth, out_dir: Path) -> Path:
    """Writes ``YYYYMMDDTHHMMSS_NAME_prep.nc``.

    Bands are standardised as in the challenge, labels are those of the chart that
    ``draw_chart`` draws; the truth itself is the further variable ``ice_type``.

    Args:
        truth: The scene, of 80 m pixels.
        out_dir: Folder, which exists.

    Returns:
        Path of the file.
    """
    stamp = str(truth.time).replace("-", "").replace(":", "")
    path = out_dir / f"{stamp}_{truth.scene_id}_prep.nc"
    dataset = to_ai4arctic(truth)
    encoding = {name: {"zlib": True, "complevel": 1} for name in dataset.data_vars}
    # Made in memory: where a disk fills, HDF5 cannot close its file, and crashes.
    write_bytes(path, bytes(dataset.to_netcdf(engine="h5netcdf", encoding=encoding)))
    return path


def to_ai4arctic(truth: Truth) -> xr.Dataset:
    """Puts a scene into the variables of a ready-to-train file."""
    cell_px = round(CELL_SIZE_M / abs(truth.geobox.affine.a))
    rng = np.random.default_rng([int(truth.time.astype(np.int64)), 5])
    fine = {
        "HH": truth.radar.hh_db,
        "HV": truth.radar.hv_db,
        "incidence_angle": truth.radar.incidence_deg,
    }
    data: dict[str, tuple[tuple[str, str], np.ndarray]] = {}
    for name, field in fine.items():
        values = normalize(field, name).astype(np.float32)
        # Standardised SAR marks missing pixels by 0, its mean.
        values[~truth.radar.valid] = 0.0
        data[BANDS[name].variable] = (_SAR, values)
    for name, field in draw_microwave(rng, truth, cell_px).items():
        data[name] = (_COARSE, normalize(field, name).astype(np.float32))
    chart = draw_chart(truth)
    for name, scheme in LABELS.items():
        label = chart.label(scheme)
        label[~truth.radar.valid] = VOID_CLASS
        data[name] = (_SAR, label)
    truth_map = np.where(truth.radar.valid, truth.ice.ice_type, np.uint8(VOID_CLASS))
    data["ice_type"] = (_SAR, truth_map)
    nodes = [np.linspace(0.0, size - 1.0, _NUM_TIES) for size in truth.geobox.shape]
    lat, lon = truth.latlon(nodes[0], nodes[1])
    data["sar_grid2d_latitude"] = (_TIES, lat)
    data["sar_grid2d_longitude"] = (_TIES, lon)
    return xr.Dataset(
        data,
        attrs={
            "scene_id": truth.scene_id,
            "original_id": truth.scene_id,
            "ice_service": "simulated",
            "flip": 0,
            "pixel_spacing": int(abs(truth.geobox.affine.a)),
        },
    )
