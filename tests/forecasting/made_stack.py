"""A stack of months whose ice is known: a year's course, and anomalies that fade."""

import numpy as np
import xarray as xr
from pyproj import CRS

SHAPE = (24, 20)
YEARS = range(2000, 2010)


def make_sic(years=YEARS, seed=0, fade=0.7):
    """(date, y, x) float32 fractions: ice to the north, land in a corner as NaN."""
    rng = np.random.default_rng(seed)
    rows, cols = SHAPE
    months = np.arange(12 * len(years))
    edge = 9 + 5 * np.cos(2 * np.pi * (months % 12 - 2) / 12)  # widest in March
    anomaly = np.zeros(len(months))
    for k in months[1:]:
        anomaly[k] = fade * anomaly[k - 1] + rng.normal(0, 1.2)
    row = np.arange(rows)[None, :, None] + 0 * np.arange(cols)[None, None, :]
    along = 0.8 * np.sin(np.arange(cols) / 3)[None, None, :]
    reach = (edge + anomaly)[:, None, None] + along
    sic = np.clip((reach - row) / 3, 0, 1).astype("float32")
    sic[:, -6:, -7:] = np.nan
    return sic


def write_years(folder, sic, years=YEARS, *, version="v05r00", sensors=None, day=1):
    """Writes one NetCDF file a year, as NSIDC's monthly record has them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, cols = sic.shape[1:]
    for k, year in enumerate(years):
        time = np.array([f"{year}-{m:02d}-{day:02d}" for m in range(1, 13)], "M8[ns]")
        axes = {
            "time": time,
            "y": 312500.0 - 25000 * np.arange(rows),
            "x": -237500.0 + 25000 * np.arange(cols),
        }
        data = xr.Dataset(
            {"sic": (("time", "y", "x"), sic[12 * k : 12 * k + 12])},
            {**axes, "crs": ((), 0)},
        )
        data["crs"].attrs = CRS("EPSG:3413").to_cf()
        data["sic"].attrs = {"grid_mapping": "crs", "units": "1"}
        for axis in "xy":
            name = f"projection_{axis}_coordinate"
            data[axis].attrs = {"units": "m", "standard_name": name}
        sensor = (sensors or {}).get(year, "SSMIS")
        told = version if isinstance(version, str) else version[year]
        data.attrs = {"sensor": sensor, "product_version": told}
        data.to_netcdf(folder / f"sic_{year}.nc")
    return folder


def describe(folder="stack", **sections):
    """The tree of a configuration that forecasts the stack."""
    tree = {
        "name": "made",
        "data": {
            "scenes": f"{folder}/sic_*.nc",
            "each_index": True,
            "attributes": {"year": r"sic_(\d{4})", "product": "(sic)_"},
            "labels": {"sic": {"band": "sic", "units": "1"}},
            "series": {
                "by": "product",
                "history": 2,
                "step_h": 730.5,
                "answers": [1, 2],
                "context": {
                    "of": "sic",
                    "reference": [2000, 2007],
                    "bands": ["anomaly", "climatology", "damped_anomaly", "season"],
                    "start_from": "damped_anomaly",
                    "regions": {"north": [-180, 180, 60, 90]},
                },
            },
        },
        "tiles": {"size_px": [24, 20]},
        "folds": {"test": {"year": ["2008", "2009"]}, "group": "scene_id"},
        "heads": {
            name: {
                "task": "dense_quantile",
                "options": {"quantiles": [0.1, 0.5, 0.9]},
            }
            for name in ("sic_t1", "sic_t2")
        },
        "model": {
            "backbone": "plain",
            "options": {
                "backbone_options": {"width": 8, "depth": 2},
                "decoder_options": {"channels": [8, 8]},
            },
        },
        "train": {
            "epochs": 2,
            "batch_size": 8,
            "normalizer": "none",
            "learning_rate": 0.005,
            "jit_compile": False,
        },
        "baselines": False,
    }
    for key, value in sections.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) else value
    return tree
