"""Arrays whose pixels stay in their files until a window of them is read."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from arcticdl.errors import SourceError

Handle = TypeVar("Handle")


class HandlePool(Generic[Handle]):
    """Open handles of one file, each used by one thread at a time.

    A read borrows a handle and gives it back; a second thread meanwhile gets its own.
    Handles are neither pickled nor taken over by a forked process, since a shared file
    offset would mix up two readers.

    Args:
        opener: Called without arguments, gives a new handle with a ``close`` method.
        max_idle: Handles kept open between reads.
    """

    def __init__(self, opener: Callable[[], Handle], max_idle: int = 4) -> None:
        self.opener = opener
        self.max_idle = max_idle
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[Handle] = []

    @contextmanager
    def borrow(self) -> Iterator[Handle]:
        """Lends a handle for the length of a ``with`` block."""
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            handle = self._idle.pop() if self._idle else None
        if handle is None:
            handle = self.opener()
        try:
            yield handle
        except BaseException:
            handle.close()  # type: ignore[attr-defined]
            raise
        with self._lock:
            if len(self._idle) < self.max_idle:
                self._idle.append(handle)
                return
        handle.close()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Closes the idle handles; a later read opens the file again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for handle in idle:
            handle.close()  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        return {"opener": self.opener, "max_idle": self.max_idle}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()


class WindowArray(BackendArray):
    """A lazy array over a function that reads one window.

    Args:
        shape: ``(y, x)`` or ``(band, y, x)``.
        dtype: Of the pixels.
        read: ``read(rows, cols)`` or ``read(bands, rows, cols)`` with ``rows`` and
            ``cols`` non-empty slices of step 1 inside the array and ``bands`` a list of
            indices; gives the block. Called from several threads at once.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, read: Callable[..., np.ndarray]
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.read = read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read_outer
        )

    def _read_outer(self, key: tuple[Any, ...]) -> np.ndarray:
        spans, inner = [], []
        for axis, (part, size) in enumerate(zip(key, self.shape, strict=True)):
            listed = len(self.shape) == 3 and axis == 0
            span, rest = _as_list(part, size) if listed else _as_span(part, size)
            spans.append(span)
            inner.append(rest)
        sizes = [len(s) if isinstance(s, list) else s.stop - s.start for s in spans]
        if 0 in sizes:
            block = np.empty(sizes, self.dtype)
        else:
            block = self._read_spans(spans)
        for axis in reversed(range(len(inner))):
            block = block[(slice(None),) * axis + (inner[axis],)]
        return block

    def _read_spans(self, spans: list[Any]) -> np.ndarray:
        """Reads a window; what fails in a file is told from a defect here."""
        try:
            return self.read(*spans)
        except OSError as error:
            raise SourceError(
                f"A window cannot be read; its file may be corrupt or gone: {error}"
            ) from error

    def variable(self, dims: tuple[str, ...], attrs: Any = None) -> xr.Variable:
        """The array as a lazy xarray variable; reads are not kept in memory."""
        return xr.Variable(dims, indexing.LazilyIndexedArray(self), attrs)


def _as_list(part: Any, size: int) -> tuple[list[int], Any]:
    if isinstance(part, slice):
        return list(range(*part.indices(size))), slice(None)
    if np.ndim(part) == 0:
        return [int(part) % size], 0
    return [int(i) % size for i in part], slice(None)


def _as_span(part: Any, size: int) -> tuple[slice, Any]:
    if isinstance(part, slice):
        wanted = range(*part.indices(size))
        if not wanted:
            return slice(0, 0), slice(None)
        low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
        return slice(low, high + 1), slice(None, None, wanted.step)
    if np.ndim(part) == 0:
        index = int(part) % size
        return slice(index, index + 1), 0
    wanted_px = np.asarray(part)
    wanted_px = np.where(wanted_px < 0, wanted_px + size, wanted_px)
    if wanted_px.size == 0:
        return slice(0, 0), slice(None)
    low = int(wanted_px.min())
    return slice(low, int(wanted_px.max()) + 1), wanted_px - low


def row_strips(shape: Sequence[int], max_pixels: int = 1 << 22) -> Iterator[slice]:
    """Slices of rows that cover ``shape`` with at most ``max_pixels`` each."""
    step = max(1, max_pixels // max(1, shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
