"""Layers of detectors: towers shared by all levels, and places with their boxes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from arcticdl.models.layers.blocks import norm_layer

LARGEST = 8.0
"""Largest logarithm of a size, in strides or anchors, that a network may answer."""


def tower(
    depth: int, channels: int, *, norm: str, activation: str, name: str
) -> Callable[[Any], Any]:
    """Returns a stack of 3 x 3 convolutions whose weights all levels share.

    Args:
        depth: Number of convolutions.
        channels: Channels of each.
        norm: One of ``contracts.NORMS``.
        activation: Keras activation name.
        name: Prefix of the layers' names.
    """
    stack: list[Any] = []
    for step in range(depth):
        stack.append(
            keras.layers.Conv2D(
                channels,
                3,
                padding="same",
                use_bias=norm == "none",
                name=f"{name}_{step}",
            )
        )
        stack.append(norm_layer(norm, channels, f"{name}_{step}_norm"))
        stack.append(keras.layers.Activation(activation, name=f"{name}_{step}_act"))
    kept = [layer for layer in stack if layer is not None]

    def apply(x: Any) -> Any:
        for layer in kept:
            x = layer(x)
        return x

    return apply


def last_conv(channels: int, name: str, *, prior: float | None = None) -> Any:
    """Returns the last convolution of a tower.

    Args:
        channels: Channels of its output.
        name: Name of the layer.
        prior: Probability that its logits begin with; ``None``: zero. With 0.01 the
            many places without an object do not swamp the first steps (Lin et al.
            2017, doi:10.1109/ICCV.2017.324, section 3.3).
    """
    start = 0.0 if prior is None else -math.log((1.0 - prior) / prior)
    return keras.layers.Conv2D(
        channels,
        3,
        padding="same",
        dtype="float32",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(start),
        name=name,
    )


@keras.saving.register_keras_serializable(package="arcticdl")
class SeenCells(keras.layers.Layer):
    """Tells of each cell of a level whether the image shows anything in it.

    A pixel without data is exactly 0 in every band once it is normalised, and so is
    what pads an image to the network's stride. A cell is seen where one of its pixels
    is not. Feed, finder and exported files see to it that no valid pixel is 0 in all
    bands (``arcticdl.void.mark_shown``).

    Args:
        levels: Levels of the pyramid, fine to coarse, each the next one of the last.
        **kwargs: Keras layer arguments.

    Call arguments:
        image: ``(batch, y, x, band)``, a multiple of the finest level's stride.

    Returns:
        List of ``(batch, y, x, 1)`` of 0 and 1, one a level.
    """

    def __init__(self, levels: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.levels = [int(level) for level in levels]

    def call(self, image: Any) -> list[Any]:
        shown = ops.max(ops.abs(image), axis=-1, keepdims=True)
        cell = ops.cast(shown > 0.0, "float32")
        step, found = 2 ** self.levels[0], []
        for _ in self.levels:
            cell = ops.max_pool(cell, step, step, padding="same")
            found.append(cell)
            step = 2
        return found

    def compute_output_shape(self, shape: Any) -> list[Any]:
        def size(px: int | None, level: int) -> int | None:
            return None if px is None else -(-px // 2**level)

        return [
            (shape[0], size(shape[1], k), size(shape[2], k), 1) for k in self.levels
        ]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": self.levels}


class _Rows(keras.layers.Layer):
    """Base of the layers that make rows of ``arcticdl.tasks.objects`` of a level.

    Args:
        stride: Of the level, in pixels.
        num_priors: Places a cell.
        oriented: Whether boxes may be turned.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[sizes, logits, quality, seen]``: of each cell and place the numbers
            of the box (4, or 6 with the direction), of the classes, of the fit (absent
            where the detector has none), and whether it is seen.
    """

    def __init__(
        self, stride: int, num_priors: int = 1, oriented: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.stride, self.num_priors, self.oriented = stride, num_priors, oriented

    def cells(self, like: Any) -> tuple[Any, Any]:
        """Centres of the cells, ``(1, y, x, 1)`` each, in pixels."""
        shape = ops.shape(like)
        row = ops.cast(ops.arange(shape[1]), "float32") + 0.5
        column = ops.cast(ops.arange(shape[2]), "float32") + 0.5
        grid = ops.zeros_like(like[:1, :, :, :1])
        y = grid + ops.reshape(row * self.stride, (1, -1, 1, 1))
        x = grid + ops.reshape(column * self.stride, (1, -1, 1))[:, None]
        return x, y

    def flat(self, x: Any, channels: int) -> Any:
        """From ``(batch, y, x, place * channel)`` to ``(batch, place, channel)``."""
        return ops.reshape(x, (ops.shape(x)[0], -1, channels))

    def angle(self, sizes: Any) -> Any:
        """Angles in [-pi/2, pi/2), ``(batch, place, 1)``, 0 where none is answered.

        The network answers the direction of the doubled angle, which has no jump where
        a box has been turned by half a circle.
        """
        if not self.oriented:
            return ops.zeros_like(sizes[..., :1])
        # The constant gives a direction, and a gradient, where both numbers are 0.
        return 0.5 * ops.arctan2(sizes[..., 5:6], sizes[..., 4:5] + 1.0)

    def compute_output_shape(self, shapes: Any) -> Any:
        batch, height, width, channels = shapes[1]
        places = None
        if height is not None and width is not None:
            places = height * width * self.num_priors
        return (batch, places, 11 + channels // self.num_priors)

    def get_config(self) -> dict[str, Any]:
        own = {
            "stride": self.stride,
            "num_priors": self.num_priors,
            "oriented": self.oriented,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="arcticdl")
class CentreRows(_Rows):
    """Rows of a level whose cells answer distances to the sides of a box.

    Distances are measured along the box's own axes, as exponentials of the network's
    numbers in units of a learnt multiple of the stride.

    Reference:
        Tian et al. 2019, arXiv:1904.01355, section 3.2.
    """

    def build(self, shapes: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs: list[Any]) -> Any:
        sizes, logits, quality, seen = inputs
        x, y = self.cells(sizes)
        sizes = ops.cast(sizes, "float32")
        side = self.stride * ops.exp(
            ops.clip(self.scale * sizes[..., :4], -LARGEST, LARGEST)
        )
        left, top, right, bottom = (side[..., k : k + 1] for k in range(4))
        angle = self.angle(sizes)
        along, across = 0.5 * (right - left), 0.5 * (bottom - top)
        cos, sin = ops.cos(angle), ops.sin(angle)
        same = ops.zeros_like(left)
        row = [
            same + x,
            same + y,
            same + float(self.stride),
            same + float(self.stride),
            ops.cast(seen, "float32"),
            ops.cast(quality, "float32"),
            x + along * cos - across * sin,
            y + along * sin + across * cos,
            left + right,
            top + bottom,
            angle,
            ops.cast(logits, "float32"),
        ]
        return self.flat(ops.concatenate(row, axis=-1), 11 + logits.shape[-1])


@keras.saving.register_keras_serializable(package="arcticdl")
class AnchorRows(_Rows):
    """Rows of a level whose cells answer how anchors are moved and scaled.

    Args:
        sizes_px: ``(width, height)`` of each anchor of a cell.
        **kwargs: As of its base.

    Reference:
        Lin et al. 2017, doi:10.1109/ICCV.2017.324; the parametrisation of Ren et al.
        2015, arXiv:1506.01497, section 3.1.2.
    """

    def __init__(self, sizes_px: Sequence[Sequence[float]], **kwargs: Any) -> None:
        kwargs.pop("num_priors", None)
        super().__init__(num_priors=len(sizes_px), **kwargs)
        self.sizes_px = [[float(v) for v in size] for size in sizes_px]

    def call(self, inputs: list[Any]) -> Any:
        moves, logits, seen = inputs
        each = self.num_priors
        x, y = self.cells(moves)
        moves = self.flat(ops.cast(moves, "float32"), moves.shape[-1] // each)
        logits = self.flat(ops.cast(logits, "float32"), logits.shape[-1] // each)
        seen = self.flat(ops.repeat(ops.cast(seen, "float32"), each, axis=-1), 1)
        same = ops.zeros_like(moves[..., :1])
        x, y = (self.flat(ops.repeat(v, each, axis=-1), 1) + same for v in (x, y))
        anchors = np.asarray(self.sizes_px, "float32")
        cell = ops.zeros_like(self.flat(logits[..., :1], each)[..., None])
        width = self.flat(cell + anchors[:, :1], 1)
        height = self.flat(cell + anchors[:, 1:], 1)
        grown = ops.exp(ops.clip(moves[..., 2:4], -LARGEST, LARGEST))
        row = [
            x,
            y,
            width,
            height,
            seen,
            same + 20.0,  # no opinion of the fit: a probability of 1
            x + moves[..., :1] * width,
            y + moves[..., 1:2] * height,
            width * grown[..., :1],
            height * grown[..., 1:],
            self.angle(moves),
            logits,
        ]
        return ops.concatenate(row, axis=-1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("num_priors")
        return {**config, "sizes_px": self.sizes_px}
