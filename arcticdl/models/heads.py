"""Heads: from features to float32 logits or values, as ``arcticdl.tasks`` has them.

What the last axis of an output holds depends on the form of the task's answer:

- ``classes``: one logit a class (softmax; a single logit is of the second of two).
- ``labels``: one logit a class (sigmoid each).
- ``values``: one number a target.
- ``ordinal``: ``num_classes - 1`` logits of "the class is above k", never rising in k.
- ``quantiles``: one number a quantile, never falling.
- ``gaussian``: means of all targets, then the logarithms of their variances.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from keras import initializers, layers

from arcticdl.models.contracts import Decoded
from arcticdl.models.layers.answers import (
    Increasing,
    OrderedThresholds,
    StartFrom,
    Variance,
)
from arcticdl.models.layers.resampling import UpsampleBilinear
from arcticdl.models.layers.shapes import CropLike
from arcticdl.tasks import Head, read_head, reconcile
from arcticdl.tasks.outputs import middle_quantile

_LAST: dict[str, Callable[[Any, str], Any]] = {
    "gaussian": lambda n, name: Variance(n, dtype="float32", name=name),
    "ordinal": lambda n, name: OrderedThresholds(n, dtype="float32", name=name),
    "quantiles": lambda q, name: Increasing(dtype="float32", name=name),
}
"""Form of answer -> the layer that makes it keep its own rule, from size and name."""

_CLOSE = {"gaussian": -4.0, "quantiles": -0.43}
"""Biases with which the spread of an answer begins that starts from a band: a deviation
of 0.14, and steps of 0.05 between quantiles (a tenth of the softplus)."""

_CONV_CHANNELS = {"ordinal": 1}
"""Channels of the layer before it, where they differ from those of the output."""


class HeadSpec(NamedTuple):
    """A head to build: what it answers, and its dropout."""

    head: Head
    dropout: float

    @property
    def dense(self) -> bool:
        """Whether it answers for each pixel."""
        return self.head.spec.dense

    @property
    def channels(self) -> int:
        """Channels of the last convolution or dense layer."""
        kind = self.head.spec.kind
        return _CONV_CHANNELS.get(kind) or self.head.form.channels(self.head.size)

    def finish(self, x: Any, name: str) -> Any:
        """Applies the layer after the last one, where the form has one."""
        last = _LAST.get(self.head.spec.kind)
        return x if last is None else last(self.head.size, name)(x)


def check_head(name: str, spec: Mapping[str, Any], dropout: float = 0.0) -> HeadSpec:
    """Checks the description of a head.

    Args:
        name: Name of the head.
        spec: As for ``arcticdl.tasks.read_head``, and perhaps ``"dropout"``.
        dropout: Where the head does not tell its own.

    Raises:
        ValueError: Unknown task or option, no classes, quantiles that are not rising
            within (0, 1), dropout outside [0, 1).
    """
    options = dict(spec)
    dropout = options.pop("dropout", dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}.")
    return HeadSpec(read_head(name, options), dropout)


def check_heads(
    heads: Mapping[str, Mapping[str, Any]], decoder: str | None, dropout: float
) -> dict[str, HeadSpec]:
    """Reads the heads of a network that a decoder serves, or none.

    Args:
        heads: Name -> description, as `check_head` takes it.
        decoder: What stands before heads that answer for each pixel.
        dropout: Where a head tells none of its own.

    Raises:
        ValueError: No heads, some that are built in another way, or a decoder that is
            missing or not needed.
    """
    if not heads:
        raise ValueError("`heads` must name at least one head. Received: heads={}.")
    specs = {name: check_head(name, spec, dropout) for name, spec in heads.items()}
    boxed = sorted(n for n, spec in specs.items() if spec.head.spec.kind == "boxes")
    if boxed:
        raise ValueError(
            "`heads` that find objects stand on a pyramid of their own: use "
            f"`build_detector`. Received: heads {boxed}."
        )
    drawn = sorted(n for n, spec in specs.items() if spec.head.spec.kind == "members")
    if drawn:
        raise ValueError(
            "`heads` that draw members stand around a network that takes noise away: "
            f"use `build_denoiser` and `build_sampler`. Received: heads {drawn}."
        )
    dense = sorted(name for name, spec in specs.items() if spec.dense)
    if dense and decoder is None:
        raise ValueError(
            "`decoder` must be given when a head answers for each pixel. "
            f"Received: decoder=None, dense heads {dense}."
        )
    if not dense and decoder is not None:
        raise ValueError(
            "`decoder` must be None when no head answers for each pixel. "
            f"Received: decoder={decoder!r}, heads {sorted(specs)}."
        )
    return specs


def describe_heads(
    specs: Mapping[str, HeadSpec], card: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """What the heads are, joined with what the card says of their labels."""
    heads = {name: spec.head for name, spec in specs.items()}
    labels = (card or {}).get("heads")
    if labels:
        heads = reconcile(heads, labels)
    return {name: head.to_card() for name, head in heads.items()}


def dense_head(
    decoded: Decoded,
    image: Any,
    *,
    name: str,
    spec: HeadSpec,
    start: Mapping[str, Any] | None = None,
) -> Any:
    """Builds an output ``(batch, y, x, channel)``, float32, of the image's size.

    Args:
        decoded: The decoder's features.
        image: The image, for its size, and for the band that the answer starts from.
        name: Name of the head and of the model's output.
        spec: Checked description.
        start: Options of ``StartFrom``; the answer then begins as that band alone, or,
            of an autoencoder, as the mean of it, in its units.
    """
    x = decoded.features
    if spec.dropout:
        x = layers.SpatialDropout2D(spec.dropout, name=f"{name}_dropout")(x)
    x = layers.Conv2D(
        spec.channels,
        decoded.kernel_size,
        padding="same",
        dtype="float32",
        **({} if start is None else _as_started(spec)),
        name=f"{name}_conv",
    )(x)
    if decoded.level:
        x = UpsampleBilinear(2**decoded.level, dtype="float32", name=f"{name}_up")(x)
    if start is None:
        x = spec.finish(x, f"{name}_answer")
        return CropLike(dtype="float32", name=name)([x, image])
    if spec.head.spec.kind == "quantiles":
        middle = middle_quantile(spec.head.size)
        x = Increasing(middle, dtype="float32", name=f"{name}_answer")(x)
    else:
        x = spec.finish(x, f"{name}_answer")
    values = spec.head.size if spec.head.spec.kind == "gaussian" else None
    x = CropLike(dtype="float32", name=f"{name}_crop")([x, image])
    if decoded.from_code:
        scaling = layers.Rescaling(
            list(start["scale"]), list(start["offset"]), dtype="float32", name=name
        )
        return scaling(x)
    started = StartFrom(**start, num_values=values, dtype="float32", name=name)
    return started([x, image])


def _as_started(spec: HeadSpec) -> dict[str, Any]:
    """Initial weights of a head whose answer begins as a band: no correction at all.

    Quantiles begin close to their middle one, and a variance as a small one.
    """
    bias = np.zeros(spec.channels, "float32")
    kind, size = spec.head.spec.kind, spec.head.size
    if kind == "gaussian":
        bias[size:] = _CLOSE[kind]
    if kind == "quantiles":
        bias[:] = _CLOSE[kind]
        bias[middle_quantile(size)] = 0.0
    return {
        "kernel_initializer": "zeros",
        "bias_initializer": initializers.Constant(bias.tolist()),
    }


def pooled_head(features: Any, *, name: str, spec: HeadSpec) -> Any:
    """Builds an output ``(batch, channel)``, float32, from the mean of a feature map.

    Args:
        features: Coarsest level of the backbone ``(batch, y, x, channel)``.
        name: Name of the head and of the model's output.
        spec: Checked description.
    """
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(features)
    if spec.dropout:
        x = layers.Dropout(spec.dropout, name=f"{name}_dropout")(x)
    last = f"{name}_dense" if spec.head.spec.kind in _LAST else name
    x = layers.Dense(spec.channels, dtype="float32", name=last)(x)
    return spec.finish(x, name)
