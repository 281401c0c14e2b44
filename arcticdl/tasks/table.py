"""The table of tasks: which label each learns from, its answer, losses and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arcticdl.choices import check_choice
from arcticdl.tasks.answers import FORMS, Form
from arcticdl.tasks.outputs import middle_quantile

CLASS, LABELS, VALUE, BOXES = "class", "labels", "value", "boxes"
SHARES = "shares"
"""Kinds of label: one code of several, a yes or no a channel, a quantity, objects; what
each class covers of a polygon."""

_OF_CLASSES = (
    "BootstrappedCrossentropy",
    "Crossentropy",
    "EarthMover",
    "Focal",
    "Hinge",
    "SymmetricCrossentropy",
)
_OF_REGIONS = (
    "Boundary",
    "CenterlineDice",
    "Dice",
    "DiceCrossentropy",
    "DiceFocal",
    "FocalTversky",
    "Jaccard",
    "LovaszSoftmax",
    "Tversky",
)
_OF_LABELS = ("Crossentropy", "Focal")
_OF_LABEL_REGIONS = ("Dice", "FocalTversky", "Jaccard", "Tversky")
_OF_VALUES = ("Huber", "Interval", "LogCosh", "MeanAbsoluteError", "MeanSquaredError")
_CLASS_METRICS = (
    "Accuracy",
    "Brier",
    "CalibrationError",
    "F1",
    "Kappa",
    "Matthews",
    "MeanIoU",
    "PRArea",
    "Precision",
    "ROCArea",
    "Recall",
    "TopKAccuracy",
)
_ORDINAL_METRICS = (
    "Accuracy",
    "F1",
    "Kappa",
    "Matthews",
    "MeanIoU",
    "Precision",
    "Recall",
)
_LABEL_METRICS = ("LabelF1", "LabelIoU")
_OF_VELOCITIES = ("MeanSquaredError", "Huber", "LogCosh", "MeanAbsoluteError")
_OF_BOXES = ("CentreDetection", "AnchorDetection")
_OF_SHARES = ("Proportion", "DominanceCrossentropy")
_VALUE_METRICS = ("Bias", "MAE", "R2", "RMSE")


@dataclass(frozen=True)
class Task:
    """What one kind of head learns, answers and is judged by.

    Attributes:
        name: Name in ``TASKS``.
        target: ``"pixel"``, ``"image"`` or ``"object"``: what one answer is of.
        label: Kind of label: ``"class"``, ``"labels"``, ``"value"``, ``"boxes"`` or
            ``"shares"``.
        kind: Name of its form in ``arcticdl.tasks.answers.FORMS``.
        losses: Names of the losses that fit, the default first.
        metrics: Names of the metrics that fit.
        shown_metrics: Of these the ones that training logs unless told.
    """

    name: str
    target: str
    label: str
    kind: str
    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    shown_metrics: tuple[str, ...]

    @property
    def form(self) -> Form:
        """How its answer is read."""
        return FORMS[self.kind]

    @property
    def dense(self) -> bool:
        """Whether it answers for each pixel."""
        return self.target == "pixel"

    @property
    def oriented(self) -> bool:
        """Whether it answers with boxes that may be turned."""
        return self.name == "oriented_detection"

    def loss_options(self, size: Any) -> dict[str, Any]:
        """Options that its losses need, from the size of the head."""
        if self.kind == "labels":
            return {"multilabel": True}
        if self.kind == "boxes":
            return {"oriented": self.oriented}
        return {"quantiles": tuple(size)} if self.kind == "quantiles" else {}

    def metric_options(self, size: Any) -> dict[str, Any]:
        """Options that its metrics need, from the size of the head."""
        if self.kind == "ordinal":
            return {"num_classes": size, "ordinal": True}
        if self.kind == "classes":
            return {"num_classes": max(size, 2)}
        if self.kind == "labels":
            return {"num_classes": size}
        if self.kind == "gaussian":
            return {"channels": (0, size)}
        if self.kind == "quantiles":
            middle = middle_quantile(size)
            return {"channels": (middle, middle + 1)}
        return {}


def _tasks(dense: str, pooled: str, label: str, kind: str, **lists: Any) -> list[Task]:
    """The dense task and the pooled one of a kind of answer."""
    losses, regions = lists["losses"], lists.get("regions", ())
    default = lists.get("default", losses[0])
    every = sorted({*losses, *regions} - {default})
    metrics, shown = lists["metrics"], lists["shown"]
    return [
        Task(dense, "pixel", label, kind, (default, *every), metrics, (shown[0],)),
        Task(pooled, "image", label, kind, tuple(losses), metrics, (shown[-1],)),
    ]


def _of_boxes(*names: str) -> list[Task]:
    """Tasks that find objects; their scores need whole scenes, and no batch has one."""
    return [Task(n, "object", BOXES, BOXES, _OF_BOXES, (), ()) for n in names]


TASKS: dict[str, Task] = {
    task.name: task
    for pair in (
        _tasks(
            "segmentation",
            "classification",
            CLASS,
            "classes",
            losses=("Crossentropy", *(n for n in _OF_CLASSES if n != "Crossentropy")),
            regions=_OF_REGIONS,
            default="DiceFocal",
            metrics=_CLASS_METRICS,
            shown=("MeanIoU", "Accuracy"),
        ),
        _tasks(
            "dense_multilabel",
            "multilabel",
            LABELS,
            "labels",
            losses=_OF_LABELS,
            regions=_OF_LABEL_REGIONS,
            metrics=_LABEL_METRICS,
            shown=("LabelIoU", "LabelF1"),
        ),
        _tasks(
            "dense_ordinal",
            "ordinal",
            CLASS,
            "ordinal",
            losses=("CumulativeOrdinal",),
            metrics=_ORDINAL_METRICS,
            shown=("MeanIoU", "Accuracy"),
        ),
        _tasks(
            "dense_regression",
            "regression",
            VALUE,
            "values",
            losses=_OF_VALUES,
            metrics=_VALUE_METRICS,
            shown=("RMSE",),
        ),
        _tasks(
            "dense_quantile",
            "quantile",
            VALUE,
            "quantiles",
            losses=("Quantile",),
            metrics=_VALUE_METRICS,
            shown=("RMSE",),
        ),
        _tasks(
            "dense_gaussian",
            "gaussian",
            VALUE,
            "gaussian",
            losses=("GaussianLikelihood",),
            metrics=_VALUE_METRICS,
            shown=("RMSE",),
        ),
        # A class a pixel is answered, and scored by polygon: no batch tells one whole.
        [Task("dense_shares", "pixel", SHARES, SHARES, _OF_SHARES, (), ())],
        # Its losses compare velocities, and what metrics would score is sampled later.
        [Task("dense_ensemble", "pixel", VALUE, "members", _OF_VELOCITIES, (), ())],
        _of_boxes("detection", "oriented_detection"),
    )
    for task in pair
}
"""Name -> task."""


def label_task(target: str, label: str, *, oriented: bool = False) -> str:
    """Name of the task that a label is for unless a head says otherwise.

    Args:
        target: ``"pixel"``, ``"image"`` or ``"object"``.
        label: ``"class"``, ``"labels"``, ``"value"``, ``"boxes"`` or ``"shares"``.
        oriented: Whether its boxes may be turned.

    Example:
        >>> label_task("image", "value")
        'regression'
    """
    return next(
        task.name
        for task in TASKS.values()
        if (task.target, task.label, task.oriented) == (target, label, oriented)
    )


def check_loss(task: str, loss: str, known: Sequence[str]) -> None:
    """Refuses a loss of this package that does not fit a task.

    Args:
        task: Name of the task.
        loss: Name of the loss.
        known: This package's losses; a plug-in's may fit any task.

    Raises:
        ValueError: It does not fit.
    """
    if loss in _OF_SHARES and TASKS[task].label == CLASS:
        raise ValueError(
            f"The loss {loss} learns what each class covers of a polygon, and the task "
            f"{task} has a class a pixel. Received: loss={loss!r}. Give a label with "
            "`shares: true`, whose task is dense_shares, or choose another loss."
        )
    if loss in known:
        check_choice(f"loss of task {task!r}", loss, TASKS[task].losses)


def check_metric(task: str, metric: str, known: Sequence[str]) -> None:
    """Refuses a metric of this package that does not fit a task.

    Args:
        task: Name of the task.
        metric: Name of the metric.
        known: This package's metrics; a plug-in's may fit any task.

    Raises:
        ValueError: It does not fit.
    """
    if metric in known:
        check_choice(f"metric of task {task!r}", metric, TASKS[task].metrics)
