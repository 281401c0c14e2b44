"""Weight penalties and initial values for a whole model, whatever its layers."""

from typing import Any

import keras


def penalise_weights(model: keras.Model, l1: float = 0.0, l2: float = 0.0) -> None:
    """Adds ``l1 * sum|w| + l2 * sum w**2`` over all kernels to the model's loss.

    Biases and normalisation weights are left alone, as is usual. The penalty is part
    of the layers' configuration and survives saving.

    Args:
        model: Model, changed in place before it is compiled.
        l1: Factor of the absolute values, not negative.
        l2: Factor of the squares, not negative.

    Raises:
        ValueError: A negative factor.
    """
    if l1 < 0 or l2 < 0:
        raise ValueError(
            f"`l1` and `l2` must not be negative. Received: l1={l1}, l2={l2}."
        )
    if l1 == 0 and l2 == 0:
        return
    for layer in _kernel_layers(model):
        regularizer = keras.regularizers.L1L2(l1=l1, l2=l2)
        layer.kernel.regularizer = regularizer
        setattr(layer, _attribute(layer, "regularizer"), regularizer)


def initialise_weights(
    model: keras.Model, initializer: str | None, *, keep: keras.Model | None = None
) -> None:
    """Draws all kernels anew.

    Args:
        model: Model, changed in place.
        initializer: Keras initializer name, such as ``"he_normal"``; ``None`` leaves
            all as they are.
        keep: Part of the model that is left as it is.

    Raises:
        ValueError: Keras knows no such initializer.
    """
    if initializer is None:
        return
    try:
        keras.initializers.get(initializer)
    except ValueError as error:
        raise ValueError(
            "`initializer` must be a Keras initializer such as 'glorot_uniform', "
            f"'he_normal' or 'orthogonal'. Received: initializer={initializer!r}."
        ) from error
    kept = set() if keep is None else {id(layer) for layer in _kernel_layers(keep)}
    for layer in _kernel_layers(model):
        if id(layer) in kept:
            continue
        # One object a layer: a reused one would draw the same numbers again.
        draw = keras.initializers.get(initializer)
        layer.kernel.assign(draw(layer.kernel.shape, dtype=layer.kernel.dtype))
        setattr(layer, _attribute(layer, "initializer"), draw)


def _kernel_layers(model: keras.Model) -> list[Any]:
    return [
        layer
        for layer in model._flatten_layers(include_self=False, recursive=True)
        if getattr(layer, "kernel", None) is not None
    ]


def _attribute(layer: Any, what: str) -> str:
    prefix = "depthwise" if hasattr(layer, f"depthwise_{what}") else "kernel"
    return f"{prefix}_{what}"
