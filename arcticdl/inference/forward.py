"""A model as a function of batches: compiled once, with test-time augmentation."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Heads = dict[str, NDArray[np.float32]]

TTA = {
    "none": ((0, False),),
    "hflip": ((0, False), (0, True)),
    "d4": tuple((turns, flip) for turns in range(4) for flip in (False, True)),
}
"""Name -> (quarter turns, flip along x) of the views that are averaged."""


def head_tasks(model: keras.Model, card: dict[str, Any] | None) -> dict[str, str]:
    """Name -> task of every head; without a card every head is a segmentation."""
    if card and card.get("heads"):
        return {name: head["task"] for name, head in card["heads"].items()}
    outputs = model.output
    names = outputs if isinstance(outputs, dict) else {"segmentation": outputs}
    return dict.fromkeys(names, "segmentation")


def xla_helps() -> bool:
    """Whether XLA is worth its compile time here: always on JAX, else on accelerators.

    On processors TensorFlow's own kernels are as fast for convolutions, and a compiled
    program is bound to one shape.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def head_channels(model: keras.Model, tasks: dict[str, str]) -> dict[str, int]:
    """Name -> number of channels of every head."""
    outputs = model.output
    if not isinstance(outputs, dict):
        outputs = {next(iter(tasks)): outputs}
    return {name: int(tensor.shape[-1]) for name, tensor in outputs.items()}


def _turn(array: NDArray[Any], turns: int, flip: bool) -> NDArray[Any]:
    turned = np.rot90(array, turns, axes=(1, 2))
    return turned[:, :, ::-1] if flip else turned


def _turn_back(array: NDArray[Any], turns: int, flip: bool) -> NDArray[Any]:
    return np.rot90(array[:, :, ::-1] if flip else array, -turns, axes=(1, 2))


def build_forward(
    model: keras.Model,
    tasks: dict[str, str],
    *,
    tta: str = "none",
    batch_size: int = 8,
    jit_compile: bool | None = None,
) -> Callable[[NDArray[np.float32]], Heads]:
    """Returns a function from normalised batches to probabilities or values.

    The caller's model keeps its own compile settings: a twin that shares its weights
    is compiled here. Short batches are filled up, so that one shape is compiled.

    Args:
        model: Any Keras model from (batch, y, x, band) to logits or values.
        tasks: Name -> task of every head; softmax is applied to segmentations.
        tta: ``"none"``, ``"hflip"`` or ``"d4"``: views whose results are averaged.
        batch_size: Images in one call of the model.
        jit_compile: Whether XLA compiles the twin; ``None``: where it helps.

    Returns:
        Function of float32 (n, y, x, band), n <= batch_size, to a dict of float32
        (n, y, x, class) by head name.

    Raises:
        ValueError: Unknown ``tta``.
    """
    if tta not in TTA:
        raise ValueError(f"`tta` must be one of {sorted(TTA)}. Received: tta={tta!r}.")
    twin = keras.Model(model.inputs, model.output)
    twin.compile(jit_compile=xla_helps() if jit_compile is None else jit_compile)

    def once(batch: NDArray[np.float32]) -> Heads:
        outputs = twin.predict_on_batch(np.ascontiguousarray(batch))
        if not isinstance(outputs, dict):
            outputs = {next(iter(tasks)): outputs}
        return {
            name: softmax(value) if tasks[name] == "segmentation" else value
            for name, value in outputs.items()
        }

    def forward(images: NDArray[np.float32]) -> Heads:
        num = len(images)
        if num < batch_size:
            fill = np.zeros((batch_size - num, *images.shape[1:]), images.dtype)
            images = np.concatenate([images, fill])
        views = TTA[tta]
        total: dict[str, NDArray[Any]] = {}
        for turns, flip in views:
            for name, value in once(_turn(images, turns, flip)).items():
                back = _turn_back(value, turns, flip)[:num] / np.float32(len(views))
                total[name] = total[name] + back if name in total else back
        return total

    return forward


def softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities along the last axis, stable for any logits."""
    logits = np.asarray(logits, np.float32)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
