"""Movements with ``keras.ops``: draw maps, gather pixels, turn directions."""

from typing import Any

import keras
import numpy as np
from keras import ops

from arcticdl.augment import geometry
from arcticdl.augment.batch import Interval
from arcticdl.augment.directions import Directions


class Drawn:
    """Draws of one batch.

    Args:
        generator: Keras's seed generator.
        num: Number of samples, a number or a tensor.
    """

    def __init__(self, generator: Any, num: Any) -> None:
        self.generator = generator
        self.num = num

    def uniform(self, interval: Interval, *trailing: int) -> Any:
        """Draws float32 ``(sample, *trailing)`` from an interval."""
        low, high = interval
        share = keras.random.uniform((self.num, *trailing), seed=self.generator)
        return low + (high - low) * share

    def normal(self, like: Any) -> Any:
        """Draws standard normal numbers of a tensor's shape."""
        return keras.random.normal(ops.shape(like), seed=self.generator)

    def chosen(self, p: float) -> Any:
        """Draws which samples a step acts on, boolean ``(sample,)``."""
        return self.uniform((0.0, 1.0)) < p


def gather_source(
    image: Any, labels: dict[str, Any], valid: Any, matrices: Any, void_class: int
) -> tuple[Any, dict[str, Any], Any]:
    """Moves samples by their maps, as `resample.resample` does with NumPy.

    Args:
        image: float32 ``(batch, y, x, band)``.
        labels: ``{name: (batch, y, x)}``, or ``(batch, y, x, channel)``, whose channels
            move together.
        valid: Boolean ``(batch, y, x)``.
        matrices: float32 ``(batch, 3, 3)``, forward maps of offsets from the centre.
        void_class: Code for integer labels from outside; float labels get NaN.

    Returns:
        The moved image, labels and validity.
    """
    size_y, size_x = image.shape[1], image.shape[2]
    rows, cols = _source(matrices, size_y, size_x)
    near_y = ops.cast(ops.floor(rows + 0.5), "int32")
    near_x = ops.cast(ops.floor(cols + 0.5), "int32")
    inside = (near_y >= 0) & (near_y < size_y) & (near_x >= 0) & (near_x < size_x)
    near = ops.clip(near_y, 0, size_y - 1) * size_x + ops.clip(near_x, 0, size_x - 1)
    known = ops.logical_and(_take(valid, near), inside)
    moved = {}
    for name, label in labels.items():
        label = ops.convert_to_tensor(label)
        is_float = "float" in str(label.dtype)
        void = ops.cast(float("nan") if is_float else void_class, label.dtype)
        seen = inside[..., None] if len(label.shape) == 4 else inside
        moved[name] = ops.where(seen, _take(label, near), void)
    image = _bilinear(image, valid, rows, cols)
    return ops.where(known[..., None], image, 0.0), moved, known


def _source(matrices: Any, size_y: int, size_x: int) -> tuple[Any, Any]:
    inverse = ops.inv(matrices)[:, :, :, None, None]
    row = np.arange(size_y, dtype=np.float32)[:, None] - (size_y - 1) / 2
    col = np.arange(size_x, dtype=np.float32)[None] - (size_x - 1) / 2
    row, col = row.astype(np.float32), col.astype(np.float32)
    cols = inverse[:, 0, 0] * col + inverse[:, 0, 1] * row + inverse[:, 0, 2]
    rows = inverse[:, 1, 0] * col + inverse[:, 1, 1] * row + inverse[:, 1, 2]
    return rows + (size_y - 1) / 2, cols + (size_x - 1) / 2


def _take(array: Any, flat: Any) -> Any:
    """Picks pixels ``(batch, y, x[, band])`` by flat positions ``(batch, y, x)``."""
    size_y, size_x, *trailing = array.shape[1:]
    # One gather over the whole batch: along an axis it would be many times slower.
    first = ops.arange(ops.shape(array)[0], dtype="int32") * (size_y * size_x)
    pixels = ops.reshape(array, (-1, *trailing))
    return ops.take(pixels, flat + first[:, None, None], axis=0)


def _bilinear(image: Any, valid: Any, rows: Any, cols: Any) -> Any:
    size_y, size_x = image.shape[1], image.shape[2]
    rows, cols = ops.clip(rows, 0, size_y - 1), ops.clip(cols, 0, size_x - 1)
    row, col = ops.floor(rows), ops.floor(cols)
    part_y, part_x = rows - row, cols - col
    row, col = ops.cast(row, "int32"), ops.cast(col, "int32")
    next_row = ops.minimum(row + 1, size_y - 1)
    next_col = ops.minimum(col + 1, size_x - 1)
    weight = ops.cast(valid, "float32")
    pixels = ops.where(valid[..., None], image, 0.0)
    pixels = ops.concatenate([pixels, weight[..., None]], axis=-1)
    total: Any = 0.0
    for here, there, share in (
        (row, col, (1 - part_y) * (1 - part_x)),
        (row, next_col, (1 - part_y) * part_x),
        (next_row, col, part_y * (1 - part_x)),
        (next_row, next_col, part_y * part_x),
    ):
        total = total + share[..., None] * _take(pixels, here * size_x + there)
    return total[..., :-1] / ops.maximum(total[..., -1:], 1e-6)


