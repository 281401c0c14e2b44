"""Message passing between the nodes of a graph: mean of neighbours, and attention."""

from typing import Any

import keras
from keras import ops

from arcticdl.models.layers.shapes import Shape


def gather(nodes: Any, neighbours: Any) -> Any:
    """Looks up the features of neighbours.

    Args:
        nodes: Features ``(batch, node, channel)``.
        neighbours: Numbers of nodes ``(batch, node, neighbour)``.

    Returns:
        Features ``(batch, node, neighbour, channel)``.
    """
    shape, channels = ops.shape(neighbours), nodes.shape[-1]
    start = ops.arange(shape[0], dtype="int32") * ops.shape(nodes)[1]
    index = ops.reshape(ops.cast(neighbours, "int32") + start[:, None, None], (-1,))
    found = ops.take(ops.reshape(nodes, (-1, channels)), index, axis=0)
    return ops.reshape(found, (shape[0], shape[1], shape[2], channels))


class _Messages(keras.layers.Layer):
    """What layers of message passing have in common: their units and their inputs."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"`units` must be at least 1. Received: units={units}.")
        self.units = units

    def build(self, shapes: list[Shape]) -> None:
        self.kernel = self.add_weight(
            shape=(shapes[0][-1], self.units),
            initializer="glorot_uniform",
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(self.units,), initializer="zeros", name="bias"
        )

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        return (*shapes[0][:2], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="arcticdl")
class GraphConvolution(_Messages):
    """Mixes each node with those that it touches, by their degrees (GCN).

    Node i becomes ``sum_j x_j W / sqrt(d_i d_j) + b`` over itself and its neighbours,
    with ``d`` the number of both.

    Args:
        units: Channels of the result.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[nodes, neighbours, touching]`` as of ``RegionGraph``.

    Returns:
        Features ``(batch, node, unit)``.

    Reference:
        Kipf and Welling 2017, arXiv:1609.02907, equation 2.
    """

    def call(self, inputs: list[Any]) -> Any:
        nodes, neighbours, touching = inputs
        weight = ops.rsqrt(1.0 + ops.sum(touching, axis=-1, keepdims=True))
        sent = ops.matmul(nodes, self.kernel) * weight
        heard = ops.einsum("bnk,bnkc->bnc", touching, gather(sent, neighbours))
        return (heard + sent) * weight + self.bias


@keras.saving.register_keras_serializable(package="arcticdl")
class GraphAttention(_Messages):
    """Mixes each node with those that it touches, by learnt attention (GAT).

    In each head the weights of a node and its neighbours are a softmax of
    ``leaky_relu(a . x_i W + b . x_j W)`` with a slope of 0.2; heads are joined.

    Args:
        units: Channels of the result, a multiple of `num_heads`.
        num_heads: Heads, at least 1.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[nodes, neighbours, touching]`` as of ``RegionGraph``.

    Returns:
        Features ``(batch, node, unit)``.

    Raises:
        ValueError: ``units`` is no multiple of ``num_heads``.

    Reference:
        Velickovic et al. 2018, arXiv:1710.10903, section 2.1.
    """

    def __init__(self, units: int, num_heads: int = 4, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        if num_heads < 1 or units % num_heads:
            raise ValueError(
                "`units` must be a multiple of `num_heads`, which is at least 1. "
                f"Received: units={units}, num_heads={num_heads}."
            )
        self.num_heads = num_heads

    def build(self, shapes: list[Shape]) -> None:
        size = self.units // self.num_heads
        super().build(shapes)
        self.hearing, self.telling = (
            self.add_weight(
                shape=(self.num_heads, size), initializer="glorot_uniform", name=name
            )
            for name in ("hearing", "telling")
        )

    def call(self, inputs: list[Any]) -> Any:
        nodes, neighbours, touching = inputs
        shape = ops.shape(nodes)
        size = self.units // self.num_heads
        sent = ops.matmul(nodes, self.kernel)
        heads = ops.reshape(sent, (shape[0], shape[1], self.num_heads, size))
        hears = ops.sum(heads * self.hearing, axis=-1)
        tells = ops.sum(heads * self.telling, axis=-1)
        scores = hears[:, :, None] + ops.concatenate(
            [tells[:, :, None], gather(tells, neighbours)], axis=2
        )
        # The node itself always speaks, so no softmax is empty.
        speaks = ops.concatenate([ops.ones_like(touching[..., :1]), touching], axis=-1)
        scores = ops.leaky_relu(scores, 0.2) + (speaks[..., None] - 1.0) * 1e4
        weights = ops.softmax(scores, axis=2)
        said = ops.concatenate([sent[:, :, None], gather(sent, neighbours)], axis=2)
        said = ops.reshape(said, (shape[0], shape[1], -1, self.num_heads, size))
        heard = ops.einsum("bnkh,bnkhc->bnhc", weights, said)
        return ops.reshape(heard, (shape[0], shape[1], self.units)) + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_heads": self.num_heads}
