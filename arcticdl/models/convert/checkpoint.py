"""Reading PyTorch checkpoints without PyTorch, and without running what they hold.

A ``.pth`` file is a pickle program. ``pickle`` would run it; this reader knows only
the few instructions that build dicts, lists, numbers and tensors, and refuses every
other name. Formats: safetensors; the zip files of PyTorch since 1.6; the single
stream before.
"""

import hashlib
import io
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import safetensors

from arcticdl.choices import check_choice
from arcticdl.errors import WeightsError
from arcticdl.models.convert.pickle import MAX_BYTES, Machine, Names

MAX_COPIES = 5
"""Bytes read from storages and copied into tensors, in sizes of the file: each value
once read and once copied, and room for tensors that share storages."""

STREAM_MAGIC = 0x1950A86A20F9469CFC6C
"""First number of PyTorch's single-stream format (``torch/serialization.py``)."""

STORAGES: dict[str, str] = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
}

SAFETENSORS: dict[str, str] = {
    "BF16": "bfloat16",
    "BOOL": "bool",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "I8": "int8",
    "U8": "uint8",
}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a PyTorch checkpoint into NumPy arrays.

    Args:
        path: ``.safetensors``, ``.pth``, ``.pt``, ``.th``, ``.bin`` or ``.ckpt``.

    Returns:
        The dict that was saved; each tensor in it a NumPy array (bfloat16 as float32).

    Raises:
        FileNotFoundError: No such file.
        WeightsError: Truncated, of another format, or holding more than tensors and
            plain values, such as the name of a function or a class.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"A checkpoint must be a file. Received: path={str(path)!r}."
        )
    try:
        content = _read(path)
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            "A checkpoint must be a whole safetensors or PyTorch file. Received: "
            f"{str(path)!r} ({type(error).__name__}: {error}). Fetch it again."
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(
            "A checkpoint must hold a dict of tensors. "
            f"Received: {str(path)!r} with {type(content).__name__}."
        )
    return content


def sha256_of(path: str | Path) -> str:
    """Returns the hexadecimal SHA-256 of a file, read in pieces.

    Args:
        path: The file.

    Returns:
        64 digits.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    return _read_stream(path)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    # Opened first, which reads the header alone: no file is read that has a bad one.
    with safetensors.safe_open(path, framework="numpy") as file:
        for key in file.keys():  # noqa: SIM118  the file is no dict
            check_choice("dtype", file.get_slice(key).get_dtype(), SAFETENSORS)
    found = safetensors.deserialize(path.read_bytes())
    return {key: _safe_tensor(**tensor) for key, tensor in found}


def _safe_tensor(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    count = int(np.prod(shape, dtype="int64"))
    kind = _Kind(SAFETENSORS[dtype])
    return _to_array(data, kind, count, "little").reshape(shape)


# --- the zip format ---------------------------------------------------------------


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        (program,) = [n for n in archive.namelist() if n.endswith("data.pkl")]
        folder = program.removesuffix("data.pkl")
        order = "little"
        if folder + "byteorder" in archive.namelist():
            order = _read_stored(archive, folder + "byteorder", 16).decode()

        def values(storage: _Storage) -> bytes:
            name = f"{folder}data/{storage.key}"
            return _read_stored(archive, name, storage.num_bytes)

        storages: dict[Any, _Storage] = {}
        content = Machine(_NAMES, lambda identity: _storage(identity, storages)).run(
            io.BytesIO(_read_stored(archive, program, MAX_BYTES))
        )
        return _Tensors(path, values, order).resolve(content)


def _read_stored(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """An entry's bytes; PyTorch packs none, and a packed one could be a zip bomb."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED:
        raise WeightsError(f"Tensors must be stored uncompressed. Received: {name}.")
    with archive.open(entry) as file:
        return file.read(max_bytes)


# --- the single-stream format -----------------------------------------------------


def _read_stream(path: Path) -> Any:
    with open(path, "rb") as file:
        plain = Machine(_NAMES, _no_storage)
        if plain.run(file) != STREAM_MAGIC:
            raise WeightsError(
                "A checkpoint must be a safetensors or PyTorch file. "
                f"Received: {str(path)!r}."
            )
        plain.run(file)  # protocol version
        plain.run(file)  # byte order and sizes of the writing machine
        storages: dict[Any, _Storage] = {}
        content = Machine(_NAMES, lambda identity: _storage(identity, storages)).run(
            file
        )
        places = {}
        for key in plain.run(file):
            places[key] = _skip_values(file, storages[key])

        def values(storage: _Storage) -> bytes:
            file.seek(places[storage.key])
            return file.read(storage.num_bytes)

        return _Tensors(path, values, "little").resolve(content)


def _skip_values(file: BinaryIO, storage: "_Storage") -> int:
    """Where a storage's values begin; the file is left behind them."""
    count = int.from_bytes(file.read(8), "little")
    if count != storage.num_values:
        raise WeightsError(
            f"A storage must have its stated length {storage.num_values}. "
            f"Received: {count}."
        )
    start = file.tell()
    file.seek(storage.num_bytes, os.SEEK_CUR)
    return start


