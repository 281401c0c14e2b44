"""How a tile store lies on disk: names, arrays, codecs.

::

    NAME.tiles/
      store.json         what the store is: sizes, bands, labels, fingerprint, and
                         what its files must be (see `signature`)
      scenes.json        each scene: attributes, grid, statistics
      manifest.parquet   GeoParquet, row i is tile i; labels of whole images
      tiles.zarr/        Zarr v3; one chunk a tile, many chunks a shard
        image            (tile, y, x, band), source dtype
        valid            (tile, y, x) bool
        <label>          (tile, y, x), or (tile, y, x, channel), one array a label
                         of pixels

With ``pixels_at`` in ``store.json``, which is an address, that group lies there.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.errors import MissingExtraError, StoreError
from arcticdl.sources.core.remote import folder_spec, is_unreachable, unreachable

FORMAT = "arcticdl-tiles"
FORMAT_VERSION = 1
FORMAT_WITH_ROWS = 2
"""Version of a store that scenes were dropped from: its tiles say where they lie, and
what does not know that must not read it."""

STORE_JSON = "store.json"
SCENES_JSON = "scenes.json"
STATS_JSON = "stats.json"
QUALITY_JSON = "quality.json"
QUALITY_HTML = "quality.html"
MANIFEST = "manifest.parquet"
ARRAYS = "tiles.zarr"

CODECS = ("blosc-lz4", "blosc-zstd", "none")
"""How tiles are compressed.

Blosc with bitshuffle, followed by a CRC-32C of each tile; ``none`` stores the bytes
as they are, without a checksum of their own (the manifest's sha-256 still tells).
"""

_SHARD_BYTES = 64 << 20
_MAX_TILES_PER_SHARD = 1024


def tiles_per_shard(tile_bytes: int) -> int:
    """Tiles in one shard, so that a shard of images has about 64 MiB."""
    return int(np.clip(_SHARD_BYTES // max(tile_bytes, 1), 1, _MAX_TILES_PER_SHARD))


def create_arrays(
    path: Path,
    num_tiles: int,
    specs: dict[str, tuple[tuple[int, ...], str, float, tuple[str, ...]]],
    *,
    shard_tiles: int,
    codec: str,
    attributes: dict[str, Any],
) -> None:
    """Creates the empty Zarr group.

    Args:
        path: Of the group.
        num_tiles: Length of every array.
        specs: {name: (shape of one tile, dtype, fill value, names of its
            dimensions)}.
        shard_tiles: Tiles in one shard.
        codec: One of `CODECS`.
        attributes: Of the group.
    """
    import zarr

    group = zarr.create_group(path, zarr_format=3, attributes=attributes)
    for name, (shape, dtype, fill, dims) in specs.items():
        group.create_array(
            name,
            shape=(num_tiles, *shape),
            chunks=(1, *shape),
            shards=(shard_tiles, *shape),
            dtype=dtype,
            fill_value=fill,
            compressors=_compressors(codec, np.dtype(dtype)),
            dimension_names=("tile", *dims),
        )
    consolidate(path)


def extend_arrays(path: Path, num_tiles: int) -> None:
    """Makes every array at least as long as told; what it holds stays."""
    import zarr

    group = zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False)
    for _, array in group.arrays():
        if array.shape[0] < num_tiles:
            array.resize((num_tiles, *array.shape[1:]))
    consolidate(path)


def consolidate(path: Path) -> None:
    """Writes the group's metadata in one place, where `xarray.open_zarr` looks."""
    import zarr

    with warnings.catch_warnings():
        # Consolidated metadata is not yet in the v3 text; readers ignore it freely.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(path))


def arrays_of(root: Path, about: Mapping[str, Any]) -> Path | str:
    """Where the arrays of a store lie: its own folder, or an address in a bucket."""
    return about.get("pixels_at") or root / ARRAYS


def open_array(where: Path | str, name: str, *, write: bool = False) -> Any:
    """Opens one array through TensorStore; ``where`` is as of `arrays_of`."""
    import tensorstore as ts

    if isinstance(where, Path):  # TensorStore refuses `..`
        kvstore = {"driver": "file", "path": f"{(where / name).resolve()}/"}
    else:
        kvstore = folder_spec(f"{where}/{name}")
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore,
        "store_data_equal_to_fill_value": True,
        # Every tile is stored: a shard that is not there was lost.
        "fill_missing_data_reads": False,
        "recheck_cached_data": "open",
        "recheck_cached_metadata": "open",
    }
    return ts.open(spec, read=True, write=write).result()


def open_tiles(where: Path | str, name: str, shape: tuple[int, ...], dtype: str) -> Any:
    """Opens one array of a store, which must hold tiles of this shape and type.

    Raises:
        StoreError: It is absent, or holds others.
    """
    try:
        array = open_array(where, name)
    except ValueError as error:
        if is_unreachable(where, error):
            raise StoreError(unreachable(str(where), error)) from error
        raise StoreError(
            f"A tile store must hold its arrays. Received: {where} without a "
            f"readable {name!r}. Prepare it anew. ({str(error)[:200]})"
        ) from error
    if (array.shape[1:], array.dtype.numpy_dtype) != (shape, np.dtype(dtype)):
        raise StoreError(
            f"Array {name!r} must hold tiles of {shape} and {dtype}. Received: "
            f"{array.shape[1:]} and {array.dtype.name} in {where}."
        )
    return array


def open_dataset(where: Path | str, chunks: Any) -> Any:
    """Opens all arrays with xarray; ``where`` is as of `arrays_of`.

    Raises:
        MissingExtraError: They lie at an address, which fsspec cannot read as it is.
    """
    import xarray as xr

    try:
        return xr.open_zarr(where, chunks=chunks)
    except ImportError as error:
        raise MissingExtraError(
            f"xarray reads {where} by fsspec: pip install 'arcticdl[cloud]'. `read` "
            "needs no more than there is."
        ) from error


def _compressors(codec: str, dtype: np.dtype) -> Any:
    from zarr.codecs import BloscCodec, Crc32cCodec

    if codec == "none":
        return None
    blosc = BloscCodec(
        cname=codec.removeprefix("blosc-"),  # type: ignore[arg-type]
        clevel=5,
        shuffle="bitshuffle",
        typesize=dtype.itemsize,
    )
    return [blosc, Crc32cCodec()]
