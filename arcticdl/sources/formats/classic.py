"""The header of a classic NetCDF file, walked before the C library is let at it.

A damaged count makes that library ask for gigabytes, and crash; of a file that was cut
it reads zeros. Source: NetCDF Classic Format Specification, and the same for the 64-bit
offset (CDF-2) and 64-bit data (CDF-5) forms, Unidata 2023 (NetCDF Users Guide, appendix
on file formats).
"""

import math
from pathlib import Path
from typing import BinaryIO, NamedTuple

from arcticdl.errors import SourceError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of a number, by the code of its type; those from 7 on are of CDF-5."""

_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12
_MAX_DIMENSIONS = 1024  # of one variable: NC_MAX_VAR_DIMS of the C library


class _Extent(NamedTuple):
    """Where a variable lies."""

    name: str
    begin: int
    size: int
    is_record: bool


class _Damaged(ValueError):
    """A header that cannot be what a library wrote."""


class _Header:
    """Reads the parts of a header one after the other."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        version = self._take(4)[3]
        if version not in (1, 2, 5):
            raise _Damaged(f"version {version} of the format is not known")
        self.count_bytes = 8 if version == 5 else 4
        self.offset_bytes = 4 if version == 1 else 8
        self.last_type = 11 if version == 5 else 6

    def extents(self) -> tuple[int | None, list[_Extent]]:
        """Number of records, or ``None`` while streaming, and the variables."""
        records: int | None = self._number(self.count_bytes)
        if records == 256**self.count_bytes - 1:
            records = None
        lengths = [self._dimension() for _ in range(self._list(_DIMENSIONS))]
        if lengths.count(0) > 1:
            raise _Damaged("more than one dimension is unlimited")
        self._attributes()
        number = self._list(_VARIABLES)
        return records, [self._variable(lengths) for _ in range(number)]

    def _take(self, number: int) -> bytes:
        if number > self.size - self.file.tell():
            raise _Damaged("its header goes on beyond the end of the file")
        return self.file.read(number)

    def _number(self, number: int) -> int:
        return int.from_bytes(self._take(number), "big")

    def _count(self) -> int:
        count = self._number(self.count_bytes)
        if count > self.size:  # whatever is counted takes a byte at least
            raise _Damaged(f"it counts {count} of what cannot fit in {self.size} bytes")
        return count

    def _list(self, kind: int) -> int:
        found, count = self._number(4), self._count()
        if found != kind and (found or count):
            raise _Damaged(f"a list of kind {kind} has kind {found}")
        return count

    def _name(self) -> str:
        return self._padded(self._count()).decode("utf-8", "replace")

    def _padded(self, number: int) -> bytes:
        return self._take(number + -number % 4)[:number]

    def _type(self) -> int:
        code = self._number(4)
        if not 1 <= code <= self.last_type:
            raise _Damaged(f"type {code} is not known")
        return _SIZES[code]

    def _dimension(self) -> int:
        self._name()
        return self._number(self.count_bytes)

    def _attributes(self) -> None:
        for _ in range(self._list(_ATTRIBUTES)):
            self._name()
            size = self._type()
            self._padded(size * self._count())

    def _variable(self, lengths: list[int]) -> _Extent:
        name = self._name()
        rank = self._count()
        if rank > _MAX_DIMENSIONS:
            raise _Damaged(f"variable {name!r} has {rank} dimensions")
        axes = [self._number(self.count_bytes) for _ in range(rank)]
        if any(axis >= len(lengths) for axis in axes):
            raise _Damaged(f"variable {name!r} has a dimension that is not listed")
        self._attributes()
        size = self._type()
        self._number(self.count_bytes)  # its size again, which may be cut to 4 bytes
        begin = self._number(self.offset_bytes)
        shape = [lengths[axis] for axis in axes]
        if 0 in shape[1:]:
            raise _Damaged(f"variable {name!r} is unlimited along a later dimension")
        is_record = bool(shape) and shape[0] == 0
        return _Extent(name, begin, size * math.prod(shape[is_record:]), is_record)


def check_classic(path: str | Path) -> None:
    """Refuses a classic NetCDF file whose header is damaged, or that was cut.

    Args:
        path: The file, which begins with ``CDF``.

    Raises:
        SourceError: The header contradicts the format or the file's size.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            records, variables = _Header(file, size).extents()
            _check_extents(records, variables, size)
        except _Damaged as error:
            raise SourceError(
                f"A NetCDF file must be whole. Received: {path}, of which {error}."
            ) from None


def _check_extents(records: int | None, variables: list[_Extent], size: int) -> None:
    recorded = [v for v in variables if v.is_record]
    # Each part of a record is filled up to 4 bytes, unless it is the only one.
    padded = [v.size + (-v.size % 4 if len(recorded) > 1 else 0) for v in recorded]
    for variable in variables:
        end = variable.begin + variable.size
        if variable.is_record:
            if not records:
                continue
            end += (records - 1) * sum(padded)
        if end > size:
            raise _Damaged(
                f"variable {variable.name!r} ends at byte {end} of {size}; it was cut"
            )