def turn_directions(image: Any, linear: Any, directions: Directions) -> Any:
    """Turns the direction bands of moved images, as `Directions.turn` does.

    Args:
        image: float32 ``(batch, y, x, band)``.
        linear: float32 ``(batch, 2, 2)``, linear parts of the forward maps.
        directions: Bands that turn with the image.

    Returns:
        The image, its directions turned.
    """
    if not (directions.vectors or directions.angles):
        return image
    turn = orthogonal_part(linear)[:, None, None]
    bands = ops.unstack(image, num=image.shape[-1], axis=-1)
    for u_band, v_band in directions.vectors:
        right, down = _turned(turn, bands[u_band], -bands[v_band])
        bands[u_band], bands[v_band] = right, -down
    for band in directions.angles:
        angle = bands[band] * (np.pi / 180)
        right, down = _turned(turn, ops.sin(angle), -ops.cos(angle))
        bands[band] = ops.mod(ops.arctan2(right, -down) * (180 / np.pi), 360.0)
    return ops.stack(bands, axis=-1)


def orthogonal_part(linear: Any) -> Any:
    """Returns the rotation or reflection in linear maps, in closed form.

    The polar factor of a 2 x 2 matrix is the matrix plus (determinant above 0) or minus
    its cofactors, scaled to unit length.

    Args:
        linear: float32 ``(batch, 2, 2)``, invertible.

    Returns:
        float32 of the same shape, orthogonal.
    """
    a, b = linear[:, 0, 0], linear[:, 0, 1]
    c, d = linear[:, 1, 0], linear[:, 1, 1]
    sign = ops.where(a * d - b * c >= 0, 1.0, -1.0)
    first, second = a + sign * d, b - sign * c
    norm = ops.sqrt(first * first + second * second)
    first, second = first / norm, second / norm
    top = ops.stack([first, second], axis=-1)
    bottom = ops.stack([-sign * second, sign * first], axis=-1)
    return ops.stack([top, bottom], axis=1)


def _turned(turn: Any, right: Any, down: Any) -> tuple[Any, Any]:
    return (
        turn[..., 0, 0] * right + turn[..., 0, 1] * down,
        turn[..., 1, 0] * right + turn[..., 1, 1] * down,
    )


def _fixed(diagonal: tuple[float, float, float]) -> Any:
    matrix = np.diag(diagonal).astype(np.float32)

    def maps(step: Any, shape: tuple[int, int], draw: Drawn) -> Any:
        return ops.convert_to_tensor(matrix)[None]

    return maps


def _quarter_turns(step: Any, shape: tuple[int, int], draw: Drawn) -> Any:
    turns = np.array(
        [[[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]]], np.float32
    )
    table = np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    table[:, :2, :2] = turns
    if shape[0] != shape[1]:
        return ops.convert_to_tensor(table[1:2])
    index = ops.cast(ops.minimum(draw.uniform((0.0, 3.0)), 2.0), "int32")
    return ops.take(ops.convert_to_tensor(table), index, axis=0)


def _affine(step: geometry.Affine, shape: tuple[int, int], draw: Drawn) -> Any:
    angle = draw.uniform(step.rotate) * (np.pi / 180)
    scale = draw.uniform(step.scale)
    lean = ops.tan(draw.uniform(step.shear) * (np.pi / 180))
    shift = draw.uniform(step.translate, 2)
    cos, sin = scale * ops.cos(angle), scale * ops.sin(angle)
    return _stacked(
        (cos, sin + lean * cos, shift[:, 0] * shape[1]),
        (-sin, cos - lean * sin, shift[:, 1] * shape[0]),
    )


def _resized_crop(
    step: geometry.ResizedCrop, shape: tuple[int, int], draw: Drawn
) -> Any:
    share = draw.uniform(step.share)
    room = draw.uniform((-1.0, 1.0), 2) * ((1 - share) / share / 2)[:, None]
    zoom, none = 1 / share, ops.zeros_like(share)
    return _stacked(
        (zoom, none, -room[:, 0] * shape[1]), (none, zoom, -room[:, 1] * shape[0])
    )


def _stacked(*rows: tuple[Any, Any, Any]) -> Any:
    none = ops.zeros_like(rows[0][0])
    last = (none, none, ops.ones_like(none))
    return ops.stack([ops.stack(row, axis=-1) for row in (*rows, last)], axis=1)


MOVES: dict[type, Any] = {
    geometry.Affine: _affine,
    geometry.HFlip: _fixed((-1.0, 1.0, 1.0)),
    geometry.QuarterTurn: _quarter_turns,
    geometry.ResizedCrop: _resized_crop,
    geometry.VFlip: _fixed((1.0, -1.0, 1.0)),
}
"""Forward maps ``(sample, 3, 3)`` of each movement, from ``(step, shape, draw)``."""
