"""Time series of images: folding time into bands, or one encoder and a fusion.

The blocks work on their own in any Keras model; ``build_segmenter`` and the other
builders put them in by ``fusion=``.
"""

from typing import Any

import keras
from keras import layers, ops

from arcticdl.models.layers.shapes import Shape


@keras.saving.register_keras_serializable(package="arcticdl")
class FoldTime(layers.Layer):
    """Makes ``(batch, time, y, x, band)`` one image with ``time * band`` bands.

    The bands of the first time come first.
    """

    def call(self, x: Any) -> Any:
        batch, times, height, width, bands = ops.shape(x)
        x = ops.transpose(x, (0, 2, 3, 1, 4))
        return ops.reshape(x, (batch, height, width, times * bands))

    def compute_output_shape(self, shape: Shape) -> Shape:
        batch, times, height, width, bands = shape
        folded = None if times is None or bands is None else times * bands
        return (batch, height, width, folded)


@keras.saving.register_keras_serializable(package="arcticdl")
class UnfoldTime(layers.Layer):
    """Makes an image with ``time * band`` bands a series: what ``FoldTime`` undoes.

    Args:
        num_times: Times, of which the bands of the first come first.
        num_context: Bands behind those of the times, which each time is given.
        **options: Of the layer.
    """

    def __init__(self, num_times: int, num_context: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.num_times, self.num_context = num_times, num_context

    def call(self, x: Any) -> Any:
        batch, height, width, _ = ops.shape(x)
        moving = x.shape[-1] - self.num_context
        shape = (batch, height, width, self.num_times, moving // self.num_times)
        times = ops.transpose(ops.reshape(x[..., :moving], shape), (0, 3, 1, 2, 4))
        if not self.num_context:
            return times
        told = ops.repeat(x[:, None, :, :, moving:], self.num_times, axis=1)
        return ops.concatenate([times, told], axis=-1)

    def compute_output_shape(self, shape: Shape) -> Shape:
        batch, height, width, folded = shape
        bands = None
        if folded is not None:
            moving = (folded - self.num_context) // self.num_times
            bands = moving + self.num_context
        return (batch, self.num_times, height, width, bands)

    def get_config(self) -> dict[str, Any]:
        config = {"num_times": self.num_times, "num_context": self.num_context}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="arcticdl")
class MergeTime(layers.Layer):
    """Makes ``(batch, time, y, x, band)`` a batch of ``batch * time`` images."""

    def call(self, x: Any) -> Any:
        return ops.reshape(x, (-1, *ops.shape(x)[2:]))

    def compute_output_shape(self, shape: Shape) -> Shape:
        batch, times = shape[:2]
        merged = None if batch is None or times is None else batch * times
        return (merged, *shape[2:])


@keras.saving.register_keras_serializable(package="arcticdl")
class SplitTime(layers.Layer):
    """Undoes ``MergeTime`` on features.

    Call arguments:
        inputs: ``[x, series]``: features ``(batch * time, y, x, channel)`` and the
            series ``(batch, time, ...)`` from which they came.
    """

    def call(self, inputs: list[Any]) -> Any:
        x, series = inputs
        return ops.reshape(x, (-1, ops.shape(series)[1], *ops.shape(x)[1:]))

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        x, series = shapes
        return (*series[:2], *x[1:])


@keras.saving.register_keras_serializable(package="arcticdl")
class TimeMean(layers.Layer):
    """Averages ``(batch, time, y, x, channel)`` over time."""

    def call(self, x: Any) -> Any:
        return ops.mean(x, axis=1)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *shape[2:])


@keras.saving.register_keras_serializable(package="arcticdl")
class TimeAttention(layers.Layer):
    """Weighs the times of each pixel by learned attention and sums them.

    Each head has one learned query, and weighs its own group of channels: the
    lightweight temporal attention of Garnot and Landrieu 2020, arXiv:2007.00586, for
    each pixel of a map. There is no position in time, so the order of the images does
    not matter; add it to the features where it does.

    Args:
        num_heads: Heads; the channels must be a multiple.
        key_size: Length of queries and keys.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Features ``(batch, time, y, x, channel)``; the result is without time.

    Raises:
        ValueError: The channels are no multiple of ``num_heads``.
    """

    def __init__(self, num_heads: int = 4, key_size: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.key_size = key_size
        self.key = layers.EinsumDense(
            "btyxc,chk->btyxhk",
            (None, None, None, num_heads, key_size),
            bias_axes="hk",
            dtype=self.dtype_policy,
            name="key",
        )

    def build(self, shape: Shape) -> None:
        channels = shape[-1]
        if channels is None or channels % self.num_heads:
            raise ValueError(
                "The channels must be a multiple of `num_heads`. "
                f"Received: {channels} channels, num_heads={self.num_heads}."
            )
        self.key.build(shape)
        self.query = self.add_weight(
            shape=(self.num_heads, self.key_size),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="query",
        )

    def call(self, x: Any) -> Any:
        logits = ops.einsum("btyxhk,hk->btyxh", self.key(x), self.query)
        weight = ops.softmax(logits / self.key_size**0.5, axis=1)
        groups = ops.reshape(x, (*ops.shape(x)[:-1], self.num_heads, -1))
        fused = ops.einsum("btyxh,btyxhc->byxhc", weight, groups)
        batch, _, height, width, channels = ops.shape(x)
        return ops.reshape(fused, (batch, height, width, channels))

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *shape[2:])

    def get_config(self) -> dict[str, Any]:
        config = {"num_heads": self.num_heads, "key_size": self.key_size}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="arcticdl")
