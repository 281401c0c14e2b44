"""Files that are there whole or not at all: the one way in which results are written.

A file is written under a temporary name in its own folder, flushed to the disk, checked
if its format can be, and then renamed. A disk that fills, or a process that is killed,
therefore leaves the older file as it was.
"""

import itertools
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

PART = ".part"
"""Temporary names are ``.part-HOST-PROCESS-NUMBER.NAME``."""

_numbers = itertools.count()


@contextmanager
def atomic_path(
    path: str | Path, *, verify: Callable[[Path], Any] | None = None
) -> Iterator[Path]:
    """Gives a temporary path that becomes ``path`` when the block ends well.

    Temporary names differ between processes, so that two writers of one file never
    meet: the last one wins, whole. What a killed process of this machine left of the
    same file is removed.

    Args:
        path: File to write; its folder must exist.
        verify: Called with the finished temporary file; what it raises keeps the older
            file in place.

    Yields:
        Path in the same folder, with the same suffixes.

    Raises:
        OSError: The disk is full, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_path(target) as part:
        ...     _ = part.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    part = temporary_path(path)
    _remove_orphans(path)
    try:
        yield part
        flush(part)
        if verify is not None:
            verify(part)
        os.replace(part, path)
        flush(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def temporary_path(path: Path) -> Path:
    """A name beside ``path`` that no other process and no other call uses."""
    number = next(_numbers)
    return path.with_name(f"{_prefix(os.getpid())}{number}.{path.name}")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON that any reader understands (no NaN), whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def flush(path: Path) -> None:
    """Makes the disk hold what was written to a file, or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def _prefix(process: int | str) -> str:
    return f"{PART}-{socket.gethostname()}-{process}-"


def _remove_orphans(path: Path) -> None:
    """Removes temporary files of this file whose process is gone."""
    start = _prefix("")[:-1]
    for found in path.parent.glob(f"{start}*.{escape(path.name)}"):
        process, _, rest = found.name.removeprefix(start).partition("-")
        number, _, name = rest.partition(".")
        ours = process.isdigit() and number.isdigit() and name == path.name
        if ours and not _alive(int(process)):
            found.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
