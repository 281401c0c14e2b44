"""All maps of a scene in one NetCDF file that follows the CF conventions."""

from pathlib import Path

import dask
import xarray as xr

from arcticdl.files import atomic_path
from arcticdl.inference.products.cf import WORKERS, cf_dataset, stem_file
from arcticdl.inference.products.product import Product


def write_netcdf(maps: xr.Dataset, scene: xr.Dataset | None, stem: Path) -> None:
    """Writes ``NAME.nc``, by blocks of rows.

    Maps on 2-D latitudes and longitudes keep them, as auxiliary coordinates.
    """
    (path,) = PRODUCT.files(maps, stem)
    with (
        atomic_path(path) as part,
        dask.config.set(scheduler="threads", num_workers=WORKERS),
    ):
        cf_dataset(maps).to_netcdf(part, engine="h5netcdf")


PRODUCT = Product(write_netcdf, stem_file(".nc"))
