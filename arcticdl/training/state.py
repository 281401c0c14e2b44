"""What the next step of a training depends on, as arrays in one file."""

import json
import random
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from arcticdl.errors import DivergedError
from arcticdl.files import atomic_path

DAMAGED = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
"""What reading a file raises whose content is not what was written."""
COUNTERS = (
    "best",
    "best_epoch",
    "best_weights",
    "cooldown_counter",
    "stopped_epoch",
    "wait",
)
"""What Keras's own callbacks count with."""


def write_arrays(
    path: Path, arrays: dict[str, np.ndarray], state: dict[str, Any]
) -> None:
    """Writes a checkpoint whole or not at all, and reads it back before it counts.

    Args:
        path: The file; its folder is made.
        arrays: Name -> array.
        state: What JSON can hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = np.frombuffer(json.dumps(state).encode("utf-8"), np.uint8)
    plain = {name: _as_plain(array) for name, array in arrays.items()}
    with atomic_path(path) as part:
        np.savez(part, allow_pickle=False, state=text, **plain)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads a checkpoint whole; its checksums are compared on the way.

    Raises:
        DAMAGED: It is not what was written.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(bytes(arrays.pop("state")).decode("utf-8"))


def see_batch(model: keras.Model, feed: keras.utils.PyDataset) -> None:
    """Lets a model test itself on one batch, after which it knows what it logs.

    Keras builds metrics with the first batch. Weights stay as they are.
    """
    batch = feed[0]
    model.test_on_batch(*(batch if isinstance(batch, tuple) else (batch,)))
    model.reset_metrics()


def check_finite(model: keras.Model) -> None:
    """Refuses to keep weights that are not numbers.

    Raises:
        DivergedError: A trainable weight is NaN or infinite.
    """
    for variable in model.trainable_variables:
        values = keras.ops.convert_to_numpy(variable)
        if not np.isfinite(values.astype("float32", copy=False)).all():
            raise DivergedError(
                f"The weights {variable.path!r} are no finite numbers any more. Train "
                "again with a lower learning rate, or with clipped gradients."
            )


def groups(model: keras.Model) -> dict[str, list[Any]]:
    """Variables that the next step depends on, random seeds of layers among them."""
    return {
        "model": list(model.variables),
        "optimizer": list(model.optimizer.variables),
    }


def values_of(variables: Sequence[Any]) -> list[np.ndarray]:
    """Copies of the values of variables."""
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def numbered(arrays: dict[str, Any], name: str) -> list[Any]:
    """The arrays ``name.0``, ``name.1`` and so on."""
    found: list[Any] = []
    while f"{name}.{len(found)}" in arrays:
        found.append(arrays[f"{name}.{len(found)}"])
    return found


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Gives variables the values that `values_of` took.

    Raises:
        ValueError: There are more or fewer of them, or of other shapes.
    """
    have, want = [v.shape for v in values], [tuple(v.shape) for v in variables]
    if have != want:
        raise ValueError(
            "A checkpoint must be of the model, optimiser and metrics in training. "
            f"Received: {len(have)} arrays for {len(want)} variables, or other shapes. "
            "Train this fold again with --overwrite."
        )
    for variable, value in zip(variables, values, strict=True):
        dtype = keras.ops.convert_to_numpy(variable).dtype
        variable.assign(value.view(dtype) if value.dtype.kind == "V" else value)


def _as_plain(array: np.ndarray) -> np.ndarray:
    """A type that NumPy itself can read again: bfloat16 becomes plain bytes."""
    array = np.asarray(array)
    return array if array.dtype.isbuiltin == 1 else array.view(f"V{array.itemsize}")


def get_state(callback: Any, place: int) -> dict[str, np.ndarray]:
    """The state of a callback as arrays; what is ``None`` is left out."""
    if hasattr(callback, "get_state"):
        state = callback.get_state()
    else:
        state = {n: getattr(callback, n) for n in COUNTERS if hasattr(callback, n)}
    arrays: dict[str, np.ndarray] = {}
    for name, value in state.items():
        if isinstance(value, list | tuple):
            parts = {f"{name}.{i}": part for i, part in enumerate(value)}
        else:
            parts = {} if value is None else {name: value}
        arrays |= {f"callback{place}.{k}": np.asarray(v) for k, v in parts.items()}
    return arrays


def set_state(callback: Any, place: int, arrays: dict[str, np.ndarray]) -> None:
    """Gives a callback the state that `get_state` took."""
    prefix = f"callback{place}."
    found: dict[str, Any] = {
        key.removeprefix(prefix): value.item() if value.ndim == 0 else value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }
    if hasattr(callback, "set_state"):
        callback.set_state(found)
        return
    for name in COUNTERS:
        if hasattr(callback, name):
            several = numbered(found, name)
            setattr(callback, name, several or found.get(name))


def get_random() -> dict[str, Any]:
    """The states of Python's and NumPy's global generators, as JSON can hold them."""
    legacy: Any = np.random.get_state(legacy=False)  # noqa: NPY002  others draw from it
    legacy["state"]["key"] = legacy["state"]["key"].tolist()
    return {"python": random.getstate(), "numpy": legacy}


def set_random(state: dict[str, Any]) -> None:
    """Sets both generators back."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    numpy = state["numpy"]
    numpy["state"]["key"] = np.array(numpy["state"]["key"], np.uint32)
    np.random.set_state(numpy)  # noqa: NPY002
