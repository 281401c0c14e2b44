"""Pieces that the plain and the mixed vision transformers share."""

from typing import Any

import keras
from keras import layers, ops

from arcticdl.models.layers.resampling import apply_matrices, bilinear_matrix
from arcticdl.models.layers.shapes import Shape


@keras.saving.register_keras_serializable(package="arcticdl")
class Attention(layers.Layer):
    """Attention between the pixels of maps; the projections are layers before it.

    ``softmax(q k' / sqrt(d)) v`` for each head (Vaswani et al. 2017,
    arXiv:1706.03762, equation 1).

    Args:
        num_heads: Heads; the channels are divided among them.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[q, k, v]``: ``q (batch, y, x, channel)``; ``k`` and ``v`` of another
            height and width, if need be.
    """

    def __init__(self, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def call(self, inputs: list[Any]) -> Any:
        query, key, value = inputs
        x = ops.dot_product_attention(
            self._to_heads(query), self._to_heads(key), self._to_heads(value)
        )
        _, height, width, channels = ops.shape(query)
        return ops.reshape(x, (-1, height, width, channels))

    def _to_heads(self, x: Any) -> Any:
        _, height, width, channels = ops.shape(x)
        depth = channels // self.num_heads
        # Not the batch's own size: tf2onnx confuses two unknown sizes in one shape.
        return ops.reshape(x, (-1, height * width, self.num_heads, depth))

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_heads": self.num_heads}


@keras.saving.register_keras_serializable(package="arcticdl")
class GridPositions(layers.Layer):
    """Adds a learned position to each patch, resized to the grid at hand.

    Args:
        grid: Height and width of the learned grid in patches.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Patches ``(batch, y, x, channel)``.

    Reference:
        Dosovitskiy et al. 2021, arXiv:2010.11929, sections 3.1 and 3.2.
    """

    def __init__(self, grid: int = 14, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid

    def build(self, shape: Shape) -> None:
        self.positions = self.add_weight(
            shape=(1, self.grid, self.grid, shape[-1]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="positions",
        )

    def call(self, x: Any) -> Any:
        _, height, width, _ = ops.shape(x)
        rows = bilinear_matrix(self.grid, height, align_corners=False)
        columns = bilinear_matrix(self.grid, width, align_corners=False)
        positions = ops.convert_to_tensor(self.positions)
        return x + ops.cast(apply_matrices(positions, rows, columns), x.dtype)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "grid": self.grid}
