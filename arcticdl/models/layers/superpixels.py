"""A scene as a graph: superpixels, what they hold, and which of them touch."""

from typing import Any

import keras
from keras import ops

from arcticdl.models.layers.shapes import PadToStride, Shape, lacking_px

REACH = 3
"""Cells between two superpixels that touch, at most: a pixel belongs to its own cell or
to one beside it, and so does the pixel next to it, whose own cell is at most one on."""

NUM_NEIGHBOURS = (2 * REACH + 1) ** 2

_FAR = 1e9
_BESIDE = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def _cells(shape: Any, cell_px: int) -> tuple[Any, Any]:
    """Rows and columns of cells over an image of a shape ``(batch, y, x, ...)``."""
    rows, columns = shape[1], shape[2]
    return (
        (rows + lacking_px(rows, cell_px)) // cell_px,
        (columns + lacking_px(columns, cell_px)) // cell_px,
    )


def _seen(x: Any) -> Any:
    """1 where a pixel holds anything, 0 where it is void, ``(batch, y, x, 1)``.

    Invalid pixels, and those that fill up an edge, are zero in every band.
    """
    return ops.cast(ops.any(ops.not_equal(x, 0), axis=-1, keepdims=True), x.dtype)


def _flat(index: Any, count: Any) -> Any:
    """Indices into the nodes of all images of a batch, one after the other."""
    shape = ops.shape(index)
    index = ops.reshape(index, (shape[0], -1))
    start = ops.cast(ops.arange(shape[0]) * count, "int32")
    return ops.reshape(index + start[:, None], (-1,))


def _sums(values: Any, index: Any, count: Any) -> Any:
    """Sums of pixels ``(batch, y, x, channel)`` by node ``(batch, node, channel)``."""
    shape = ops.shape(values)
    total = ops.segment_sum(
        ops.reshape(values, (-1, values.shape[-1])),
        _flat(index, count),
        num_segments=shape[0] * count,
    )
    return ops.reshape(total, (shape[0], count, values.shape[-1]))


