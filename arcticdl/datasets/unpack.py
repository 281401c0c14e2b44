"""Unpacking archives from elsewhere: nothing of them leaves its folder."""

import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from arcticdl.errors import FetchError

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # a ZIP that is encrypted, or packed in a way that is not known
)


class _Chain(io.RawIOBase):
    """Files that were one, read as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.waiting = list(paths)
        self.file: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self.file is None:
                if not self.waiting:
                    return 0
                self.file = open(self.waiting.pop(0), "rb")  # noqa: SIM115
            if count := self.file.readinto(buffer):  # type: ignore[attr-defined]
                return int(count)
            self.file.close()
            self.file = None

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        super().close()


def unpack(
    paths: Sequence[Path], folder: Path, *, keep: Sequence[tuple[str, str]] = ()
) -> list[Path]:
    """Unpacks a ZIP or tar archive, or a tar that was cut into several files.

    Only plain files and folders are taken. A member that would lie outside the folder,
    a link or a device refuses the whole archive; rights and owners are not taken over.
    A folder that alone stands at the archive's top is left out.

    Args:
        paths: The archive, or its pieces in order.
        folder: Empty folder to write to.
        keep: (folder or file in the archive, path in ``folder``); empty: everything.

    Returns:
        Paths of the files, sorted.

    Raises:
        FetchError: An archive that is damaged, unsafe, or lacks what ``keep`` names.
        OSError: The disk is full.
    """
    inner = folder / ".unpacked"
    inner.mkdir(parents=True)
    first = paths[0]
    is_zip = len(paths) == 1 and zipfile.is_zipfile(first)
    try:
        for name, source, size in _zip(first) if is_zip else _tar(paths):
            target = inner / _safe(name, first)
            target.parent.mkdir(parents=True, exist_ok=True)
            _room_for(size, folder, name)
            with open(target, "xb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
    except _DAMAGED as error:
        raise FetchError(
            "An archive must be a whole ZIP or tar file. Received: "
            f"{first}, of which {error}. Remove it and fetch it again."
        ) from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise FetchError(
            "An archive must hold each name once. Received: "
            f"{first}, of which {error.filename} is there twice."
        ) from error
    _place(inner, folder, keep or [("", "")], first)
    shutil.rmtree(inner)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _zip(path: Path) -> Iterator[tuple[str, IO[bytes], int]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise FetchError(_unsafe(member.filename, path))
            _safe(member.filename, path)
            if not member.is_dir():
                with archive.open(member) as source:
                    yield member.filename, source, member.file_size


def _tar(paths: Sequence[Path]) -> Iterator[tuple[str, IO[bytes], int]]:
    with (
        io.BufferedReader(_Chain(paths), 1 << 20) as stream,
        tarfile.open(fileobj=stream, mode="r|*") as archive,
    ):
        for member in archive:
            if not (member.isfile() or member.isdir()):
                raise FetchError(_unsafe(member.name, paths[0]))
            _safe(member.name, paths[0])
            source = archive.extractfile(member)
            if source is not None:
                yield member.name, source, member.size


def _safe(name: str, archive: Path) -> Path:
    """A member's path, if it stays where it is put."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or ":" in name[:3]:
        raise FetchError(_unsafe(name, archive))
    return Path(*path.parts)


def _unsafe(name: str, archive: Path) -> str:
    return (
        "An archive must hold plain files that stay in its folder. Received: "
        f"{archive} with the member {name!r}. Nothing of it was kept."
    )


def _room_for(size: int, folder: Path, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            f"A disk must have room for what is unpacked. Received: {free} bytes free "
            f"in {folder} for {name}, {size} bytes. Make room and call again."
        )


def _place(
    inner: Path, folder: Path, keep: Sequence[tuple[str, str]], archive: Path
) -> None:
    """Moves what is wanted to its place, without a folder that stands alone on top."""
    found = list(inner.iterdir())
    top = found[0] if len(found) == 1 and found[0].is_dir() else inner
    for source, target in keep:
        origin = top / source
        if not origin.exists():
            raise FetchError(
                f"An archive must hold {source!r}. Received: {archive}, which does not."
            )
        paths = [origin] if origin.is_file() else list(origin.iterdir())
        place = folder / target
        place.mkdir(parents=True, exist_ok=True)
        for path in paths:
            os.replace(path, place / path.name)
