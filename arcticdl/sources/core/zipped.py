"""Products that stay in their ``.zip``: read in place, nothing is unpacked.

A member is opened by GDAL as ``/vsizip/ARCHIVE/MEMBER``. A deflated member is read from
its start, so that windows far down cost time; unpack a product that is read often.
"""

import re
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.sources.reader import READERS, Reader, sniffing_order

MAX_PRODUCT_BYTES = 32 * 2**30
"""Size of a product out of its archive; the largest Sentinel products have 8 GB."""

MAX_PRODUCT_COMPRESSION = 200
"""A product that shrinks further than this is no imagery; real ones shrink to half."""

MAX_MEMBERS = 20_000
_ROOT = PurePosixPath()
_ADDRESS = re.compile(r"/vsizip/\{(.+)\}/(.+)")
_BLOCK_BYTES = 1 << 22
_SMALL_BYTES = 64 * 2**20  # below this nothing can be filled, however well it shrinks


def check_zip(
    path: Path, max_bytes: int, max_compression: float, *, spare_bytes: int = 0
) -> list[zipfile.ZipInfo]:
    """Members of an archive, once their sizes are in reason.

    Args:
        path: The archive.
        max_bytes: Size of all members unpacked.
        max_compression: The same over the size of the archive.
        spare_bytes: Archives that unpack to less may be compressed further.

    Returns:
        The members.

    Raises:
        SourceError: No zip archive, too large, or compressed beyond reason.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SourceError(f"{path} is no zip file: {error}.") from None
    unzipped = sum(member.file_size for member in members)
    # Of the file, not of its members: members of a bomb may share their bytes.
    zipped = max(path.stat().st_size, 1)
    if unzipped > max_bytes or unzipped > max(max_compression * zipped, spare_bytes):
        raise SourceError(
            f"{path} must unzip to at most {max_bytes} bytes and {max_compression} "
            f"times its size. Received: {unzipped} bytes of {zipped}."
        )
    return members


class ZipPath:
    """A path inside an archive, with as much of ``pathlib.Path`` as readers use.

    Args:
        archive: The ``.zip``.
        inner: Path within it; empty: its root.
    """

    def __init__(self, archive: Path, inner: PurePosixPath = _ROOT) -> None:
        self.archive, self.inner = archive, inner

    def _make(self, inner: PurePosixPath) -> "ZipPath":
        return ZipPath(self.archive, inner)

    def __truediv__(self, other: str) -> "ZipPath":
        return self._make(self.inner / other)

    def __str__(self) -> str:
        """The address that GDAL opens."""
        return f"/vsizip/{{{self.archive.resolve()}}}/{self.inner}"

    def __repr__(self) -> str:
        return f"ZipPath({str(self.archive)!r}, {str(self.inner)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZipPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: "ZipPath") -> bool:
        return str(self) < str(other)

    @property
    def name(self) -> str:
        """Last part; that of the archive without its suffix at its root."""
        return self.inner.name or self.archive.stem

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "ZipPath":
        """The folder that holds it."""
        return self._make(self.inner.parent)

    def with_name(self, name: str) -> "ZipPath":
        """The path beside it of another name."""
        return self._make(self.inner.with_name(name))

    def is_file(self) -> bool:
        """Whether it is a member."""
        return str(self.inner) in _index(self.archive)

    def is_dir(self) -> bool:
        """Whether members lie below it."""
        return not self.is_file() and next(self._below(), None) is not None

    def exists(self) -> bool:
        """Whether it is either."""
        return self.is_file() or self.is_dir()

    def stat(self) -> SimpleNamespace:
        """``st_size``, the size unpacked in bytes."""
        return SimpleNamespace(st_size=self._info().file_size)

    def read_bytes(self) -> bytes:
        """The content of a member.

        Raises:
            FileNotFoundError: There is none.
            SourceError: It is encrypted or damaged.
        """
        info = self._info()
        try:
            with zipfile.ZipFile(self.archive) as archive:
                return archive.read(info)
        except (
            RuntimeError,
            zipfile.BadZipFile,
            NotImplementedError,
            OSError,
        ) as error:
            raise SourceError(f"{self} cannot be read: {error}.") from None
        except Exception as error:  # the decompressors raise errors of their own
            raise SourceError(f"{self} is damaged: {error}.") from None

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The content of a member as text."""
        return self.read_bytes().decode(encoding, errors)

    def iterdir(self) -> Iterator["ZipPath"]:
        """What lies in it, one level down."""
        depth = len(self.inner.parts)
        names = {member.parts[depth] for member in self._below()}
        return iter([self / name for name in sorted(names)])

    def glob(self, pattern: str) -> Iterator["ZipPath"]:
        """Members below it that match a pattern without ``**``."""
        wanted = PurePosixPath(pattern).parts
        depth = len(self.inner.parts)
        for member in self._below():
            parts = member.parts[depth:]
            if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
                yield self._make(member)

    def _below(self) -> Iterator[PurePosixPath]:
        depth = len(self.inner.parts)
        for name in _index(self.archive):
            member = PurePosixPath(name)
            if len(member.parts) > depth and member.parts[:depth] == self.inner.parts:
                yield member

    def _info(self) -> zipfile.ZipInfo:
        try:
            return _index(self.archive)[str(self.inner)]
        except KeyError:
            raise FileNotFoundError(f"There is no file {self}.") from None


