"""The table of heads: from features to float32 logits or values, one entry a task.

Dense tasks give a value to each pixel, the others one to each scene or tile. What the
last axis of an output holds depends on the kind of answer:

- ``classes``: one logit a class (softmax for exclusive classes, sigmoid for several).
- ``values``: one number a target.
- ``ordinal``: ``num_classes - 1`` logits of "the class is above k", never rising in k.
- ``quantiles``: one number a quantile, never falling.
- ``gaussian``: means of all targets, then the logarithms of their variances.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from keras import layers

from arcticdl.choices import choose
from arcticdl.models.contracts import Decoded
from arcticdl.models.layers.answers import Increasing, OrderedThresholds, Variance
from arcticdl.models.layers.resampling import UpsampleBilinear
from arcticdl.models.layers.shapes import CropLike


class Answer(NamedTuple):
    """One kind of answer: its option, its channels, and what follows the last layer.

    Attributes:
        option: The option that gives its size, as in ``{"num_classes": 5}``.
        channels: Channels of the last layer, from that option's value.
        finish: Layer after it, from the option's value and a name; or ``None``.
    """

    option: str
    channels: Callable[[Any], int]
    finish: Callable[[Any, str], Any] | None = None


def _float32(layer: type, *args: Any, name: str) -> Any:
    return layer(*args, dtype="float32", name=name)


ANSWERS: dict[str, Answer] = {
    "classes": Answer("num_classes", int),
    "gaussian": Answer(
        "num_outputs",
        lambda n: 2 * n,
        lambda n, name: _float32(Variance, n, name=name),
    ),
    "ordinal": Answer(
        "num_classes",
        lambda n: 1,
        lambda n, name: _float32(OrderedThresholds, n, name=name),
    ),
    "quantiles": Answer(
        "quantiles", len, lambda q, name: _float32(Increasing, name=name)
    ),
    "values": Answer("num_outputs", int),
}
"""Kind of answer -> its form."""


class Head(NamedTuple):
    """One entry of ``HEADS``: whether it answers for each pixel, and how."""

    dense: bool
    answer: str


HEADS: dict[str, Head] = {
    "classification": Head(False, "classes"),
    "dense_gaussian": Head(True, "gaussian"),
    "dense_multilabel": Head(True, "classes"),
    "dense_ordinal": Head(True, "ordinal"),
    "dense_quantile": Head(True, "quantiles"),
    "dense_regression": Head(True, "values"),
    "gaussian": Head(False, "gaussian"),
    "multilabel": Head(False, "classes"),
    "ordinal": Head(False, "ordinal"),
    "quantile": Head(False, "quantiles"),
    "regression": Head(False, "values"),
    "segmentation": Head(True, "classes"),
}
"""Task -> the form of its output."""

DEFAULT_SIZES = {"num_outputs": 1, "quantiles": (0.1, 0.5, 0.9)}


class HeadSpec(NamedTuple):
    """A checked head: its task, the value of its size option, its dropout."""

    task: str
    size: Any
    dropout: float

    @property
    def dense(self) -> bool:
        """Whether it answers for each pixel."""
        return HEADS[self.task].dense


def check_head(name: str, spec: Mapping[str, Any], dropout: float = 0.0) -> HeadSpec:
    """Checks the description of a head.

    Args:
        name: Name of the head.
        spec: ``{"task": ..., "num_classes" | "num_outputs" | "quantiles": ...,
            "dropout": ...}``; the size has the default 1 output, or quantiles 0.1,
            0.5 and 0.9, except for classes.
        dropout: Where the head does not tell its own.

    Raises:
        ValueError: Unknown task or option, no classes, quantiles that are not rising
            within (0, 1), dropout outside [0, 1).
    """
    options = dict(spec)
    task = options.pop("task", "segmentation")
    option = ANSWERS[choose("task", task, HEADS).answer].option
    size = options.pop(option, DEFAULT_SIZES.get(option))
    dropout = options.pop("dropout", dropout)
    if options:
        raise ValueError(
            f"A head of task {task!r} takes 'dropout', {option!r} and 'task'. "
            f"Received: heads[{name!r}]={dict(spec)}."
        )
    _check_size(option, size, least=2 if HEADS[task].answer == "ordinal" else 1)
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}.")
    return HeadSpec(task, size, dropout)


def _check_size(option: str, size: Any, least: int) -> None:
    if option == "quantiles":
        rising = [0.0, *size, 1.0]
        if not size or any(a >= b for a, b in pairwise(rising)):
            raise ValueError(
                "`quantiles` must rise strictly within (0, 1). "
                f"Received: quantiles={size}."
            )
    elif not isinstance(size, int) or size < least:
        raise ValueError(
            f"`{option}` must be an integer of at least {least}. "
            f"Received: {option}={size!r}."
        )


def dense_head(decoded: Decoded, image: Any, *, name: str, spec: HeadSpec) -> Any:
    """Builds an output ``(batch, y, x, channel)``, float32, of the image's size.

    Args:
        decoded: The decoder's features.
        image: The image, for its size.
        name: Name of the head and of the model's output.
        spec: Checked description.
    """
    answer = ANSWERS[HEADS[spec.task].answer]
    x = decoded.features
    if spec.dropout:
        x = layers.SpatialDropout2D(spec.dropout, name=f"{name}_dropout")(x)
    x = layers.Conv2D(
        answer.channels(spec.size),
        decoded.kernel_size,
        padding="same",
        dtype="float32",
        name=f"{name}_conv",
    )(x)
    if decoded.level:
        x = UpsampleBilinear(2**decoded.level, dtype="float32", name=f"{name}_up")(x)
    if answer.finish is not None:
        x = answer.finish(spec.size, f"{name}_answer")(x)
    return CropLike(dtype="float32", name=name)([x, image])


def pooled_head(features: Any, *, name: str, spec: HeadSpec) -> Any:
    """Builds an output ``(batch, channel)``, float32, from the mean of a feature map.

    Args:
        features: Coarsest level of the backbone ``(batch, y, x, channel)``.
        name: Name of the head and of the model's output.
        spec: Checked description.
    """
    answer = ANSWERS[HEADS[spec.task].answer]
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(features)
    if spec.dropout:
        x = layers.Dropout(spec.dropout, name=f"{name}_dropout")(x)
    last = name if answer.finish is None else f"{name}_dense"
    x = layers.Dense(answer.channels(spec.size), dtype="float32", name=last)(x)
    return x if answer.finish is None else answer.finish(spec.size, name)(x)
