"""Writing the shards of a store: each once, in any order, journalled."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arcticdl.errors import StoreError
from arcticdl.files import write_json
from arcticdl.sources.core.remote import is_unreachable, unreachable
from arcticdl.tiles import layout
from arcticdl.tiles.writing.cut import TileCutter, TileTable, hash_tile


@dataclass(frozen=True, eq=False)
class ShardWriter:
    """Writes one shard of every array.

    Attributes:
        root: The unfinished store.
        arrays: Where its arrays lie.
        cutter: Of all tiles that are to be written.
        shard_tiles: Tiles in a shard.
        journals: Folder of the notes which shards are complete.
        offset: Tiles that the store already holds.
        keep_pixels: Whether pixels are written; else tiles are only hashed.
    """

    root: Path
    arrays: Path | str
    cutter: TileCutter
    shard_tiles: int
    journals: Path
    offset: int = 0
    keep_pixels: bool = True

    @property
    def table(self) -> TileTable:
        """The tiles that are to be written."""
        return self.cutter.table

    @property
    def shards(self) -> range:
        """Shards that hold a tile of the table."""
        end = self.offset + len(self.table)
        return range(self.offset // self.shard_tiles, -(-end // self.shard_tiles))

    def journal(self, shard: int) -> Path:
        """The note that a shard is complete."""
        return self.journals / f"{shard:06d}.json"

    def pending(self) -> list[int]:
        """Shards that are not yet complete."""
        return [k for k in self.shards if not self.journal(k).exists()]

    def write(self, shard: int) -> None:
        """Cuts, writes and journals one shard.

        The journal is written last: after a kill the shard is simply written anew.
        """
        first = max(shard * self.shard_tiles, self.offset)
        end = min((shard + 1) * self.shard_tiles, self.offset + len(self.table))
        tiles = np.arange(first, end) - self.offset
        pixels, labels = self.cutter.cut(tiles), self.cutter.labels
        for name, values in pixels.items():
            # Labels of whole images stand in the manifest.
            in_arrays = name not in labels or not labels[name].is_image
            if self.keep_pixels and in_arrays:
                self._write_array(name, first, values)
        hashes = [hash_tile(pixels, i) for i in range(len(tiles))]
        write_json(self.journal(shard), hashes)

    def hashes(self) -> list[str]:
        """sha-256 of every tile, from the journal."""
        journals = [self.journal(k) for k in self.shards]
        return [h for path in journals for h in json.loads(path.read_text("utf-8"))]

    def _write_array(self, name: str, first: int, values: np.ndarray) -> None:
        import tensorstore as ts

        try:
            array = layout.open_array(self.arrays, name, write=True)
            # One transaction a shard: encoded and renamed into place in one piece.
            with ts.Transaction() as transaction:
                target = array.with_transaction(transaction)
                target[first : first + len(values)].write(values).result()
        except ValueError as error:  # TensorStore's word for a full disk as well
            if is_unreachable(self.arrays, error):
                raise StoreError(unreachable(str(self.arrays), error)) from error
            raise OSError(
                f"A tile store must be writable. Received: {self.arrays}, of which "
                f"array {name!r} could not be written ({error})."
            ) from error
