"""A graph network: the nodes are superpixels, and talk with those that they touch."""

from typing import Any, Literal

import keras
from keras import layers

from arcticdl.choices import check_choice
from arcticdl.models.contracts import Backbone
from arcticdl.models.layers.blocks import apply_norm
from arcticdl.models.layers.messages import GraphAttention, GraphConvolution
from arcticdl.models.layers.superpixels import Lattice, Paint, RegionGraph, Superpixels

CELLS_PX = (8, 16, 32)
MESSAGES = ("convolution", "attention", "none")


def build_superpixel_graph(
    name: str,
    num_bands: int,
    *,
    width: int = 64,
    depth: int = 3,
    messages: Literal["convolution", "attention", "none"] = "convolution",
    cell_px: int = 8,
    num_steps: int = 5,
    compactness: float = 0.5,
    norm: str | None = None,
    activation: str | None = None,
) -> keras.Model:
    """Builds a graph network over the superpixels of an image.

    Superpixels are found inside the network, so that it takes any bands and sizes, and
    maps scenes window by window like every other. Each becomes a node with the mean and
    the standard deviation of its bands, and its size; nodes pass messages to those that
    they touch, as often as the network is deep. The finest level gives each pixel its
    node's features: the decoder ``linear`` then classifies nodes and nothing finer.
    Those between are means of it. The coarsest holds the nodes themselves in the cells
    where they began, and a pooled head sees their mean.

    Args:
        name: Entry of ``BACKBONES``; there is one, ``"superpixel_graph"``.
        num_bands: Bands of the image.
        width: Channels of a node.
        depth: Rounds of messages, at least 1.
        messages: ``"convolution"``, ``"attention"`` with four heads in its last round,
            or ``"none"``: each node for itself, to see what the graph is worth.
        cell_px: As of ``Superpixels``; 8, 16 or 32, so that cells are a level.
        num_steps: Likewise.
        compactness: Likewise.
        norm: One of ``contracts.NORMS``; ``None``: layer, since nodes without a pixel
            would count in the statistics of a batch.
        activation: Keras activation name; ``None``: ReLU.

    Returns:
        Model from ``(batch, y, x, band)`` to the levels from ``P0`` to that of the
        cells, such as ``P3`` for 8 px.

    Raises:
        ValueError: Unknown ``messages`` or cells, no depth, or what
            ``Superpixels`` refuses.

    Example:
        >>> model = build_superpixel_graph("superpixel_graph", 2, width=8)
        >>> model.output["P0"].shape
        (None, None, None, 8)
    """
    check_choice("messages", messages, MESSAGES)
    if depth < 1 or cell_px not in CELLS_PX:
        raise ValueError(
            f"`depth` must be at least 1, and `cell_px` one of {CELLS_PX}. "
            f"Received: depth={depth}, cell_px={cell_px}."
        )
    image = keras.Input((None, None, num_bands), name="image")
    index = Superpixels(cell_px, num_steps, compactness, name="superpixels")(image)
    nodes, neighbours, touching = RegionGraph(cell_px, name="graph")([image, index])
    x = layers.Dense(width, name="embed")(nodes)
    for number in range(1, depth + 1):
        heard = apply_norm(x, norm or "layer", f"round{number}_norm")
        heard = _layer(messages, width, number, depth)(heard, neighbours, touching)
        act = layers.Activation(activation or "relu", name=f"round{number}_act")
        x = layers.Add(name=f"round{number}_add")([x, act(heard)])
    pyramid = {"P0": Paint(name="paint")([x, index])}
    coarsest = cell_px.bit_length() - 1
    for level in range(1, coarsest):
        mean = layers.AveragePooling2D(2, padding="same", name=f"mean{level}")
        pyramid[f"P{level}"] = mean(pyramid[f"P{level - 1}"])
    pyramid[f"P{coarsest}"] = Lattice(cell_px, name="cells")([x, image])
    return keras.Model(image, pyramid, name="backbone")


def _layer(messages: str, width: int, number: int, depth: int) -> Any:
    name = f"round{number}"
    if messages == "none":
        dense = layers.Dense(width, name=name)
        return lambda nodes, neighbours, touching: dense(nodes)
    if messages == "attention" and number == depth:
        layer: keras.layers.Layer = GraphAttention(width, name=name)
    else:
        layer = GraphConvolution(width, name=name)
    return lambda *graph: layer(list(graph))


SUPERPIXEL_GRAPH = Backbone(build_superpixel_graph, tells_nodata=True)
