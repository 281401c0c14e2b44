"""Files that are there whole or not at all: the one way in which results are written.

A file, or a folder, is written under a temporary name beside its place, read back where
its format can tell whether it is whole, flushed to the disk, and then renamed. A disk
that fills, or a process that is killed, leaves the older one as it was.
"""

import errno
import itertools
import json
import os
import re
import shutil
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from arcticdl.whole import read_back

PART = ".part"
"""Temporary names are ``.part-HOST-PROCESS-NUMBER.NAME``."""

OLD = ".old-of."
"""While a folder is replaced, the older one is called ``.old-of.NAME``."""

_FULL = "no space left|disk is full|disk full|quota exceeded"
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_numbers = itertools.count()


class PartFile:
    """A file under a temporary name that is given its own when it is whole.

    Two writers of one file never meet: the last one wins, whole. What a killed process
    of this machine left of the file is removed.

    Args:
        path: File to write; its folder must exist.
        verify: Called with the finished temporary file, after the check that its suffix
            has in `whole.CHECKS`; what it raises keeps the older file in place.

    Attributes:
        path: The file.
        part: The temporary path: in the same folder, with the same suffixes.
    """

    def __init__(
        self, path: str | Path, *, verify: Callable[[Path], Any] | None = None
    ) -> None:
        self.path, self.verify = Path(path), verify
        self.part = temporary_path(self.path)
        remove_orphans(self.path)

    def commit(self) -> Path:
        """Reads the finished file back, flushes it and gives it its name.

        Returns:
            The path.

        Raises:
            OSError: The file is not whole, as on a full disk; the older one stays.
        """
        try:
            _check_whole(self.part, self.path)
            if self.verify is not None:
                self.verify(self.part)
            flush(self.part)
            os.replace(self.part, self.path)
            flush(self.path.parent)
        except BaseException:
            self.discard()
            raise
        return self.path

    def discard(self) -> None:
        """Removes the temporary file."""
        self.part.unlink(missing_ok=True)


