"""Models as one function of batches: compiled once, over members and views."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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


class Member(NamedTuple):
    """A model, and what scales its input.

    Attributes:
        model: Any Keras model from (batch, y, x, band) to logits or values.
        normalize: Function of an image (batch, y, x, band) in source units and its
            validity (batch, y, x) to float32; each fold has a scaling of its own.
    """

    model: keras.Model
    normalize: Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.float32]]


Forward = Callable[[NDArray[Any], NDArray[np.bool_]], Heads]


def spread_of(head: str) -> str:
    """Key of the members' disagreement about a head."""
    return f"{head}/spread"


def build_forward(
    members: Sequence[Member],
    tasks: dict[str, str],
    *,
    tta: str = "none",
    batch_size: int = 8,
    jit_compile: bool | None = None,
    spread: bool = False,
) -> Forward:
    """Returns a function from source pixels to probabilities or values.

    The caller's models keep their own compile settings: twins that share their weights
    are compiled here. Short batches are filled up, so that one shape is compiled.

    Args:
        members: Models whose answers are averaged, of the same heads.
        tasks: Name -> task of every head; softmax is applied to segmentations.
        tta: ``"none"``, ``"hflip"`` or ``"d4"``: views whose results are averaged.
        batch_size: Images in one call of a model.
        jit_compile: Whether XLA compiles the twins; ``None``: where it helps.
        spread: Whether to give, under ``spread_of(head)``, also how far members and
            views disagree: about classes the mutual information of class and member
            (1 channel, over its maximum, 0-1; Depeweg et al. 2018, arXiv:1710.07283),
            about values their variance.

    Returns:
        Function of (n, y, x, band) and (n, y, x), n <= batch_size, to a dict of float32
        (n, y, x, class) by head name.

    Raises:
        ValueError: Unknown ``tta``.
    """
    if tta not in TTA:
        raise ValueError(f"`tta` must be one of {sorted(TTA)}. Received: tta={tta!r}.")
    views = TTA[tta]
    share = np.float32(len(views) * len(members))
    answers = [_compiled(member.model, tasks, jit_compile) for member in members]

    def forward(image: NDArray[Any], valid: NDArray[np.bool_]) -> Heads:
        total: dict[str, NDArray[Any]] = {}
        for member, answer in zip(members, answers, strict=True):
            filled = _filled(member.normalize(image, valid), batch_size)
            for turns, flip in views:
                heads = answer(_turn(filled, turns, flip))
                if spread:
                    heads |= _moments(heads, tasks)
                for name, value in heads.items():
                    back = _turn_back(value, turns, flip)[: len(image)] / share
                    total[name] = total[name] + back if name in total else back
        return total | (_spreads(total, tasks) if spread else {})

    return forward


def _compiled(
    model: keras.Model, tasks: dict[str, str], jit_compile: bool | None
) -> Callable[[NDArray[np.float32]], Heads]:
    twin = keras.Model(model.inputs, model.output)
    twin.compile(jit_compile=xla_helps() if jit_compile is None else jit_compile)

    def answer(batch: NDArray[np.float32]) -> Heads:
        outputs = twin.predict_on_batch(np.ascontiguousarray(batch))
        if not isinstance(outputs, dict):
            outputs = {next(iter(tasks)): outputs}
        return {
            name: softmax(value) if tasks[name] == "segmentation" else value
            for name, value in outputs.items()
        }

    return answer


def _filled(images: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
    if len(images) == batch_size:
        return images
    fill = np.zeros((batch_size - len(images), *images.shape[1:]), images.dtype)
    return np.concatenate([images, fill])


def _moments(heads: Heads, tasks: dict[str, str]) -> Heads:
    """What is averaged over members beside their answers: entropies, squares."""
    return {
        spread_of(name): entropy(values)[..., None]
        if tasks[name] == "segmentation"
        else np.square(values, dtype=np.float32)
        for name, values in heads.items()
    }


def _spreads(mean: Heads, tasks: dict[str, str]) -> Heads:
    """The disagreement, from mean answers and mean moments."""
    spreads = {}
    for name, task in tasks.items():
        values, moment = mean[name], mean[spread_of(name)]
        if task == "segmentation":
            told = entropy(values)[..., None] - moment
            told /= np.float32(np.log(max(values.shape[-1], 2)))
        else:
            told = moment - np.square(values)
        spreads[spread_of(name)] = np.maximum(told, 0)
    return spreads


def entropy(prob: NDArray[Any]) -> NDArray[np.float32]:
    """Shannon entropy along the last axis, in nat."""
    prob = np.clip(prob, 1e-12, 1)
    return -(prob * np.log(prob)).sum(axis=-1, dtype=np.float32)


def softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities along the last axis, stable for any logits."""
    logits = np.asarray(logits, np.float32)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
