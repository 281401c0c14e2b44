"""Loss and gradients of a batch, with nothing of the model changed."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from arcticdl.training.devices.placement import num_replicas


class Gradients:
    """Computes the training loss of a batch and its gradients, and changes nothing.

    The network computes as in training (statistics of the batch, dropout), but what it
    would write (moving statistics, random states, metrics) goes into a
    ``keras.StatelessScope`` that is thrown away. The derivative itself is the
    backend's: ``tf.GradientTape`` or ``jax.value_and_grad``.

    Args:
        model: A compiled model.
        compiled: Compile the computation, for many batches; ``False`` is quicker for
            one.

    Raises:
        ValueError: The backend is neither TensorFlow nor JAX.
    """

    def __init__(self, model: keras.Model, *, compiled: bool = False) -> None:
        backend = keras.backend.backend()
        if backend not in _DERIVATIVES:
            raise ValueError(
                f"The backend must be one of {sorted(_DERIVATIVES)} for gradients of a "
                f"batch. Received: KERAS_BACKEND={backend}."
            )
        self.model = model
        self._compute = _DERIVATIVES[backend](self._loss, compiled)

    def __call__(self, batch: tuple[Any, ...]) -> tuple[float, list[Any]]:
        """Computes both.

        Args:
            batch: ``(x, y)`` or ``(x, y, sample_weight)``, as a dataset yields it.

        Returns:
            The loss, and a gradient for each of ``model.trainable_variables``, as
            tensors of the backend; ``None`` for a variable that the loss does not see.
        """
        values = [variable.value for variable in self.model.trainable_variables]
        data = keras.tree.map_structure(keras.ops.convert_to_tensor, tuple(batch))
        loss, gradients = self._compute(values, data)
        return float(np.asarray(keras.ops.convert_to_numpy(loss))), list(gradients)

    def _loss(self, values: list[Any], batch: tuple[Any, ...]) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        pairs = list(zip(self.model.trainable_variables, values, strict=True))
        with keras.StatelessScope(state_mapping=pairs):
            y_pred = self.model(x, training=True)
            loss = self.model.compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
        # Of several replicas Keras gives each its share; here one sees the whole batch.
        count = num_replicas(self.model)
        return loss if count == 1 else loss * count


def _on_tensorflow(loss: Callable[..., Any], compiled: bool) -> Callable[..., Any]:
    import tensorflow as tf

    def compute(values: list[Any], batch: Any) -> tuple[Any, list[Any]]:
        values = [tf.convert_to_tensor(value) for value in values]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            found = loss(values, batch)
        gradients = tape.gradient(found, values)
        return found, [g if g is None else tf.convert_to_tensor(g) for g in gradients]

    return tf.function(compute, reduce_retracing=True) if compiled else compute


def _on_jax(loss: Callable[..., Any], compiled: bool) -> Callable[..., Any]:
    import jax

    compute = jax.value_and_grad(loss)
    return jax.jit(compute) if compiled else compute


_DERIVATIVES: dict[str, Callable[..., Any]] = {
    "jax": _on_jax,
    "tensorflow": _on_tensorflow,
}
