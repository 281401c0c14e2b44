"""Labels for tests: without what a model's confidence has pointed at.

A model that is scored on labels which models have corrected is scored on how well it
agrees with models. A store whose labels were corrected so therefore holds each of them
twice: as it is learnt, and as it is tested.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from arcticdl.tiles import TileStore
from arcticdl.tiles.pending import PendingRead
from arcticdl.tiles.views.view import StoreView

_SUFFIX = "_unaided"


def unaided_name(label: str) -> str:
    """Name under which a store keeps a label as it is tested.

    Example:
        >>> unaided_name("ice")
        'ice_unaided'
    """
    return f"{label}{_SUFFIX}"


def for_tests(store: TileStore) -> TileStore:
    """A store as tests read it.

    Args:
        store: A store, in which some labels may be kept twice.

    Returns:
        The same tiles, with the labels that no model's confidence has corrected, under
        their own names; the store itself where none is.
    """
    twice = [name for name in store.labels if unaided_name(name) in store.labels]
    return _Unaided(store, twice) if twice else store


class _Unaided(StoreView):
    """A store whose labels are read from those beside them."""

    def __init__(self, store: TileStore, twice: Sequence[str]) -> None:
        super().__init__(store)
        self._beside = {name: unaided_name(name) for name in twice}
        hidden = set(self._beside.values())
        self.labels = {
            name: replace(store.labels[self._beside.get(name, name)], name=name)
            for name in store.labels
            if name not in hidden
        }

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "twice": list(self._beside)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def read_async(
        self,
        indices: Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
    ) -> PendingRead:
        """As of `TileStore`, with the labels beside."""
        wanted = self._names(names)
        stored = [self._beside.get(name, name) for name in wanted]
        return _Renamed(self.store.read_async(indices, stored), wanted, stored)

    def class_counts(self, label: str) -> np.ndarray:
        """As of `TileStore`, of the label beside it."""
        return self.store.class_counts(self._beside.get(label, label))

    def scored_counts(self, label: str) -> np.ndarray:
        """As of `TileStore`, of the label beside it."""
        return self.store.scored_counts(self._beside.get(label, label))

    def image_labels(self, label: str) -> np.ndarray:
        """As of `TileStore`, of the label beside it."""
        return self.store.image_labels(self._beside.get(label, label))


class _Renamed(PendingRead):
    """A read under way whose labels get other names."""

    def __init__(
        self, read: PendingRead, names: Sequence[str], stored: Sequence[str]
    ) -> None:
        self._read, self._pairs = read, list(zip(names, stored, strict=True))

    def result(self) -> dict[str, np.ndarray]:
        """Waits for the pixels; see `TileStore.read`."""
        found = self._read.result()
        return {name: found[old] for name, old in self._pairs}
