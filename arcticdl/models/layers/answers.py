"""Last layers that make an answer keep its own rule: ordered, rising, positive."""

import math
from collections.abc import Sequence
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
    """Makes the last axis rise: one value, and from it positive steps by softplus.

    Args:
        middle: Number of the channel that is taken as it is; the others lie below and
            above it, so that it is learnt for itself, whatever their distance.
        **kwargs: Keras layer arguments.
    """

    def __init__(self, middle: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.middle = middle

    def call(self, x: Any) -> Any:
        here = self.middle
        value = x[..., here : here + 1]
        up = value + ops.cumsum(ops.softplus(x[..., here + 1 :]), axis=-1)
        if not here:
            return ops.concatenate([value, up], axis=-1)
        down = ops.cumsum(ops.softplus(ops.flip(x[..., :here], -1)), axis=-1)
        return ops.concatenate([value - ops.flip(down, -1), value, up], axis=-1)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "middle": self.middle}


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


@keras.saving.register_keras_serializable(package="arcticdl")
class StartFrom(keras.layers.Layer):
    """Adds bands of the image to an answer, as a forecast that is to be mended.

    In training the sum is left as it is, so that it has a gradient beyond the limits;
    else it lies within them.

    Args:
        index: Number of the band; or one for each value of the answer, and so are the
            three that follow.
        offset: What its scaling has taken off.
        scale: By what its scaling has divided.
        gain: By what corrections are multiplied, so that the first steps of an
            optimiser, which do not know how good the band is, leave it about as it is.
        limits: Least and greatest value.
        num_values: Channels that get the band; the others, such as logarithms of
            variances, are left as they are. ``None``: all.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[x, image]``: corrections ``(batch, y, x, channel)`` and the image
            ``(batch, y, x, band)``.
    """

    def __init__(
        self,
        index: int | Sequence[int],
        offset: float | Sequence[float] = 0.0,
        scale: float | Sequence[float] = 1.0,
        limits: Sequence[float] = (-math.inf, math.inf),
        gain: float | Sequence[float] = 0.1,
        num_values: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.index, self.offset, self.scale = index, offset, scale
        self.limits, self.gain, self.num_values = tuple(limits), gain, num_values

    def call(self, inputs: list[Any], training: bool | None = None) -> Any:
        x, image = inputs
        places = [self.index] if isinstance(self.index, int) else self.index
        bands = [image[..., place : place + 1] for place in places]
        band = bands[0] if len(bands) == 1 else ops.concatenate(bands, axis=-1)
        count = x.shape[-1] if self.num_values is None else self.num_values
        gain, scale, offset = (
            ops.convert_to_tensor(v, x.dtype)
            for v in (self.gain, self.scale, self.offset)
        )
        answer = gain * x[..., :count] + ops.cast(band, x.dtype) * scale + offset
        answer = answer if training else ops.clip(answer, *self.limits)
        rest = x[..., count:]
        return ops.concatenate([answer, rest], -1) if rest.shape[-1] else answer

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        own: dict[str, Any] = {
            "index": self.index,
            "offset": self.offset,
            "scale": self.scale,
        }
        own |= {"gain": self.gain, "num_values": self.num_values}
        return {**super().get_config(), **own, "limits": list(self.limits)}
