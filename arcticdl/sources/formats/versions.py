"""Final and preliminary data of one reanalysis, merged into one field."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from arcticdl.sources.core.validity import equals

VERSION = "expver"
"""The dimension along which the Climate Data Store lays ERA5 (1) and ERA5T (5)."""


def merge_versions(raw: xr.Dataset) -> xr.Dataset:
    """Merges the versions of each field: the final one, where it is there.

    Each version is missing where the other is there, so that either alone is void for
    part of the times.

    Args:
        raw: Stored numbers, with or without the dimension ``expver``.

    Returns:
        The dataset without that dimension, lazy as before.
    """
    if VERSION not in raw.sizes:
        return raw
    order = np.arange(raw.sizes[VERSION])
    if VERSION in raw.variables:
        numbers = [_number(value) for value in raw.variables[VERSION].values.ravel()]
        order = np.argsort(numbers, kind="stable")
    merged = {
        str(name): _merged([variable.isel({VERSION: k}) for k in order])
        for name, variable in raw.variables.items()
        if VERSION in variable.dims and variable.ndim > 1
    }
    result = raw.drop_dims(VERSION).assign(merged)
    result.set_close(raw.close)
    return result


def _number(value: Any) -> int:
    text = value.decode() if isinstance(value, bytes) else str(value)
    return int(text) if text.strip().isdigit() else 1_000_000


def _merged(layers: Sequence[xr.Variable]) -> xr.Variable:
    first = layers[0]
    lazy = indexing.LazilyIndexedArray(FirstPresent(layers))
    return xr.Variable(first.dims, lazy, first.attrs)


class FirstPresent(BackendArray):
    """A lazy array of the first of several layers that has a number at each place.

    Args:
        layers: Stored numbers of one shape, dtype and ``_FillValue``.
    """

    def __init__(self, layers: Sequence[xr.Variable]) -> None:
        self.layers = layers
        self.shape, self.dtype = layers[0].shape, layers[0].dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        found = self.layers[0][key].values
        for layer in self.layers[1:]:
            lost = self._missing(found)
            if not lost.any():
                break
            found = np.where(lost, layer[key].values, found)
        return found

    def _missing(self, stored: np.ndarray) -> np.ndarray:
        attrs = self.layers[0].attrs
        lost = np.isnan(stored) if stored.dtype.kind == "f" else np.zeros(1, bool)
        for key in ("_FillValue", "missing_value"):
            for value in np.ravel(attrs.get(key, [])):
                lost = lost | equals(stored, value)
        return lost
