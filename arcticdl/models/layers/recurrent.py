"""Keras's own recurrent layers over the times of each pixel by itself."""

from typing import Any

import keras
from keras import layers, ops

from arcticdl.models.layers.shapes import Shape

_KINDS = {"gru": layers.GRU, "lstm": layers.LSTM}


@keras.saving.register_keras_serializable(package="arcticdl")
class RecurrentTime(layers.Layer):
    """Runs an LSTM or a GRU over the times of each pixel, and gives its last state.

    All pixels share the weights, and none sees another: what ``ConvLstm`` is with a
    kernel of one pixel. It is for series without neighbours, such as the extents of
    regions, one in each pixel, or the course of a year in a field.

    Args:
        kind: ``"lstm"`` or ``"gru"``.
        units: Channels of the state.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Features ``(batch, time, y, x, channel)``; the result is
            ``(batch, y, x, units)``.

    Reference:
        Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; Cho et al.
        2014, arXiv:1406.1078.

    Example:
        >>> layer = RecurrentTime("lstm", 5)
        >>> tuple(layer(keras.random.normal((2, 3, 1, 4, 6))).shape)
        (2, 1, 4, 5)
    """

    def __init__(self, kind: str, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.units = kind, units
        self.rows = _KINDS[kind](units, dtype=self.dtype_policy, name=kind)

    def build(self, shape: Shape) -> None:
        self.rows.build((None, shape[1], shape[-1]))

    def call(self, x: Any, training: bool | None = None) -> Any:
        _, times, height, width, channels = ops.shape(x)
        rows = ops.reshape(ops.transpose(x, (0, 2, 3, 1, 4)), (-1, times, channels))
        last = self.rows(rows, training=training)
        return ops.reshape(last, (-1, height, width, self.units))

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *shape[2:4], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "units": self.units}


def fuse_lstm(x: Any, *, name: str) -> Any:
    """Runs an LSTM over the times of each pixel, to its last state.

    Args:
        x: Features ``(batch, time, y, x, channel)`` of one level.
        name: Layer name.

    Returns:
        Features ``(batch, y, x, channel)``.
    """
    return RecurrentTime("lstm", x.shape[-1], name=name)(x)


def fuse_gru(x: Any, *, name: str) -> Any:
    """Runs a gated recurrent unit over the times of each pixel, to its last state.

    Args:
        x: Features ``(batch, time, y, x, channel)`` of one level.
        name: Layer name.

    Returns:
        Features ``(batch, y, x, channel)``.
    """
    return RecurrentTime("gru", x.shape[-1], name=name)(x)
