"""Arrays whose pixels stay in their files until a window of them is read."""

import itertools
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from arcticdl.errors import SourceError

Handle = TypeVar("Handle")


MAX_IDLE = 128
"""Files kept open between reads, over all scenes of a process, as many as xarray keeps;
many systems allow 1024 at once."""

_numbers = itertools.count()


class _Idle:
    """Handles that no one reads from, of all pools of this process, oldest first."""

    def __init__(self) -> None:
        # A pool may be collected, and close its handles, while this thread is in here.
        self._lock = threading.RLock()
        self._held: OrderedDict[int, tuple[int, Any]] = OrderedDict()
        os.register_at_fork(after_in_child=self._part)

    def _part(self) -> None:
        """Leaves the parent's handles alone in a forked process, which opens its own.

        They share the offsets of the parent's files. Nor are they closed: another
        thread of the parent may have held a lock of their library at the fork.
        """
        self._parents = self._held
        self._lock, self._held = threading.RLock(), OrderedDict()

    def take(self, pool: int) -> Any:
        """The youngest handle of a pool; ``None`` if none is idle."""
        with self._lock:
            for key, (owner, handle) in [*reversed(self._held.items())]:
                if owner == pool and self._held.pop(key, None) is not None:
                    return handle
        return None

    def keep(self, pool: int, handle: Any) -> None:
        """Takes a handle back, and closes the oldest beyond ``MAX_IDLE``."""
        closed = None
        with self._lock:
            self._held[id(handle)] = pool, handle
            if len(self._held) > MAX_IDLE:
                closed = self._held.popitem(last=False)[1][1]
        if closed is not None:
            closed.close()

    def close(self, pool: int) -> None:
        """Closes all idle handles of a pool."""
        while (handle := self.take(pool)) is not None:
            handle.close()


_idle = _Idle()


class HandlePool(Generic[Handle]):
    """Open handles of one file, each used by one thread at a time.

    A read borrows a handle and gives it back; a second thread meanwhile gets its own.
    Over all files of a process no more than ``MAX_IDLE`` stay open between reads, so
    that thousands of scenes can be held. Handles are neither pickled nor taken over by
    a forked process, since a shared file offset would mix up two readers.

    Args:
        opener: Called without arguments, gives a new handle with a ``close`` method.
    """

    def __init__(self, opener: Callable[[], Handle]) -> None:
        self.opener = opener
        self._number = next(_numbers)
        weakref.finalize(self, _idle.close, self._number).atexit = False

    @contextmanager
    def borrow(self) -> Iterator[Handle]:
        """Lends a handle for the length of a ``with`` block."""
        idle: Handle | None = _idle.take(self._number)
        handle = self.opener() if idle is None else idle
        try:
            yield handle
        except BaseException:
            handle.close()  # type: ignore[attr-defined]
            raise
        _idle.keep(self._number, handle)

    def close(self) -> None:
        """Closes the idle handles; a later read opens the file again."""
        _idle.close(self._number)

    def __reduce__(self) -> tuple[Any, ...]:
        return HandlePool, (self.opener,)


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
        read = block.size
        for axis in reversed(range(len(inner))):
            block = block[(slice(None),) * axis + (inner[axis],)]
        # A view of every n-th pixel would hold all that was read between them.
        return block.copy() if block.size < read else block

    def _read_spans(self, spans: list[Any]) -> np.ndarray:
        """Reads a window; what fails in a file is told from a defect here."""
        try:
            return self.read(*spans)
        except OSError as error:
            raise SourceError(
                f"A window cannot be read; its file may be corrupt or gone: {error}"
            ) from error

    def variable(
        self, dims: tuple[str, ...], attrs: Any = None, encoding: Any = None
    ) -> xr.Variable:
        """The array as a lazy xarray variable; reads are not kept in memory."""
        return xr.Variable(dims, indexing.LazilyIndexedArray(self), attrs, encoding)


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
