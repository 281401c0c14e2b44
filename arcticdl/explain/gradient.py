"""The one place that knows how each backend differentiates."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Graded = Callable[..., tuple[NDArray[np.float32], Any, NDArray[np.float32]]]


def differentiate(function: Callable[..., tuple[Any, Any]]) -> Graded:
    """The gradient of scores with respect to a function's first argument.

    ``keras.ops`` has no gradient, so this asks the backend.

    Args:
        function: From tensors ``(point, *others)`` to one score an image ``(n,)``, of
            which none depends on another image's point, and anything else to tell.
            Compiled once for each shape of its arguments.

    Returns:
        Function of the same arguments, as float32 arrays, to the scores, the rest and
        the gradient, of the point's shape.

    Raises:
        RuntimeError: The backend is neither TensorFlow nor JAX.

    Example:
        >>> graded = differentiate(lambda x, y: (keras.ops.sum(x * y, axis=1), x))
        >>> x = np.ones((1, 2), "float32")
        >>> graded(x, np.array([[2.0, 3.0]], "float32"))[2].tolist()
        [[2.0, 3.0]]
    """
    backend = keras.backend.backend()
    if backend not in _BACKENDS:
        raise RuntimeError(
            "Explanations by gradients need the backend tensorflow or jax: set "
            f"KERAS_BACKEND before the start. Received: {backend!r}; occlusion and "
            "activations work on any."
        )
    return _BACKENDS[backend](function)


def _by_tensorflow(function: Callable[..., tuple[Any, Any]]) -> Graded:
    import tensorflow as tf

    @tf.function
    def traced(point: Any, *others: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(point)
            scores, rest = function(point, *others)
        zero = tf.UnconnectedGradients.ZERO
        return scores, rest, tape.gradient(scores, point, unconnected_gradients=zero)

    def graded(*arrays: Any) -> Any:
        scores, rest, slope = traced(*map(tf.convert_to_tensor, arrays))
        return np.asarray(scores), rest, np.asarray(slope)

    return graded


def _by_jax(function: Callable[..., tuple[Any, Any]]) -> Graded:
    import jax

    def summed(point: Any, *others: Any) -> Any:
        scores, rest = function(point, *others)
        return scores.sum(), (scores, rest)

    traced = jax.jit(jax.value_and_grad(summed, has_aux=True))

    def graded(*arrays: Any) -> Any:
        (_, (scores, rest)), slope = traced(*arrays)
        return np.asarray(scores), rest, np.asarray(slope)

    return graded


_BACKENDS = {"jax": _by_jax, "tensorflow": _by_tensorflow}