def _no_storage(identity: tuple) -> Any:
    raise WeightsError("A header must hold no tensors.")


# --- tensors ----------------------------------------------------------------------


class _Kind(NamedTuple):
    """The type of a storage's values; stands for its class in the program."""

    dtype: str

    @property
    def item_size(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize


class _Storage(NamedTuple):
    """Values that tensors share: their name in the file, their type and number."""

    key: Any
    kind: _Kind
    num_values: int

    @property
    def num_bytes(self) -> int:
        return self.num_values * self.kind.item_size


class _View(NamedTuple):
    """A tensor of a storage that is yet to be read."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


def _storage(identity: tuple, storages: dict[Any, _Storage]) -> _Storage:
    _, kind, key, _, count = identity[:5]
    if len(identity) > 5 and identity[5] is not None:
        raise WeightsError("A storage must own its values. Received: a view.")
    if not isinstance(kind, _Kind) or not isinstance(count, int) or count < 0:
        raise WeightsError("A storage must have a type of numbers and a length.")
    return storages.setdefault(key, _Storage(key, kind, count))


class _Tensors:
    """Puts arrays in the place of the tensors of a program's result.

    Many tensors may share one storage, and a stride of 0 makes one value fill any
    size. So the bytes read and copied are counted, against those that the file has.

    Args:
        path: The file.
        values: Reads the bytes of a storage.
        order: Byte order of the values.
    """

    def __init__(
        self, path: Path, values: Callable[[_Storage], bytes], order: str
    ) -> None:
        self._values, self._order = values, order
        self._left = MAX_COPIES * path.stat().st_size
        self._arrays: dict[Any, np.ndarray] = {}
        self._done: dict[int, Any] = {}

    def resolve(self, value: Any) -> Any:
        """The same dicts, lists and tuples, with arrays; each shared part once."""
        if id(value) not in self._done:
            self._done[id(value)] = self._resolve(value)
        return self._done[id(value)]

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, _View):
            return self._tensor(value)
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.resolve(item) for item in value)
        return value

    def _tensor(self, view: _View) -> np.ndarray:
        """The tensor inside its storage, refused where it would reach outside."""
        size, stride = _check_view(view)
        array = self._array(view.storage)
        if 0 in size:
            return np.zeros(size, array.dtype)
        last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if view.offset + last >= len(array):
            raise WeightsError(
                "A tensor must lie inside its storage. Received: values up to "
                f"{view.offset + last} of {len(array)}."
            )
        self._spend(math.prod(size) * array.itemsize)
        steps = [step * array.itemsize for step in stride]
        part = array[view.offset :]
        return np.lib.stride_tricks.as_strided(part, size, steps).copy()

    def _array(self, storage: _Storage) -> np.ndarray:
        if storage.key not in self._arrays:
            self._spend(storage.num_bytes)
            data = self._values(storage)
            self._arrays[storage.key] = _to_array(
                data, storage.kind, storage.num_values, self._order
            )
        return self._arrays[storage.key]

    def _spend(self, num_bytes: int) -> None:
        self._left -= num_bytes
        if self._left < 0:
            raise WeightsError(
                "The values of all tensors must be in the file, which shared storages "
                f"may show {MAX_COPIES - 1} times at most. Received: more."
            )


def _check_view(view: _View) -> tuple[tuple[int, ...], tuple[int, ...]]:
    size, stride = view.size, view.stride
    lists = isinstance(size, tuple) and isinstance(stride, tuple)
    if not isinstance(view.storage, _Storage) or not lists or len(size) != len(stride):
        raise WeightsError("A tensor must have a storage, sizes and as many strides.")
    if any(not isinstance(n, int) or n < 0 for n in (view.offset, *size, *stride)):
        raise WeightsError("A tensor must have whole sizes. Received: other ones.")
    return size, stride


def _to_array(data: bytes, kind: _Kind, count: int, order: str) -> np.ndarray:
    if len(data) < count * kind.item_size:
        raise WeightsError(
            "A storage must hold the tensor values that it states. "
            f"Received: {len(data)} bytes for {count} values."
        )
    sign: Literal["<", ">"] = "<" if order == "little" else ">"
    if kind.dtype == "bfloat16":
        # The upper half of a float32: the same sign and exponent, a shorter fraction.
        upper = np.frombuffer(data, sign + "u2", count).astype("uint32") << 16
        return upper.view("float32")
    array = np.frombuffer(data, np.dtype(kind.dtype).newbyteorder(sign), count)
    return array.astype(kind.dtype)


_NAMES = Names(
    values={("torch", name): _Kind(dtype) for name, dtype in STORAGES.items()},
    functions={
        ("collections", "OrderedDict"): lambda items=(): dict(items),
        ("torch", "Size"): tuple,
        ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        ("torch._utils", "_rebuild_tensor"): _View,
        ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: _View(*parts[:4]),
    },
)
"""The few names that a checkpoint of tensors needs, and what they stand for here."""
