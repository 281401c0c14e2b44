"""Any input size: pad to the network's stride, crop the result back."""

from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


def lacking_px(size: Any, step: int) -> Any:
    """Returns the pixels that a size lacks to a multiple of a step.

    Without the modulus of a negative number, which converters to ONNX round towards
    zero.

    Args:
        size: Size in pixels, an integer or a scalar tensor.
        step: Step in pixels, at least 1.

    Returns:
        A number in ``[0, step)``, of the kind of ``size``.

    Example:
        >>> lacking_px(33, 32), lacking_px(64, 32)
        (31, 0)
    """
    return (step - size % step) % step


def pad_to_multiple(x: Any, step: int) -> Any:
    """Pads a map with zeros, below and right, to a multiple of a step.

    Args:
        x: Float tensor ``(batch, y, x, channel)``, sizes perhaps unknown until run
            time.
        step: Step in pixels, at least 1.

    Returns:
        Tensor whose height and width are multiples of ``step``; ``x`` itself where they
        are so already.

    Example:
        >>> import numpy as np
        >>> tuple(pad_to_multiple(np.ones((1, 5, 8, 2), "float32"), 4).shape)
        (1, 8, 8, 2)
    """
    shape = ops.shape(x)
    extra_y, extra_x = lacking_px(shape[1], step), lacking_px(shape[2], step)
    if isinstance(extra_y, int) and isinstance(extra_x, int) and not extra_y + extra_x:
        return x
    return ops.pad(x, [[0, 0], [0, extra_y], [0, extra_x], [0, 0]])


@keras.saving.register_keras_serializable(package="arcticdl")
class PadToStride(keras.layers.Layer):
    """Pads an image at its lower and right edge to a multiple of a stride.

    The padding is zero: the value that the feed gives to invalid pixels, so a network
    meets there what it has learnt to ignore. An image that already fits is returned
    as it is.

    Args:
        stride: Height and width of the output are multiples of this many pixels.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Tensor ``(batch, y, x, band)``, sizes may be unknown until run time.
    """

    def __init__(self, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if stride < 1:
            raise ValueError(
                f"`stride` must be a positive integer. Received: stride={stride}."
            )
        self.stride = stride

    def call(self, x: Any) -> Any:
        return pad_to_multiple(x, self.stride)

    def compute_output_shape(self, shape: Shape) -> Shape:
        batch, height, width, bands = shape
        return (batch, self._round_up(height), self._round_up(width), bands)

    def _round_up(self, size: int | None) -> int | None:
        return None if size is None else size + lacking_px(size, self.stride)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable(package="arcticdl")
class CropLike(keras.layers.Layer):
    """Crops a map at its lower and right edge to the size of another.

    Call arguments:
        inputs: ``[x, reference]``: tensor ``(batch, y, x, channel)`` at least as large
            as the reference, and the tensor whose height and width it shall have.
    """

    def call(self, inputs: list[Any]) -> Any:
        x, reference = inputs
        shape = ops.shape(reference)
        if (
            tuple(x.shape[1:3]) == tuple(reference.shape[1:3])
            and None not in x.shape[1:3]
        ):
            return x
        return x[:, : shape[1], : shape[2], :]

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        (batch, _, _, channels), reference = shapes
        return (batch, reference[1], reference[2], channels)