@keras.saving.register_keras_serializable(package="arcticdl")
class Superpixels(keras.layers.Layer):
    """Groups pixels that look alike and lie together, by k-means in a window (SLIC).

    The image is laid out in cells, each the beginning of one superpixel. A pixel goes
    to whichever of the nine cells around it is nearest, in its bands and in its place;
    then each superpixel moves to the mean of its pixels. There is nothing to learn, and
    no gradient. Superpixels may consist of several parts, which the published method
    joins afterwards. Void pixels stay in their cell and change no mean.

    Args:
        cell_px: Height and width of a cell, in pixels, at least 2.
        num_steps: Rounds of k-means, at least 1.
        compactness: Weight of one cell's distance against a difference of 1 in every
            band, which is a standard deviation of standardised bands: 0 follows the
            image alone, large values give squares.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Image ``(batch, y, x, band)``, void 0 in all bands.

    Returns:
        Number of each pixel's superpixel ``(batch, y, x)``, int32, row by row from 0
        below the number of cells.

    Raises:
        ValueError: A cell of one pixel, no round, a negative compactness, or an image
            of a single cell, which is no graph.

    Reference:
        Achanta et al. 2012, doi:10.1109/TPAMI.2012.120.
    """

    def __init__(
        self,
        cell_px: int = 8,
        num_steps: int = 5,
        compactness: float = 0.5,
        **kwargs: Any,
    ) -> None:
        # Sums over a cell's pixels lose their last digits in half precision.
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        if cell_px < 2 or num_steps < 1 or compactness < 0:
            raise ValueError(
                "`cell_px` must be at least 2, `num_steps` at least 1 and "
                f"`compactness` at least 0. Received: cell_px={cell_px}, "
                f"num_steps={num_steps}, compactness={compactness}."
            )
        self.cell_px, self.num_steps = cell_px, num_steps
        self.compactness = compactness

    def call(self, x: Any) -> Any:
        x = ops.stop_gradient(x)
        shape = ops.shape(x)
        rows, columns = _cells(shape, self.cell_px)
        if isinstance(rows, int) and isinstance(columns, int) and rows * columns < 2:
            raise ValueError(
                "A graph needs an image of at least two cells of `cell_px` pixels. "
                f"Received: {shape[1]} x {shape[2]} px, cell_px={self.cell_px}."
            )
        # Whole cells only: what fills up the edge is void.
        x = PadToStride(self.cell_px)(x)
        seen = _seen(x)
        points = self._points(x, seen)
        home = self._home(ops.shape(x), columns)
        weighed = ops.concatenate([points * seen, seen], axis=-1)

        index = home
        for _ in range(self.num_steps):  # few rounds, and ONNX has no such loop
            sums = _sums(weighed, index, rows * columns)
            index = self._nearest(points, sums, home, columns)
        # A void pixel has no likeness to anything.
        index = ops.where(seen[..., 0] > 0, index, home)
        return index[:, : shape[1], : shape[2]]

    def _home(self, shape: Any, columns: Any) -> Any:
        y = ops.arange(shape[1], dtype="int32") // self.cell_px
        x = ops.arange(shape[2], dtype="int32") // self.cell_px
        home = y[None, :, None] * columns + x[None, None, :]
        return ops.broadcast_to(home, (shape[0], shape[1], shape[2]))

    def _points(self, x: Any, seen: Any) -> Any:
        """Bands and places, scaled so that their squared differences add up."""
        bands = x / x.shape[-1] ** 0.5
        shape = ops.shape(x)
        step = self.compactness**0.5 / self.cell_px
        y = ops.arange(shape[1], dtype="float32") * step
        x_place = ops.arange(shape[2], dtype="float32") * step
        zero = ops.zeros_like(seen)
        places = [zero + y[None, :, None, None], zero + x_place[None, None, :, None]]
        return ops.concatenate([bands, *places], axis=-1)

    def _nearest(self, points: Any, sums: Any, home: Any, columns: Any) -> Any:
        """The nearest of the nine centres around each pixel."""
        cell, channels = self.cell_px, points.shape[-1]
        shape = ops.shape(points)
        rows = shape[1] // cell
        # Pixels as (batch, cell's row, row, cell's column, column, channel).
        blocks = ops.reshape(points, (shape[0], rows, cell, columns, cell, channels))
        pixels = sums[..., -1:]
        centres = sums[..., :-1] / ops.maximum(pixels, 1.0)
        # Beyond the edge, and where no pixel is left, there is nothing to go to.
        there = ops.cast(pixels > 0.5, "float32")
        around = ops.concatenate([centres, there], axis=-1)
        around = ops.reshape(around, (shape[0], rows, columns, channels + 1))
        around = ops.pad(around, [[0, 0], [1, 1], [1, 1], [0, 0]])
        least, best = None, None
        for number, (dy, dx) in enumerate(_BESIDE):
            here = around[:, 1 + dy :, 1 + dx :][:, :rows, :columns]
            here = here[:, :, None, :, None]
            away = ops.sum(ops.square(blocks - here[..., :-1]), axis=-1)
            away = away + _FAR * (1.0 - here[..., -1])
            if least is None:
                least, best = away, ops.zeros_like(away, dtype="int32")
            # Not `argmin`, whose care for -0.0 has no counterpart in ONNX.
            best = ops.where(away < least, number, best)
            least = ops.minimum(away, least)
        best = ops.reshape(best, (shape[0], shape[1], shape[2]))
        return home + (best // 3 - 1) * columns + (best % 3 - 1)

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape[:3], dtype="int32")

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["trainable"], config["dtype"]
        return {
            **config,
            "cell_px": self.cell_px,
            "num_steps": self.num_steps,
            "compactness": self.compactness,
        }


