"""Self-attention inside the shifted windows of an image."""

from typing import Any

import keras
from keras import layers, ops

from arcticdl.models.layers.shapes import Shape, pad_to_multiple
from arcticdl.models.layers.windows import (
    from_windows,
    relative_position_index,
    shift_along,
    shift_mask,
    to_windows,
)

KERNEL = keras.initializers.TruncatedNormal(stddev=0.02)
"""Initial kernels of Swin, cloned for each layer."""


@keras.saving.register_keras_serializable(package="arcticdl")
class WindowAttention(layers.Layer):
    """Self-attention inside (shifted) windows of an image.

    The image is padded to whole windows and shifted cyclically; pixels that the shift
    alone made neighbours do not see each other. An axis that one window covers is not
    shifted.

    Args:
        num_heads: Attention heads; divides the channels.
        window_size: Side of a window in pixels.
        shift: Cyclic shift in pixels, 0 or half a window.
        dropout: Share of output features dropped.
        attention_dropout: Share of attention weights dropped.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Tensor ``(batch, y, x, channel)`` of any size.
    """

    def __init__(
        self,
        num_heads: int,
        window_size: int,
        shift: int = 0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.window_size, self.shift = num_heads, window_size, shift
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.drop_weights = layers.Dropout(attention_dropout, dtype=self.dtype_policy)
        self.drop_output = layers.Dropout(dropout, dtype=self.dtype_policy)
        self.index = relative_position_index(window_size)

    def build(self, shape: Shape) -> None:
        channels = int(shape[-1] or 0)
        self.head_width = channels // self.num_heads
        self._build_qkv(channels)
        self.projection = self._dense("projection", channels, channels)
        self._build_position()

    def _dense(
        self, name: str, units: int, inputs: int, use_bias: bool = True
    ) -> layers.Dense:
        dense = layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=KERNEL.clone(),
            dtype=self.dtype_policy,
            name=name,
        )
        dense.build((None, inputs))
        return dense

    def _build_qkv(self, channels: int) -> None:
        self.qkv = self._dense("qkv", 3 * channels, channels)

    def _build_position(self) -> None:
        rows = (2 * self.window_size - 1) ** 2
        self.position_bias = self.add_weight(
            shape=(rows, self.num_heads),
            initializer=KERNEL.clone(),
            name="position_bias",
        )

    def call(self, x: Any, training: bool | None = None) -> Any:
        _, height, width, _ = ops.shape(x)
        n = self.window_size
        x = pad_to_multiple(x, n)
        _, rows, columns, _ = ops.shape(x)
        shift = (shift_along(rows, n, self.shift), shift_along(columns, n, self.shift))
        mask = None
        if self.shift and not (isinstance(rows, int) and shift == (0, 0)):
            x = ops.roll(x, (-shift[0], -shift[1]), axis=(1, 2))
            mask = shift_mask(rows, columns, n, shift, self.compute_dtype)
        x = self._attend(to_windows(x, n), mask, training)
        x = from_windows(x, n, rows, columns)
        if mask is not None:
            x = ops.roll(x, shift, axis=(1, 2))
        if not (isinstance(rows, int) and (rows, columns) == (height, width)):
            x = x[:, :height, :width, :]
        # After the padding is gone: at the coarsest level it is most of the pixels.
        return self.drop_output(self.projection(x), training=training)

    def _attend(self, x: Any, mask: Any, training: bool | None) -> Any:
        """Attention of ``(batch * window, pixel, channel)``, not yet projected."""
        pixels, channels = x.shape[1:]
        heads = (-1, pixels, 3, self.num_heads, self.head_width)
        q, k, v = ops.unstack(
            ops.transpose(ops.reshape(self._qkv(x), heads), (2, 0, 3, 1, 4)), 3
        )
        # Bias (head, pixel, pixel) serves every window; Liu et al. 2021, equation 4.
        logits = self._similarity(q, k) + self._bias()
        if mask is not None:
            logits = self._masked(logits, mask)
        weights = self.drop_weights(ops.softmax(logits, axis=-1), training=training)
        x = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
        return ops.reshape(x, (-1, pixels, channels))

    def _masked(self, logits: Any, mask: Any) -> Any:
        """Adds the mask of each window to the logits of all its heads and images."""
        windows, pixels, _ = ops.shape(mask)
        grouped = (-1, windows, self.num_heads, pixels, pixels)
        logits = ops.reshape(logits, grouped) + ops.expand_dims(mask, 1)
        return ops.reshape(logits, (-1, self.num_heads, pixels, pixels))

    def _qkv(self, x: Any) -> Any:
        return self.qkv(x)

    def _similarity(self, q: Any, k: Any) -> Any:
        return ops.matmul(q * self.head_width**-0.5, ops.transpose(k, (0, 1, 3, 2)))

    def _bias(self) -> Any:
        return self._look_up(ops.cast(self.position_bias, self.compute_dtype))

    def _look_up(self, table: Any) -> Any:
        """``(offset, head)`` -> ``(head, pixel, pixel)``."""
        return ops.transpose(ops.take(table, self.index, axis=0), (2, 0, 1))

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        names = ("num_heads", "window_size", "shift", "dropout", "attention_dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
