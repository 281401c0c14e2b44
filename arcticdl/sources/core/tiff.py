"""Whether a TIFF file is whole: GDAL opens one that is cut off, without its tags.

A tag that lies beyond the end is dropped with a warning, and with it band names, scene
attributes or the grid. Structure: TIFF 6.0 (Adobe, 1992), section 2, and the BigTIFF
extension of libtiff.
"""

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arcticdl.errors import SourceError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
          13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip
"""Bytes of each type of value."""

_UNSIGNED = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
_NAMES = {
    33550: "ModelPixelScale", 33922: "ModelTiepoint", 34264: "ModelTransformation",
    34735: "GeoKeyDirectory", 34736: "GeoDoubleParams", 34737: "GeoAsciiParams",
    42112: "GDAL_METADATA", 42113: "GDAL_NODATA", 270: "ImageDescription",
    306: "DateTime",
}  # fmt: skip
_BLOCKS = ((273, 279), (324, 325))  # offsets and sizes of strips, of tiles
_MAX_PAGES, _MAX_BLOCKS = 10_000, 1 << 24


class _Form(NamedTuple):
    """How numbers of a file are written."""

    order: str
    """``"<"`` or ``">"``."""
    is_big: bool

    @property
    def number(self) -> str:
        """Of a position in the file."""
        return self.order + ("Q" if self.is_big else "I")


def check_whole(path: str | Path) -> None:
    """Refuses a TIFF whose tags or pixels lie beyond the end of the file.

    Args:
        path: A local file; what is no TIFF passes.

    Raises:
        SourceError: It is cut off; the message says what is lost.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(16)
        form = _form(head)
        if form is None:
            return
        seen: set[int] = set()
        start = 8 if form.is_big else 4
        place = struct.unpack_from(form.number, head.ljust(16, b"\0"), start)[0]
        while 0 < place < size and place not in seen and len(seen) < _MAX_PAGES:
            seen.add(place)
            place = _check_page(file, str(path), form, place, size)


def _form(head: bytes) -> _Form | None:
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = head[2:4] if order == "<" else head[3:1:-1]
    if order is None or version not in (b"*\0", b"+\0"):
        return None
    return _Form(order, version == b"+\0")


def _check_page(file: Any, path: str, form: _Form, place: int, size: int) -> int:
    """Checks one directory and gives the place of the next."""
    counter = form.order + ("Q" if form.is_big else "H")
    length, inline = (20, 8) if form.is_big else (12, 4)
    file.seek(place)
    raw = file.read(struct.calcsize(counter)).ljust(8, b"\0")
    count = struct.unpack_from(counter, raw)[0]
    entries = file.read(min(count, 1 << 16) * length)
    after = file.read(struct.calcsize(form.number))
    if len(entries) < count * length or len(after) < struct.calcsize(form.number):
        raise _refusal(path, "a directory of tags", size)
    layout = form.order + ("HHQ" if form.is_big else "HHI")
    blocks: dict[int, np.ndarray] = {}
    for start in range(0, len(entries), length):
        tag, kind, number = struct.unpack_from(layout, entries, start)
        bytes_long = _SIZES.get(kind, 0) * number
        at = start + struct.calcsize(layout)
        value = entries[at : at + inline]
        if bytes_long > inline:
            where = struct.unpack(form.number, value)[0]
            if where + bytes_long > size:
                raise _refusal(path, f"tag {_NAMES.get(tag, tag)}", size)
            if _is_block_list(tag, kind, number):
                file.seek(where)
                value = file.read(bytes_long)
        if _is_block_list(tag, kind, number):
            dtype = np.dtype(form.order + _UNSIGNED[kind])
            blocks[tag] = np.frombuffer(value[:bytes_long], dtype).astype("float64")
    _check_blocks(path, blocks, size)
    return int(struct.unpack(form.number, after)[0])


def _is_block_list(tag: int, kind: int, number: int) -> bool:
    listed = any(tag in pair for pair in _BLOCKS)
    return listed and kind in _UNSIGNED and number <= _MAX_BLOCKS


def _check_blocks(path: str, blocks: dict[int, np.ndarray], size: int) -> None:
    for starts, lengths in _BLOCKS:
        start, length = blocks.get(starts), blocks.get(lengths)
        if start is None or length is None or start.shape != length.shape:
            continue
        end = np.where((start > 0) & (length > 0), start + length, 0)
        if end.size and end.max() > size:
            lost = int((end > size).sum())
            raise _refusal(path, f"{lost} of {end.size} blocks of pixels", size)


def _refusal(path: str, lost: str, size: int) -> SourceError:
    return SourceError(
        f"{path} must be whole; it may be truncated. Received: {size} bytes, beyond "
        f"which lies {lost}. Copy or download it again."
    )
