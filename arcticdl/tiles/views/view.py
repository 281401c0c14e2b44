"""What all ways of reading a store otherwise share."""

from functools import cached_property
from typing import Any

from arcticdl.tiles.store import TileStore


class StoreView(TileStore):
    """A store seen in another way: what it does not change is that store's.

    Attributes:
        store: The store as it is.
    """

    def __init__(self, store: TileStore) -> None:
        self.store, self.path, self.about = store, store.path, store.about
        self.tile_size_px, self.bands = store.tile_size_px, store.bands
        self.labels, self.fingerprint = store.labels, store.fingerprint
        self._stats = {}

    def check_current(self) -> None:
        """Refuses to go on where another process has written the store anew."""
        self.store.check_current()

    @cached_property
    def manifest(self) -> Any:
        """That of the store."""
        return self.store.manifest

    @cached_property
    def scenes(self) -> dict[str, dict[str, Any]]:
        """Those of the store."""
        return self.store.scenes
