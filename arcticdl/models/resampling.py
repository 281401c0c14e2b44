"""Resampling of feature maps whose size may be unknown until run time."""

from typing import Any

import keras
from keras import ops

from arcticdl.models.shapes import Shape


@keras.saving.register_keras_serializable(package="arcticdl")
class UpsampleNearest(keras.layers.Layer):
    """Repeats each pixel ``factor`` times along y and x.

    Equal to ``keras.layers.UpSampling2D`` with nearest interpolation, as one broadcast
    that XLA fuses with the layer after it.

    Args:
        factor: Whole number of repeats.
        **kwargs: Keras layer arguments.
    """

    def __init__(self, factor: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        batch, height, width, channels = ops.shape(x)
        n = self.factor
        x = ops.expand_dims(ops.expand_dims(x, 3), 2)
        x = ops.broadcast_to(x, (batch, height, n, width, n, channels))
        return ops.reshape(x, (batch, height * n, width * n, channels))

    def compute_output_shape(self, shape: Shape) -> Shape:
        return _scaled(shape, self.factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="arcticdl")
class UpsampleBilinear(keras.layers.Layer):
    """Enlarges a feature map by a whole factor with bilinear interpolation.

    Each axis is one product with a matrix of hat functions, which needs no gather, has
    a fast gradient and works for sizes known only at run time.

    Args:
        factor: Whole number.
        align_corners: ``True`` puts the first and last output pixels on the first and
            last input pixels, as ``torch.nn.UpsamplingBilinear2d`` does; ``False``
            keeps the pixel areas aligned, as ``keras.ops.image.resize`` does.
        **kwargs: Keras layer arguments.
    """

    def __init__(
        self, factor: int = 2, align_corners: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.align_corners = align_corners

    def call(self, x: Any) -> Any:
        shape = ops.shape(x)
        rows = self._matrix(shape[1], x.dtype)
        columns = self._matrix(shape[2], x.dtype)
        x = ops.einsum("iy,byxc->bixc", rows, x)
        return ops.einsum("jx,bixc->bijc", columns, x)

    def _matrix(self, size: Any, dtype: str) -> Any:
        target = ops.cast(ops.arange(size * self.factor), "float32")
        last = ops.cast(size - 1, "float32")
        if self.align_corners:
            steps = ops.cast(size * self.factor - 1, "float32")
            position = target * (last / ops.maximum(steps, 1.0))
        else:
            position = (target + 0.5) / self.factor - 0.5
            position = ops.minimum(ops.maximum(position, 0.0), last)
        source = ops.cast(ops.arange(size), "float32")
        distance = ops.abs(position[:, None] - source[None, :])
        return ops.cast(ops.maximum(1.0 - distance, 0.0), dtype)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return _scaled(shape, self.factor)

    def get_config(self) -> dict[str, Any]:
        config = {"factor": self.factor, "align_corners": self.align_corners}
        return {**super().get_config(), **config}


def _scaled(shape: Shape, factor: int) -> Shape:
    batch, height, width, channels = shape
    return (
        batch,
        None if height is None else height * factor,
        None if width is None else width * factor,
        channels,
    )
