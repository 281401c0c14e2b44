"""Event files as TensorBoard reads them, written without TensorFlow or TensorBoard.

A file is a row of records, each with its length and checksums (TFRecord); a record is
an ``Event`` in the wire format of protocol buffers. Numbers in front of fields here are
those of TensorFlow's ``event.proto`` and ``summary.proto``.
"""

import struct
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_START = 1  # SessionLog.START


class EventFile:
    """One file of events, which grows by whole records.

    Nothing is held open, so that there is nothing to close.

    Args:
        folder: Where the file is made; several files of a folder are read in the order
            in which they were begun.
        first: Number of the first step: older values from there on no longer count.

    Example:
        ``EventFile("runs/own/train", first=0).add_scalars(0, {"epoch_loss": 0.5})``
    """

    def __init__(self, folder: str | Path, *, first: int = 0) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns():020d}.arcticdl"
        self.path = folder / name
        self._add(_text(3, "brain.Event:2"))
        self._add(_number(2, first) + _text(7, _number(1, _START)))

    def add_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds numbers of one step, each under its name."""
        summary = b"".join(
            _text(1, _text(1, name) + _key(2, _FLOAT) + _float32(value))
            for name, value in values.items()
        )
        self._add(_number(2, step) + _text(5, summary))

    def _add(self, fields: bytes) -> None:
        event = _key(1, _DOUBLE) + struct.pack("<d", time.time()) + fields
        length = struct.pack("<Q", len(event))
        with self.path.open("ab") as file:
            file.write(length + _checksum(length) + event + _checksum(event))


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _number(field: int, value: int) -> bytes:
    return _key(field, _VARINT) + _varint(value)


def _text(field: int, value: str | bytes) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _key(field, _BYTES) + _varint(len(value)) + value


def _float32(value: float) -> bytes:
    """What is beyond float32 becomes infinite, as there."""
    with np.errstate(over="ignore"):
        return np.array(value, "<f4").tobytes()


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a set eighth bit says that more follow."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


_CRC32C = _table()


def _checksum(data: bytes) -> bytes:
    """CRC-32C, masked as in TFRecord."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC32C[(value ^ byte) & 255] ^ value >> 8
    value ^= 0xFFFFFFFF
    masked = (value >> 15 | value << 17) + 0xA282EAD8
    return struct.pack("<I", masked & 0xFFFFFFFF)