@keras.saving.register_keras_serializable(package="arcticdl")
class RegionGraph(keras.layers.Layer):
    """Superpixels as nodes with statistics, and which of them share a border.

    Args:
        cell_px: As of the ``Superpixels`` that made the index.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[x, index]``: the image ``(batch, y, x, band)``, void 0 in all bands,
            and the number of each pixel's superpixel ``(batch, y, x)``.

    Returns:
        - nodes ``(batch, node, 2 * band + 1)``: mean and standard deviation of each
          band, and the logarithm of 1 + the number of pixels; 0 without any pixel.
        - neighbours ``(batch, node, 49)``, int32: nodes that may touch each node.
        - touching ``(batch, node, 49)``: 1 where they do, by an edge between two pixels
          that are not void, and 0 elsewhere.
    """

    def __init__(self, cell_px: int = 8, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.cell_px = cell_px

    def call(self, inputs: list[Any]) -> tuple[Any, Any, Any]:
        x, index = inputs
        rows, columns = _cells(ops.shape(x), self.cell_px)
        count = rows * columns
        seen = _seen(x)
        # The mean of the squares would lose a small spread beside a large mean.
        number = _sums(seen, index, count)
        mean = _sums(x * seen, index, count) / ops.maximum(number, 1.0)
        away = (x - paint(mean, index)) * seen
        spread = _sums(ops.square(away), index, count) / ops.maximum(number, 1.0)
        nodes = ops.concatenate(
            # Counts are whole numbers: `log1p`, which ONNX lacks, gains nothing.
            [mean, ops.sqrt(spread + 1e-12), ops.log(1.0 + number)],
            axis=-1,
        )
        batch = ops.shape(x)[0]
        return (
            nodes * ops.cast(number > 0, nodes.dtype),
            _neighbours(rows, columns, batch),
            _touching(index, seen[..., 0], columns, count),
        )

    def compute_output_spec(self, inputs: list[Any]) -> tuple[Any, Any, Any]:
        x, _ = inputs
        batch, height, width, bands = x.shape
        count = None
        if height is not None and width is not None:
            rows, columns = _cells(x.shape, self.cell_px)
            count = rows * columns
        pairs = (batch, count, NUM_NEIGHBOURS)
        return (
            keras.KerasTensor((batch, count, 2 * bands + 1), dtype="float32"),
            keras.KerasTensor(pairs, dtype="int32"),
            keras.KerasTensor(pairs, dtype="float32"),
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, "cell_px": self.cell_px}


def _neighbours(rows: Any, columns: Any, batch: Any) -> Any:
    """Nodes within reach ``(batch, node, 49)``; the node itself beyond the edge."""
    steps = ops.arange(-REACH, REACH + 1, dtype="int32")
    side = 2 * REACH + 1
    y = ops.arange(rows, dtype="int32")[:, None, None, None]
    x = ops.arange(columns, dtype="int32")[None, :, None, None]
    to_y, to_x = y + steps[:, None], x + steps[None, :]
    inside = (to_y >= 0) & (to_y < rows) & (to_x >= 0) & (to_x < columns)
    found = ops.where(inside, to_y * columns + to_x, y * columns + x)
    found = ops.reshape(found, (1, rows * columns, side * side))
    return ops.broadcast_to(found, (batch, rows * columns, side * side))


def _touching(index: Any, seen: Any, columns: Any, count: Any) -> Any:
    """Whether nodes share an edge of pixels ``(batch, node, 49)``."""
    shape = ops.shape(index)
    total: Any = 0.0
    pairs = (
        (index[:, :, :-1], index[:, :, 1:], seen[:, :, :-1] * seen[:, :, 1:]),
        (index[:, :-1], index[:, 1:], seen[:, :-1] * seen[:, 1:]),
    )
    for first, second, both in pairs:
        counted = both * ops.cast(ops.not_equal(first, second), "float32")
        for here, there in ((first, second), (second, first)):
            down = there // columns - here // columns + REACH
            right = there % columns - here % columns + REACH
            pair = here * NUM_NEIGHBOURS + down * (2 * REACH + 1) + right
            total = total + ops.segment_sum(
                ops.reshape(counted, (-1,)),
                _flat(pair, count * NUM_NEIGHBOURS),
                num_segments=shape[0] * count * NUM_NEIGHBOURS,
            )
    touching = ops.cast(total > 0, "float32")
    return ops.reshape(touching, (shape[0], count, NUM_NEIGHBOURS))


def paint(nodes: Any, index: Any) -> Any:
    """Gives each pixel its node's features.

    Args:
        nodes: Features ``(batch, node, channel)``.
        index: Node of each pixel ``(batch, y, x)``.

    Returns:
        Features ``(batch, y, x, channel)``.
    """
    shape, count = ops.shape(index), ops.shape(nodes)[1]
    channels = nodes.shape[-1]
    found = ops.take(ops.reshape(nodes, (-1, channels)), _flat(index, count), axis=0)
    return ops.reshape(found, (shape[0], shape[1], shape[2], channels))


@keras.saving.register_keras_serializable(package="arcticdl")
class Paint(keras.layers.Layer):
    """Gives each pixel its node's features; see ``paint``."""

    def call(self, inputs: list[Any]) -> Any:
        return paint(*inputs)

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        nodes, index = shapes
        return (*index, nodes[-1])


@keras.saving.register_keras_serializable(package="arcticdl")
class Lattice(keras.layers.Layer):
    """Lays nodes out in the cells in which their superpixels began.

    Args:
        cell_px: As of the ``Superpixels`` that made the nodes.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[nodes, x]``: features ``(batch, node, channel)`` and the image
            ``(batch, y, x, band)``.

    Returns:
        Features ``(batch, row, column, channel)`` of stride ``cell_px``.
    """

    def __init__(self, cell_px: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell_px = cell_px

    def call(self, inputs: list[Any]) -> Any:
        nodes, x = inputs
        shape = ops.shape(x)
        rows, columns = _cells(shape, self.cell_px)
        return ops.reshape(nodes, (shape[0], rows, columns, nodes.shape[-1]))

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        nodes, (batch, *sizes, _) = shapes
        cells = (None if s is None else -(-s // self.cell_px) for s in sizes)
        return (batch, *cells, nodes[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cell_px": self.cell_px}