@contextmanager
def atomic_path(
    path: str | Path, *, verify: Callable[[Path], Any] | None = None
) -> Iterator[Path]:
    """Gives a temporary path that becomes ``path`` when the block ends well.

    Args:
        path: File to write; its folder must exist.
        verify: As for `PartFile`.

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
    file = PartFile(path, verify=verify)
    try:
        yield file.part
    except BaseException as error:
        told = isinstance(error, OSError) and error.errno is not None
        full = isinstance(error, Exception) and not told and _is_full(file.part, error)
        file.discard()
        if full:
            raise OSError(_full(Path(path), error)) from error
        if isinstance(error, OSError) and error.errno in _WRITING:
            error.filename = error.filename or str(path)  # a write does not name it
        raise
    file.commit()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Gives an empty folder that becomes ``path`` when the block ends well.

    An older folder goes only then: the caller has made sure that it may.

    Args:
        path: Folder to write; the folder above it must exist.

    Yields:
        Path beside it, with the same suffixes.

    Raises:
        OSError: The disk is full, or a file is not whole.
    """
    path = Path(path)
    restore_folder(path)
    remove_orphans(path)
    part = temporary_path(path)
    part.mkdir()
    try:
        yield part
        flush_tree(part)
        replace_folder(part, path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def replace_folder(new: Path, path: Path) -> None:
    """Renames a finished folder to ``path``; an older one is removed after that."""
    old = path.with_name(f"{OLD}{path.name}")
    restore_folder(path)
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    flush(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Ends what a process began that was killed while it replaced a folder.

    Between the two renames of `replace_folder` only the older folder is there.
    """
    old = path.with_name(f"{OLD}{path.name}")
    if not path.exists() and old.exists():
        os.replace(old, path)
    shutil.rmtree(old, ignore_errors=True)


def temporary_path(path: Path) -> Path:
    """A name beside ``path`` that no other process and no other call uses."""
    number = next(_numbers)
    return path.with_name(f"{_prefix(os.getpid())}{number}.{path.name}")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes bytes, whole or not at all.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """

    def verify(part: Path) -> None:
        if part.read_bytes() != content:
            raise OSError(_not_whole(Path(path), "it differs from what was written"))

    with atomic_path(path, verify=verify) as part:
        part.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all; errors as of `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON that any reader understands (no NaN), whole or not at all.

    Raises:
        ValueError: A value is NaN or infinite.
        OSError: As for `write_bytes`.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.json"
        >>> write_json(target, {"epochs": 3})
        >>> target.read_text().split()
        ['{', '"epochs":', '3', '}']
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def refuse_existing(*paths: Path, overwrite: bool) -> None:
    """Refuses to write where something is, unless it may be replaced.

    Args:
        *paths: Files and folders that are to be written.
        overwrite: Whether they may be replaced.

    Raises:
        FileExistsError: One is there; the message names all that are.

    Example:
        >>> refuse_existing(Path("no such file"), overwrite=False)
    """
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{', '.join(there)} exist{'s' if len(there) == 1 else ''} already. Choose "
            "another place (--out), or replace what is there (--overwrite)."
        )


def refuse_sources(made: Iterable[Path], sources: Iterable[str | Path]) -> None:
    """Refuses to write where what is read lies, even if files may be replaced.

    Args:
        made: Files that are to be written.
        sources: Files that they are made of; addresses match none.

    Raises:
        FileExistsError: A file is both.

    Example:
        >>> refuse_sources([Path("maps/a.tif")], ["scenes/a.tif"])
    """
    read = {Path(source).resolve() for source in sources}
    both = [str(path) for path in made if path.resolve() in read]
    if both:
        raise FileExistsError(
            "What is made of a file must not replace it. Received: "
            f"{', '.join(both)}. Choose another place (--out)."
        )


def safe_name(name: str) -> str:
    """A name that comes from data, as one that is safe for a file on any system.

    Whatever is neither a letter, a digit, nor one of ``._-+=,@`` becomes ``_``, and so
    does a leading dot: no name leads out of its folder or hides in it. Two names that
    differ may become one; who writes several files checks that.

    Args:
        name: Such as a scene's ``scene_id``.

    Raises:
        ValueError: Nothing is left of the name.

    Example:
        >>> safe_name("S1A_EW 2020-01-01"), safe_name("../../etc/passwd")
        ('S1A_EW_2020-01-01', '_._.._etc_passwd')
    """
    text = re.sub(r"[^\w.\-+=,@]", "_", str(name))
    text = re.sub(r"^\.", "_", text).rstrip(".")[:200]
    if not text.strip("_"):
        raise ValueError(
            f"A name must hold a letter or a digit to name a file. Received: {name!r}."
        )
    return text


def load_pyogrio() -> Any:
    """Loads what reads and writes vectors, bound to a SQLite of its own.

    TensorFlow shows its SQLite, which has no R-tree, to whatever is loaded after it: a
    GeoPackage was then written without its spatial index, and one with an index could
    not be read by a window. Elsewhere than on Linux libraries do not see each other.

    Returns:
        The module ``pyogrio``.
    """
    flags = sys.getdlopenflags()
    try:
        sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))
        import pyogrio
    finally:
        sys.setdlopenflags(flags)
    return pyogrio


def write_features(
    table: Any, path: Path, layer: str | None = None, **options: Any
) -> None:
    """Writes a GeoDataFrame as vectors, a GeoPackage unless told otherwise.

    Args:
        table: The features; without a CRS where they are of a plain image.
        path: File, mostly the temporary one of `atomic_path`.
        layer: Name of the layer.
        **options: Those of ``GeoDataFrame.to_file``.
    """
    load_pyogrio()
    options = {"driver": "GPKG", "layer": layer, **options}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        table.to_file(path, **options)


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


def flush_tree(folder: Path) -> None:
    """Reads back and flushes every file of a folder, then the folders."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            _check_whole(path, path)
        flush(path)
    flush(folder)


def _is_full(path: Path, error: Exception) -> bool:
    """Whether a full disk, or a spent quota, is behind what a library raised."""
    # Libraries raise RuntimeErrors. SQLite gives a little back before it does.
    raised = isinstance(error, RuntimeError | OSError)
    little = raised and shutil.disk_usage(path.parent).free < 2**18
    return little or re.search(_FULL, str(error), re.IGNORECASE) is not None


def _full(path: Path, error: BaseException) -> str:
    return (
        f"A disk must have room for what is written. Received: {path}, of which the "
        f"temporary file could not be written ({error}). Make room and call again."
    )


def _check_whole(part: Path, path: Path) -> None:
    try:
        read_back(part)
    except Exception as error:  # whatever a library raises at a torn file
        raise OSError(_not_whole(path, str(error))) from error


def _not_whole(path: Path, reason: str) -> str:
    return (
        "A file must be readable once it is written. Received: "
        f"{path}, of which {reason.rstrip('.')}. It was not kept; is the disk full?"
    )


def _prefix(process: int | str) -> str:
    return f"{PART}-{socket.gethostname()}-{process}-"


def remove_orphans(path: Path) -> None:
    """Removes temporary files and folders of this path whose process is gone."""
    start = _prefix("")[:-1]
    for found in path.parent.glob(f"{escape(start)}*.{escape(path.name)}"):
        process, _, rest = found.name.removeprefix(start).partition("-")
        number, _, name = rest.partition(".")
        ours = process.isdigit() and number.isdigit() and name == path.name
        if not ours or _alive(int(process)):
            continue
        if found.is_dir():
            shutil.rmtree(found, ignore_errors=True)
        else:
            found.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:  # such as of a process of another user
        return not isinstance(error, ProcessLookupError)
    return True
