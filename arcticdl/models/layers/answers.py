"""Last layers that make an answer keep its own rule: ordered, rising, positive."""

from typing import Any

import keras
from keras import ops

from arcticdl.models.layers.shapes import Shape

LOG_VARIANCE_RANGE = (-10.0, 10.0)
"""Bounds of the logarithm of a variance, so that a likelihood stays finite."""


@keras.saving.register_keras_serializable(package="arcticdl")
class OrderedThresholds(keras.layers.Layer):
    """Turns one score into logits of "the class is above k", k = 0 .. K - 2.

    ``logit_k = score - t_k`` with rising thresholds ``t``, so the probabilities of
    the classes, their differences, are never negative.

    Args:
        num_classes: K, the number of ordered classes.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Scores ``(..., 1)``; the result is ``(..., K - 1)``.

    Reference:
        McCullagh 1980, doi:10.1111/j.2517-6161.1980.tb01109.x (proportional odds);
        Cao et al. 2020, doi:10.1016/j.patrec.2020.11.008 (rank consistency).
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def build(self, shape: Shape) -> None:
        # softplus(0.5414) = 1: the first thresholds are one unit apart, about zero.
        self.first = self.add_weight(
            shape=(1,),
            initializer=keras.initializers.Constant(1.0 - self.num_classes / 2.0),
            name="first",
        )
        self.gaps = self.add_weight(
            shape=(self.num_classes - 2,),
            initializer=keras.initializers.Constant(0.541325),
            name="gaps",
        )

    def call(self, x: Any) -> Any:
        steps = ops.cumsum(ops.softplus(self.gaps))
        thresholds = ops.concatenate([self.first, self.first + steps])
        return x - thresholds

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.num_classes - 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable(package="arcticdl")
class Increasing(keras.layers.Layer):
    """Makes the last axis rise: the first value, then positive steps by softplus."""

    def call(self, x: Any) -> Any:
        steps = ops.cumsum(ops.softplus(x[..., 1:]), axis=-1)
        return ops.concatenate([x[..., :1], x[..., :1] + steps], axis=-1)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape


@keras.saving.register_keras_serializable(package="arcticdl")
class Variance(keras.layers.Layer):
    """Bounds the second half of the last axis, logarithms of variances.

    Args:
        num_outputs: Number of means; as many log-variances follow them.
        **kwargs: Keras layer arguments.
    """

    def __init__(self, num_outputs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_outputs = num_outputs

    def call(self, x: Any) -> Any:
        n = self.num_outputs
        bounded = ops.clip(x[..., n:], *LOG_VARIANCE_RANGE)
        return ops.concatenate([x[..., :n], bounded], axis=-1)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_outputs": self.num_outputs}
