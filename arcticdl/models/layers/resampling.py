"""Resampling of feature maps whose size may be unknown until run time.

Bilinear enlargement and adaptive pooling act on each axis by itself, so each is a
product with one small matrix an axis. That needs no gather, has a fast gradient, and
the matrix can be made from sizes that only the run tells.
"""

from typing import Any

import keras
from keras import ops

from arcticdl.models.layers.shapes import Shape


def bilinear_matrix(size: Any, target_size: Any, align_corners: bool) -> Any:
    """Returns the weights of linear interpolation along one axis.

    Args:
        size: Input length in pixels, an integer or a scalar tensor.
        target_size: Output length, likewise.
        align_corners: ``True`` puts the first and last output on the first and last
            input; ``False`` aligns the outer edges of the pixels.

    Returns:
        float32 tensor ``(target_size, size)`` whose rows sum to 1.

    Example:
        >>> ops.convert_to_numpy(bilinear_matrix(2, 3, align_corners=True)).tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    target = ops.cast(ops.arange(target_size), "float32")
    length, target_length = ops.cast(size, "float32"), ops.cast(target_size, "float32")
    # Where each output pixel lies on the input's pixels, whose centres are 0, 1, ...
    if align_corners:
        # A single output pixel lies on the first one: 0 / 1 instead of 0 / 0.
        position = target * ((length - 1.0) / ops.maximum(target_length - 1.0, 1.0))
    else:
        # Centres are half a pixel inside the edges; beyond the outermost ones the edge
        # pixel is repeated, as PyTorch and Keras do.
        position = (target + 0.5) * (length / target_length) - 0.5
        position = ops.minimum(ops.maximum(position, 0.0), length - 1.0)
    # Linear interpolation is a tent one pixel wide on each side: two weights a row.
    source = ops.cast(ops.arange(size), "float32")
    return ops.maximum(1.0 - ops.abs(position[:, None] - source[None, :]), 0.0)


def pooling_matrix(size: Any, bins: int) -> Any:
    """Returns the weights of adaptive mean pooling along one axis.

    Bin i covers the pixels from ``floor(i * size / bins)`` up to, not including,
    ``ceil((i + 1) * size / bins)``, as ``torch.nn.AdaptiveAvgPool2d`` divides them:
    bins may share a pixel, and none is empty.

    Args:
        size: Input length in pixels, an integer or a scalar tensor.
        bins: Number of bins.

    Returns:
        float32 tensor ``(bins, size)`` whose rows sum to 1.

    Example:
        >>> ops.convert_to_numpy(pooling_matrix(3, 2)).tolist()
        [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    index = ops.arange(bins)
    start = (index * size) // bins
    stop = ((index + 1) * size + bins - 1) // bins
    pixel = ops.arange(size)[None, :]
    inside = ops.logical_and(pixel >= start[:, None], pixel < stop[:, None])
    inside = ops.cast(inside, "float32")
    return inside / ops.sum(inside, axis=1, keepdims=True)


def apply_matrices(x: Any, rows: Any, columns: Any) -> Any:
    """Applies one matrix along y and one along x of a feature map.

    In float32 whatever the dtype of ``x``, to which the result is cast back: weights in
    half precision would shift the map.

    Args:
        x: Float tensor ``(batch, y, x, channel)``.
        rows: float32 matrix ``(new y, y)``.
        columns: float32 matrix ``(new x, x)``.

    Returns:
        Tensor ``(batch, new y, new x, channel)`` in the dtype of ``x``.

    Example:
        >>> mean = pooling_matrix(2, 1)
        >>> x = ops.reshape([1.0, 2.0, 3.0, 6.0], (1, 2, 2, 1))
        >>> ops.convert_to_numpy(apply_matrices(x, mean, mean)).ravel().tolist()
        [3.0]
    """
    dtype = x.dtype
    x = ops.einsum("iy,byxc->bixc", rows, ops.cast(x, "float32"))
    return ops.cast(ops.einsum("jx,bixc->bijc", columns, x), dtype)


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
        _, height, width, _ = ops.shape(x)
        return apply_matrices(
            x,
            bilinear_matrix(height, height * self.factor, self.align_corners),
            bilinear_matrix(width, width * self.factor, self.align_corners),
        )

    def compute_output_shape(self, shape: Shape) -> Shape:
        return _scaled(shape, self.factor)

    def get_config(self) -> dict[str, Any]:
        config = {"factor": self.factor, "align_corners": self.align_corners}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="arcticdl")
class ResizeLike(keras.layers.Layer):
    """Resizes a feature map bilinearly to the height and width of another.

    Args:
        align_corners: As in ``UpsampleBilinear``.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[x, reference]``, two tensors ``(batch, y, x, channel)``.
    """

    def __init__(self, align_corners: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.align_corners = align_corners

    def call(self, inputs: list[Any]) -> Any:
        x, reference = inputs
        size, target = ops.shape(x), ops.shape(reference)
        return apply_matrices(
            x,
            bilinear_matrix(size[1], target[1], self.align_corners),
            bilinear_matrix(size[2], target[2], self.align_corners),
        )

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        (batch, _, _, channels), reference = shapes
        return (batch, reference[1], reference[2], channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "align_corners": self.align_corners}


@keras.saving.register_keras_serializable(package="arcticdl")
class AdaptiveMeanPool(keras.layers.Layer):
    """Averages a feature map of any size over ``bins`` x ``bins`` areas.

    Args:
        bins: Height and width of the output in pixels.
        **kwargs: Keras layer arguments.
    """

    def __init__(self, bins: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, x: Any) -> Any:
        _, height, width, _ = ops.shape(x)
        rows = pooling_matrix(height, self.bins)
        return apply_matrices(x, rows, pooling_matrix(width, self.bins))

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (shape[0], self.bins, self.bins, shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins}


def _scaled(shape: Shape, factor: int) -> Shape:
    batch, height, width, channels = shape
    return (
        batch,
        None if height is None else height * factor,
        None if width is None else width * factor,
        channels,
    )
