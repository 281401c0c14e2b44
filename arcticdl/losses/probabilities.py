"""Probabilities where logits are expected: told apart, and turned into one another.

A softmax is nearly flat where its input lies in 0-1: a network that ends in one, given
to a loss that takes another, learns slowly towards the wrong thing and says nothing.
"""

from typing import Any

import keras
from keras import ops

# How far the sum of probabilities may be from 1, by their type.
_TOLERANCES = {"float32": 1e-4, "float64": 1e-4}
_HALF_TOLERANCE = 1e-2
# Fewer pixels could be logits whose sum is 1 by chance.
_LEAST_PIXELS = 16
_ENDS = ("softmax", "sigmoid", "hard_sigmoid")
# Layers and operations behind which probabilities are still such.
_PASSES_ON = (
    "Activation",
    "Card",
    "Cast",
    "Cropping2D",
    "CropLike",
    "Dropout",
    "Flatten",
    "Identity",
    "Permute",
    "Reshape",
    "ResizeLike",
    "Resizing",
    "UpSampling2D",
    "UpsampleBilinear",
    "UpsampleNearest",
)


def ends_in_probabilities(model: keras.Model) -> dict[str, str]:
    """Tells which outputs of a network are probabilities already, by their last layer.

    Args:
        model: A functional or sequential model. Of one that is written as a class, and
            of outputs behind layers that may compute anything, nothing is known.

    Returns:
        Output name -> activation, ``"softmax"``, ``"sigmoid"`` or ``"hard_sigmoid"``.
        Empty where every output ends otherwise.

    Example:
        >>> dense = keras.layers.Dense(3, activation="softmax")
        >>> model = keras.Sequential([keras.Input((4,)), dense])
        >>> list(ends_in_probabilities(model).values())
        ['softmax']
    """
    model = _as_graph(model)
    if not hasattr(model, "operations"):
        return {}
    names = list(model.output_names)
    found = {
        n: _activation(model, t) for n, t in zip(names, model.outputs, strict=True)
    }
    return {name: activation for name, activation in found.items() if activation}


def have_probabilities(y_pred: Any, scored: Any) -> Any:
    """Tells whether predictions of exclusive classes are probabilities, not logits.

    Args:
        y_pred: Predictions ``(batch, ..., class)`` as the network gave them.
        scored: ``(batch, ..., 1)``, above 0 where a pixel counts.

    Returns:
        A bool scalar, in a graph as well: whether at least 16 pixels count, none is
        below 0, each one's sum is 1, and they are not all the same. Logits do not keep
        to this by chance; ``False`` where that cannot be told.
    """
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    wide, here = ops.cast(y_pred, "float32"), scored[..., 0] > 0.0
    off = ops.abs(ops.sum(wide, axis=-1) - 1.0)
    fits = off < _TOLERANCES.get(dtype, _HALF_TOLERANCE)  # false for NaN
    fits = ops.logical_and(fits, ops.min(wide, axis=-1) >= 0.0)
    fits = ops.all(ops.logical_or(fits, ops.logical_not(here)))
    first = wide[..., 0]
    spread = ops.max(ops.where(here, first, 0.0)) - ops.min(ops.where(here, first, 1.0))
    enough = ops.sum(ops.cast(here, "float32")) >= _LEAST_PIXELS
    return ops.logical_and(fits, ops.logical_and(enough, spread > 1e-3))


def nan_if_probabilities(y_pred: Any, scored: Any) -> Any:
    """Returns 1, or NaN where predictions of exclusive classes are no logits.

    Args:
        y_pred: Predictions ``(batch, ..., class)`` as the network gave them.
        scored: ``(batch, ..., 1)``, above 0 where scored.

    Returns:
        A float32 scalar; see `have_probabilities` for the rule.

    Raises:
        ValueError: They are no logits, and values can be seen (outside of a graph).
    """
    wrong = have_probabilities(y_pred, scored)
    if _seen(wrong):
        raise ValueError(
            "`y_pred` must be logits, before the softmax. Received: probabilities, "
            "whose sum over classes is 1 at every pixel. Take the network's last "
            "activation away, or give the loss from_logits=False."
        )
    return ops.where(wrong, float("nan"), 1.0)


def nan_unless_probabilities(y_pred: Any, exclusive: bool) -> Any:
    """Returns 1, or NaN where predictions cannot be probabilities.

    Args:
        y_pred: float32 ``(batch, ..., class)``, anything valid where not scored.
        exclusive: Whether they must add up to 1.

    Raises:
        ValueError: They are none, and values can be seen (outside of a graph).
    """
    wrong = ops.logical_or(ops.min(y_pred) < -0.05, ops.max(y_pred) > 1.05)
    if exclusive:
        off = ops.max(ops.abs(ops.sum(y_pred, axis=-1) - 1.0))
        wrong = ops.logical_or(wrong, off > 0.05)
    if _seen(wrong):
        raise ValueError(
            "With from_logits=False `y_pred` must be probabilities in 0-1"
            + (", with a sum of 1 over classes. " if exclusive else ". ")
            + "Received: other numbers. Give logits to from_logits=True."
        )
    return ops.where(wrong, float("nan"), 1.0)


def to_logits(prob: Any, exclusive: bool) -> Any:
    """Returns logits of probabilities; values within 1e-7 of 0 and 1 are held there.

    Args:
        prob: float32 ``(batch, ..., class)`` in 0-1.
        exclusive: Whether a softmax gives them back, or a sigmoid of each.
    """
    prob = ops.clip(prob, 1e-7, 1.0 - 1e-7)
    return ops.log(prob) if exclusive else ops.log(prob) - ops.log1p(-prob)


def _seen(wrong: Any) -> bool:
    """Whether a condition holds and is more than a symbol of a graph."""
    try:
        return bool(ops.convert_to_numpy(wrong))
    except Exception:  # every backend has an error of its own for symbols
        return False


def _as_graph(model: Any) -> Any:
    """A sequential model with its layers as operations, as a functional one has."""
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs)
    return model


def _activation(model: Any, tensor: Any) -> str | None:
    """The activation that a tensor comes from, past layers that only pass it on."""
    makers: dict[int, Any] = {}
    for operation in model.operations:
        try:
            outputs = keras.tree.flatten(operation.output)
        except (AttributeError, ValueError):  # called several times
            continue
        if not isinstance(operation, keras.Model):
            makers |= {id(out): operation for out in outputs}
    while id(tensor) in makers:
        operation = makers[id(tensor)]
        name = _name_of(operation)
        if name is not None or type(operation).__name__ not in _PASSES_ON:
            return name
        tensor = keras.tree.flatten(operation.input)[0]
    # A model called as a layer keeps the outputs of its own, not those of the call.
    last = model.operations[-1]
    if isinstance(last, keras.Model) and len(last.outputs) == 1:
        last = _as_graph(last)
        return _activation(last, last.outputs[0])
    return None


def _name_of(operation: Any) -> str | None:
    """Softmax and its kin, as a layer, an operation or a layer's activation."""
    kind = {"Softmax": "softmax", "Sigmoid": "sigmoid", "HardSigmoid": "hard_sigmoid"}
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", kind.get(type(operation).__name__))
    return name if name in _ENDS else None
