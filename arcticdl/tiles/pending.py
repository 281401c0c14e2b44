"""A read of tiles under way."""

from typing import Any

import numpy as np

from arcticdl.errors import StoreError
from arcticdl.sources.core.remote import is_unreachable, unreachable


class PendingRead:
    """Tiles of a `TileStore` that are being read.

    Args:
        store: The store.
        indices: Its tiles.
        names: Arrays of it.
    """

    def __init__(self, store: Any, indices: np.ndarray, names: list[str]) -> None:
        import tensorstore as ts

        self._store, self._indices = store, indices
        self._futures: dict[str, Any] = {}
        self._pixels: dict[str, np.ndarray] = {}
        for name in names:
            if name in store.labels and store.labels[name].is_image:
                self._pixels[name] = store.image_labels(name)[indices]
                continue
            # Most tiles are valid throughout, which the manifest already tells.
            if name == "valid" and store.fully_valid[indices].all():
                shape = (len(indices), *store.tile_size_px)
                self._pixels[name] = np.ones(shape, bool)
                continue
            source = store.array(name)[store.array_rows[indices]]
            # NumPy asks for large pages, which TensorStore's own buffers do without.
            room = np.empty(source.shape, source.dtype.numpy_dtype)
            self._pixels[name] = room
            self._futures[name] = ts.array(room, copy=False).write(source)

    def result(self) -> dict[str, np.ndarray]:
        """Waits for the pixels.

        Raises:
            StoreError: A tile is damaged, or the store was written anew.
        """
        for name, future in self._futures.items():
            try:
                future.result()
            except ValueError as error:
                where = self._store.about.get("pixels_at", self._store.path)
                if is_unreachable(where, error):
                    raise StoreError(unreachable(str(where), error)) from error
                self._store.check_current()
                raise self._name_damage(name, error) from error
        # Last, so that whatever was read is of the store that was opened.
        self._store.check_current()
        return self._pixels

    def _name_damage(self, name: str, error: Exception) -> StoreError:
        damaged = [
            int(i) for i in self._indices if not is_readable(self._store, name, i)
        ]
        return StoreError(
            "Tiles must be read as they were written. Received: damaged or lost "
            f"{name!r} of tiles {damaged} in {self._store.path}. Leave these tiles "
            f"out, or prepare the store anew. ({str(error)[:200]})"
        )


def is_readable(store: Any, name: str, index: int) -> bool:
    """Whether one array of one tile decodes and keeps its checksum."""
    try:
        store.array(name)[int(store.array_rows[index])].read().result()
    except ValueError:
        return False
    return True
