"""Running tasks: in threads or on a cluster, by one writer, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from arcticdl.errors import StoreError, needs_extra
from arcticdl.progress import track


class Work:
    """Runs tasks in a pool and shows how far they are."""

    def __init__(self, pool: Executor, progress: bool) -> None:
        self.pool, self.progress = pool, progress

    def run(self, what: str, step: Callable[[Any], Any], items: Sequence[Any]) -> None:
        """Applies `step` to all items; the first error stops the rest."""
        futures = [self.pool.submit(step, item) for item in items]
        done = track(
            as_completed(futures),
            what,
            total=len(futures),
            shown=self.progress,
        )
        try:
            for future in done:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Keeps a second writer out; released even when the process is killed.

    Raises:
        StoreError: Another process is writing this store.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"A store must have one writer at a time. Received: {path}, which another "
            "process is writing. Wait for it to end."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def executor(num_workers: int | None, scheduler: str | None) -> Iterator[Executor]:
    """Local threads, or the workers of a dask scheduler.

    Raises:
        MissingExtraError: A scheduler is named and `distributed` is not installed.
    """
    if scheduler is None:
        with ThreadPoolExecutor(num_workers or min(8, os.cpu_count() or 1)) as pool:
            yield pool
        return
    with needs_extra("cluster", "`scheduler`"):
        from distributed import Client
    with Client(scheduler) as client:
        yield client.get_executor()
