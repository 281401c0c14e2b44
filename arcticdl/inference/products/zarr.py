"""All maps of a scene in one Zarr store that follows the CF conventions."""

from pathlib import Path

import dask
import xarray as xr

from arcticdl.files import atomic_folder
from arcticdl.inference.products.cf import WORKERS, cf_dataset, stem_file
from arcticdl.inference.products.product import Product

_OF_NETCDF = ("chunksizes", "complevel", "shuffle", "zlib")


def write_zarr(maps: xr.Dataset, scene: xr.Dataset | None, stem: Path) -> None:
    """Writes ``NAME.zarr``, by blocks of rows, with the attributes of the NetCDF file.

    Zarr's second format, which the conventions and more readers know, with
    consolidated metadata.
    """
    (path,) = PRODUCT.files(maps, stem)
    found = cf_dataset(maps)
    for variable in found.variables.values():
        chunks = variable.encoding.get("chunksizes")
        kept = variable.encoding.items()
        variable.encoding = {k: v for k, v in kept if k not in _OF_NETCDF}
        variable.encoding |= {"chunks": chunks} if chunks else {}
    with (
        atomic_folder(path) as part,
        dask.config.set(scheduler="threads", num_workers=WORKERS),
    ):
        found.to_zarr(part, mode="a", zarr_format=2, consolidated=True)


PRODUCT = Product(write_zarr, stem_file(".zarr"))
