"""Reading PyTorch checkpoints without PyTorch, and without running what they hold.

A ``.pth`` file is a pickle program. ``pickle`` would run it; this reader knows only
the few instructions that build dicts, lists, numbers and tensors, and refuses every
other name. Formats: safetensors; the zip files of PyTorch since 1.6; the single
stream before.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

from arcticdl.errors import WeightsError
from arcticdl.models.convert.pickle import Machine, Names

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
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
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    return _read_legacy(path)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """https://github.com/huggingface/safetensors: length, JSON header, values."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise WeightsError(
                "A safetensors file must be as long as its header. "
                f"Received: {str(path)!r}, {path.stat().st_size} bytes."
            )
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    return {key: _safe_tensor(data, **entry) for key, entry in header.items()}


def _safe_tensor(
    data: bytes, dtype: str, shape: list[int], data_offsets: list[int]
) -> np.ndarray:
    if dtype not in SAFETENSORS:
        raise WeightsError(
            f"A tensor's type must be one of {sorted(SAFETENSORS)}. Received: {dtype}."
        )
    start, end = data_offsets
    count = int(np.prod(shape, dtype="int64"))
    kind = _Storage(SAFETENSORS[dtype])
    return _to_array(data[start:end], kind, count, "little").reshape(shape)


# --- the zip format ---------------------------------------------------------------


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        (program,) = [n for n in archive.namelist() if n.endswith("data.pkl")]
        folder = program.removesuffix("data.pkl")
        names = set(archive.namelist())
        order = "little"
        if folder + "byteorder" in names:
            order = archive.read(folder + "byteorder").decode()

        def storage(identity: tuple) -> np.ndarray:
            _, kind, key, _, count = identity[:5]
            entry = archive.getinfo(f"{folder}data/{key}")
            # PyTorch stores tensors uncompressed; a packed one could be a zip bomb.
            if entry.compress_type != zipfile.ZIP_STORED:
                raise WeightsError(
                    f"Tensors must be stored uncompressed. Received: {entry.filename}."
                )
            return _to_array(archive.read(entry), kind, count, order)

        return Machine(_NAMES, storage).run(io.BytesIO(archive.read(program)))


# --- the single-stream format -----------------------------------------------------


def _read_legacy(path: Path) -> Any:
    with open(path, "rb") as file:
        plain = Machine(_NAMES, _no_storage)
        if plain.run(file) != LEGACY_MAGIC:
            raise WeightsError(
                "A checkpoint must be a safetensors or PyTorch file. "
                f"Received: {str(path)!r}."
            )
        plain.run(file)  # protocol version
        plain.run(file)  # byte order and sizes of the writing machine
        storages: dict[str, _Lazy] = {}
        content = Machine(_NAMES, lambda identity: _lazy(identity, storages)).run(file)
        for key in plain.run(file):
            storages[key].fill(file)
    return _resolve(content)


class _Lazy:
    """A storage whose bytes come only after the program that names it."""

    def __init__(self, kind: "_Storage", count: int) -> None:
        self.kind, self.count = kind, count
        self.array: np.ndarray | None = None

    def fill(self, file: BinaryIO) -> None:
        count = int.from_bytes(file.read(8), "little")
        if count != self.count:
            raise WeightsError(
                f"A storage must have its stated length {self.count}. "
                f"Received: {count}."
            )
        size = count * _item_size(self.kind)
        self.array = _to_array(file.read(size), self.kind, count, "little")


class _View(NamedTuple):
    """A tensor of a storage that is yet to be read."""

    storage: _Lazy
    offset: int
    size: tuple
    stride: tuple


def _lazy(identity: tuple, storages: dict[str, _Lazy]) -> _Lazy:
    _, kind, key, _, count = identity[:5]
    if len(identity) > 5 and identity[5] is not None:
        raise WeightsError("A storage must own its values. Received: a view.")
    return storages.setdefault(key, _Lazy(kind, count))


def _resolve(value: Any) -> Any:
    if isinstance(value, _View):
        return _strided(value.storage.array, value.offset, value.size, value.stride)
    if isinstance(value, dict):
        return {key: _resolve(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_resolve(item) for item in value)
    return value


def _no_storage(identity: tuple) -> Any:
    raise WeightsError("A header must hold no tensors.")


# --- tensors ----------------------------------------------------------------------


class _Storage(NamedTuple):
    """The kind of a storage; stands for its class in the program."""

    dtype: str


def _item_size(kind: _Storage) -> int:
    return 2 if kind.dtype == "bfloat16" else np.dtype(kind.dtype).itemsize


def _to_array(data: bytes, kind: Any, count: int, order: str) -> np.ndarray:
    if not isinstance(kind, _Storage) or len(data) < count * _item_size(kind):
        raise WeightsError(
            "A storage must hold the tensor values that it states. "
            f"Received: {len(data)} bytes for {count} values."
        )
    sign: Literal["<", ">"] = "<" if order == "little" else ">"
    if kind.dtype == "bfloat16":
        upper = np.frombuffer(data, sign + "u2", count).astype("uint32") << 16
        return upper.view("float32")
    array = np.frombuffer(data, np.dtype(kind.dtype).newbyteorder(sign), count)
    return array.astype(kind.dtype)


def _rebuild_tensor(
    storage: Any, offset: int, size: tuple, stride: tuple, *_: Any
) -> Any:
    if isinstance(storage, _Lazy):
        return _View(storage, offset, size, stride)
    return _strided(storage, offset, size, stride)


def _strided(storage: Any, offset: int, size: tuple, stride: tuple) -> np.ndarray:
    """The tensor inside its storage, refused where it would reach outside."""
    whole = [offset, *size, *stride]
    valid = isinstance(storage, np.ndarray) and len(size) == len(stride)
    if not valid or any(not isinstance(n, int) or n < 0 for n in whole):
        raise WeightsError(f"A tensor must have whole sizes. Received: {whole}.")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(storage):
        raise WeightsError(
            "A tensor must lie inside its storage. Received: values up to "
            f"{last} of {len(storage)}."
        )
    steps = [step * storage.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(storage[offset:], size, steps)
    return view.copy()


_NAMES = Names(
    values={("torch", name): _Storage(dtype) for name, dtype in STORAGES.items()},
    functions={
        ("collections", "OrderedDict"): lambda items=(): dict(items),
        ("torch", "Size"): tuple,
        ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    },
)
"""The few names that a checkpoint of tensors needs, and what they stand for here."""