class ConvLstm(layers.Layer):
    """Runs a convolutional LSTM over a series and gives its last state.

    Unlike ``keras.layers.ConvLSTM2D`` it takes maps whose size only the run tells. The
    convolution of the inputs is done for all times at once.

    Args:
        filters: Channels of the state.
        kernel_size: Kernel of both convolutions in pixels.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Features ``(batch, time, y, x, channel)`` with a known number of times; the
            result is ``(batch, y, x, filters)``.

    Reference:
        Shi et al. 2015, arXiv:1506.04214, equation 3, without peepholes; the forget
        gate starts open (Jozefowicz et al. 2015).
    """

    def __init__(self, filters: int, kernel_size: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        style = {"padding": "same", "dtype": self.dtype_policy}
        self.from_input = layers.Conv2D(
            4 * filters, kernel_size, name="from_input", **style
        )
        self.from_state = layers.Conv2D(
            4 * filters, kernel_size, use_bias=False, name="from_state", **style
        )

    def build(self, shape: Shape) -> None:
        batch, _, height, width, channels = shape
        self.from_input.build((batch, height, width, channels))
        self.from_state.build((batch, height, width, self.filters))

    def call(self, x: Any) -> Any:
        batch, times, height, width, channels = ops.shape(x)
        merged = self.from_input(ops.reshape(x, (-1, height, width, channels)))
        gates = ops.reshape(merged, (batch, times, height, width, 4 * self.filters))
        state, cell = self._step(gates[:, 0], None)
        for time in range(1, x.shape[1]):
            state, cell = self._step(gates[:, time] + self.from_state(state), cell)
        return state

    def _step(self, gates: Any, cell: Any) -> tuple[Any, Any]:
        enter, forget, leave, new = ops.split(gates, 4, axis=-1)
        update = ops.sigmoid(enter) * ops.tanh(new)
        cell = update if cell is None else ops.sigmoid(forget + 1.0) * cell + update
        return ops.sigmoid(leave) * ops.tanh(cell), cell

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *shape[2:4], self.filters)

    def get_config(self) -> dict[str, Any]:
        config = {"filters": self.filters, "kernel_size": self.kernel_size}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="arcticdl")
class ConvGru(layers.Layer):
    """Runs a convolutional gated recurrent unit over a series, as ``ConvLstm`` does.

    It has two gates where an LSTM has three, and no cell beside its state.

    Args:
        filters: Channels of the state.
        kernel_size: Kernel of all convolutions in pixels.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Features ``(batch, time, y, x, channel)`` with a known number of times; the
            result is ``(batch, y, x, filters)``.

    Reference:
        Ballas et al. 2016, arXiv:1511.06432, equations 10 to 13.
    """

    def __init__(self, filters: int, kernel_size: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        style = {"padding": "same", "dtype": self.dtype_policy}
        plain = {**style, "use_bias": False}
        self.from_input = layers.Conv2D(
            3 * filters, kernel_size, name="from_input", **style
        )
        self.to_gates = layers.Conv2D(
            2 * filters, kernel_size, name="to_gates", **plain
        )
        self.to_new = layers.Conv2D(filters, kernel_size, name="to_new", **plain)

    def build(self, shape: Shape) -> None:
        batch, _, height, width, channels = shape
        self.from_input.build((batch, height, width, channels))
        self.to_gates.build((batch, height, width, self.filters))
        self.to_new.build((batch, height, width, self.filters))

    def call(self, x: Any) -> Any:
        batch, times, height, width, channels = ops.shape(x)
        merged = self.from_input(ops.reshape(x, (-1, height, width, channels)))
        parts = ops.reshape(merged, (batch, times, height, width, 3 * self.filters))
        gates, new = parts[..., : 2 * self.filters], parts[..., 2 * self.filters :]
        # Before the first time the state is zero, and so is all that comes of it.
        state = ops.sigmoid(gates[:, 0, ..., : self.filters]) * ops.tanh(new[:, 0])
        for time in range(1, x.shape[1]):
            both = ops.sigmoid(gates[:, time] + self.to_gates(state))
            update, reset = ops.split(both, 2, axis=-1)
            found = ops.tanh(new[:, time] + self.to_new(reset * state))
            state = (1.0 - update) * state + update * found
        return state

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *shape[2:4], self.filters)

    def get_config(self) -> dict[str, Any]:
        config = {"filters": self.filters, "kernel_size": self.kernel_size}
        return {**super().get_config(), **config}


def fuse_convgru(x: Any, *, name: str) -> Any:
    """Runs a convolutional gated recurrent unit over the times, to its last state.

    Args:
        x: Features ``(batch, time, y, x, channel)`` of one level, with a known number
            of times.
        name: Layer name.

    Returns:
        Features ``(batch, y, x, channel)``.
    """
    return ConvGru(x.shape[-1], name=name)(x)


def fuse_mean(x: Any, *, name: str) -> Any:
    """Averages features over the times of a series.

    Args:
        x: Features ``(batch, time, y, x, channel)`` of one level.
        name: Layer name.

    Returns:
        Features ``(batch, y, x, channel)``.
    """
    return TimeMean(name=name)(x)


def fuse_attention(x: Any, *, name: str) -> Any:
    """Sums features over time with learned weights, four heads where channels allow.

    Args:
        x: Features ``(batch, time, y, x, channel)`` of one level.
        name: Layer name.

    Returns:
        Features ``(batch, y, x, channel)``.
    """
    heads = next(n for n in (4, 2, 1) if x.shape[-1] % n == 0)
    return TimeAttention(heads, name=name)(x)


def fuse_convlstm(x: Any, *, name: str) -> Any:
    """Runs a convolutional LSTM over the times and keeps its last state.

    Args:
        x: Features ``(batch, time, y, x, channel)`` of one level, with a known number
            of times.
        name: Layer name.

    Returns:
        Features ``(batch, y, x, channel)``.
    """
    return ConvLstm(x.shape[-1], name=name)(x)