ProductPath = Path | ZipPath
"""A product's folder or file, on disk or in an archive."""


def product_path(path: Any) -> ProductPath:
    """A path whose methods work: the product within, where it is an archive.

    Raises:
        SourceError: An archive that holds no product, several, or is a bomb.
    """
    if isinstance(path, ZipPath):
        return path
    path = Path(path)
    return product_root(path) if path.is_file() and _is_zip(path) else path


def product_root(archive: Path) -> ZipPath:
    """The folder of the one product of an archive.

    Args:
        archive: The ``.zip``.

    Returns:
        The folder that holds ``manifest.safe`` or ``MTD_MSIL*.xml``.

    Raises:
        SourceError: It holds none, or several, or is no archive that is safe to read.
    """
    marks = ("manifest.safe", "MTD_MSIL1C.xml", "MTD_MSIL2A.xml")
    members = [PurePosixPath(name) for name in _index(archive)]
    roots = sorted({member.parent for member in members if member.name in marks})
    if len(roots) != 1:
        listed = [str(root) for root in roots[:5]]
        raise SourceError(
            f"{archive} must hold one SAFE product of Sentinel-1 or Sentinel-2. "
            f"Received: {listed or 'none'}; unpack it and open what is in it."
        )
    return ZipPath(archive, roots[0])


def check_member(address: str) -> None:
    """Reads a member once and compares its checksum, which GDAL does not.

    Args:
        address: GDAL's address of a file; what is in no archive passes. The check is
            kept for as long as the archive does not change.

    Raises:
        SourceError: The member is damaged.
    """
    found = _ADDRESS.fullmatch(address)
    if found is not None:
        archive = Path(found[1])
        state = archive.stat()
        _check_member(archive, found[2], state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _check_member(archive: Path, member: str, size: int, changed_ns: int) -> None:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
            while file.read(_BLOCK_BYTES):
                pass
    except KeyError:
        raise FileNotFoundError(f"There is no file {archive}/{member}.") from None
    except Exception as error:  # the decompressors raise errors of their own
        raise SourceError(f"{archive} is damaged in {member}: {error}.") from None


def open_zipped(path: str | Path, **options: Any) -> xr.Dataset:
    """Opens the Sentinel-1 or Sentinel-2 product of an archive as a lazy scene.

    Args:
        path: The ``.zip``.
        **options: Those of the product's own reader.

    Returns:
        The scene.

    Raises:
        SourceError: No archive, or one that holds no product, several, or is a bomb.
    """
    root = product_root(Path(path))
    for name in sniffing_order():
        if READERS[name].sniff(root, b""):
            return READERS[name].open(root, **options)
    raise SourceError(
        f"{path} must hold a SAFE product of Sentinel-1 or Sentinel-2. "
        f"Received: {root.name}."
    )


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _index(archive: Path) -> dict[str, zipfile.ZipInfo]:
    """Members by name, checked once for each state of the file."""
    state = archive.stat()
    return _read_index(archive, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16)
def _read_index(
    archive: Path, size: int, changed_ns: int
) -> dict[str, zipfile.ZipInfo]:
    members = check_zip(
        archive,
        MAX_PRODUCT_BYTES,
        MAX_PRODUCT_COMPRESSION,
        spare_bytes=_SMALL_BYTES,
    )
    if len(members) > MAX_MEMBERS:
        raise SourceError(
            f"{archive} must hold at most {MAX_MEMBERS} files. "
            f"Received: {len(members)}."
        )
    locked = [member.filename for member in members if member.flag_bits & 1]
    if locked:
        raise SourceError(
            f"{archive} is encrypted, and cannot be read in place: {locked[0]}. "
            "Unpack it first."
        )
    return {
        str(PurePosixPath(member.filename)): member
        for member in members
        if not member.is_dir()
    }


def is_zipped(path: Any, head: bytes) -> bool:
    """A zip archive by that name; what is in it is told when it is opened."""
    return head[:4] == b"PK\x03\x04" and path.suffix.lower() == ".zip"


READER = Reader(is_zipped, open_zipped, is_general=True)
