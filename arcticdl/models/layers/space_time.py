"""A transformer over the places and the times of a series of feature maps."""

from typing import Any

import keras
from keras import layers, ops

from arcticdl.models.layers.shapes import Shape
from arcticdl.models.layers.window_attention import WindowAttention


@keras.saving.register_keras_serializable(package="arcticdl")
class SpaceTimeTransformer(layers.Layer):
    """Attends over time at each place, then over places at each time.

    One block before whose parts the features are normalised, and after which the last
    time is kept: attention between the times of a place, attention between the places
    of a window at a time, and a perceptron of each of them. A learned position tells
    the times apart.

    Args:
        num_heads: Heads of both attentions; the channels must be a multiple.
        window_size: Side of a window in places of the map.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Features ``(batch, time, y, x, channel)`` with a known number of times; the
            result is ``(batch, y, x, channel)``.

    Raises:
        ValueError: The channels are no multiple of ``num_heads``.

    Reference:
        Bertasius et al. 2021, arXiv:2102.05095, "divided space-time attention", here
        within the windows of Liu et al. 2021, so that maps may be large.

    Example:
        >>> layer = SpaceTimeTransformer(num_heads=2, window_size=4)
        >>> tuple(layer(keras.random.normal((1, 3, 6, 5, 8))).shape)
        (1, 6, 5, 8)
    """

    def __init__(self, num_heads: int = 4, window_size: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.window_size = num_heads, window_size
        policy = self.dtype_policy
        self.norms = [
            layers.LayerNormalization(epsilon=1e-6, dtype=policy, name=f"norm_{part}")
            for part in ("time", "space", "mlp")
        ]
        self.over_space = WindowAttention(
            num_heads, window_size, dtype=policy, name="over_space"
        )

    def build(self, shape: Shape) -> None:
        times, channels = shape[1], int(shape[-1] or 0)
        if not channels or channels % self.num_heads:
            raise ValueError(
                "The channels must be a multiple of `num_heads`. "
                f"Received: {channels} channels, num_heads={self.num_heads}."
            )
        policy = self.dtype_policy
        self.positions = self.add_weight(
            shape=(times, channels),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="positions",
        )
        self.over_time = layers.MultiHeadAttention(
            self.num_heads, channels // self.num_heads, dtype=policy, name="over_time"
        )
        row = (None, times, channels)
        self.over_time.build(row, row)
        self.over_space.build((None, *shape[2:]))
        self.widen = layers.Dense(
            4 * channels, activation="gelu", dtype=policy, name="widen"
        )
        self.narrow = layers.Dense(channels, dtype=policy, name="narrow")
        for norm in self.norms:
            norm.build((None, channels))
        self.widen.build((None, channels))
        self.narrow.build((None, 4 * channels))

    def call(self, x: Any, training: bool | None = None) -> Any:
        _, times, height, width, channels = ops.shape(x)
        # Each place is a row of times.
        rows = ops.reshape(ops.transpose(x, (0, 2, 3, 1, 4)), (-1, times, channels))
        rows = rows + ops.cast(self.positions, rows.dtype)
        seen = self.norms[0](rows)
        rows = rows + self.over_time(seen, seen, training=training)
        x = ops.reshape(rows, (-1, height, width, times, channels))
        # What follows does not mix times, and only the last of them is kept.
        x = x[:, :, :, -1]
        x = x + self.over_space(self.norms[1](x), training=training)
        return x + self.narrow(self.widen(self.norms[2](x)))

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *shape[2:])

    def get_config(self) -> dict[str, Any]:
        config = {"num_heads": self.num_heads, "window_size": self.window_size}
        return {**super().get_config(), **config}


def fuse_transformer(x: Any, *, name: str) -> Any:
    """Attends over times and places, four heads where channels allow.

    Args:
        x: Features ``(batch, time, y, x, channel)`` of one level, with a known number
            of times.
        name: Layer name.

    Returns:
        Features ``(batch, y, x, channel)``.
    """
    heads = next(n for n in (4, 2, 1) if x.shape[-1] % n == 0)
    return SpaceTimeTransformer(heads, name=name)(x)
