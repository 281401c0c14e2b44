"""The ``heads`` section: what the network answers, one entry a label."""

from typing import Annotated, Any

from pydantic import Field, PositiveFloat, model_validator

from arcticdl.config.labels import LabelConfig
from arcticdl.config.loss import SUM, LossConfig, MetricConfig
from arcticdl.config.names import TASK
from arcticdl.config.section import Section


class HeadConfig(Section):
    """One head of the network; it bears the name of the label that it learns."""

    task: Annotated[str, TASK] | None = Field(
        None, description="What it answers; null: what its label is for."
    )
    loss: LossConfig | None = Field(
        None, description="What training makes small; null: the task's own."
    )
    metrics: tuple[MetricConfig, ...] | None = Field(
        None, description="Scores that are logged; null: those of the task."
    )
    weight: PositiveFloat = Field(1.0, description="Weight of its loss in the sum.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Its size, such as quantiles, and dropout."
    )

    @model_validator(mode="after")
    def _choices_fit_the_task(self) -> "HeadConfig":
        if self.task is not None:
            check_fit(self.task, self.loss, self.metrics)
        return self


def check_fit(
    task: str, loss: LossConfig | None, metrics: tuple[MetricConfig, ...] | None
) -> None:
    """Refuses a loss or a metric that does not fit a task.

    Raises:
        ValueError: One does not; the message holds those that do.
    """
    from arcticdl.losses.table import LOSSES
    from arcticdl.metrics.table import METRICS
    from arcticdl.tasks import check_loss, check_metric

    for part in _parts(loss):
        check_loss(task, part.name, tuple(LOSSES.entries))
    for metric in metrics or ():
        check_metric(task, metric.name, tuple(METRICS.entries))


def _parts(loss: LossConfig | None) -> list[LossConfig]:
    """A loss, or those of a sum, and of sums within it."""
    if loss is None:
        return []
    parts = [inner for part in loss.parts for inner in _parts(part)]
    return parts if loss.name == SUM else [loss]


def tasks_of(kind: str, target: str = "pixel") -> list[str]:
    """Names of the tasks that a label can teach, sorted.

    Args:
        kind: What it holds: ``"boxes"``, ``"class"``, ``"labels"``, ``"shares"`` or
            ``"value"``.
        target: What it holds one of: ``"image"``, ``"object"`` or ``"pixel"``.

    Example:
        >>> tasks_of("class"), tasks_of("class", "image")
        (['dense_ordinal', 'segmentation'], ['classification', 'ordinal'])
    """
    from arcticdl.tasks import TASKS

    return sorted(
        name
        for name, task in TASKS.items()
        if (task.target, task.label) == (target, kind)
    )


_HELD = {
    "boxes": "a box",
    "class": "a class",
    "labels": "a yes or no to each class",
    "shares": "what each class covers of the polygon",
    "value": "a quantity, without `classes`,",
}


def check_task(name: str, task: str, label: LabelConfig) -> None:
    """Refuses a task that needs another kind of label.

    Args:
        name: Name of the label.
        task: Name of the task.
        label: The label.

    Raises:
        ValueError: It does; the message holds the tasks of this kind of label.
    """
    fitting = tasks_of(label.kind, label.target)
    if task not in fitting:
        raise ValueError(
            f"the task of {name!r} must be one of {fitting}, since the label holds "
            f"{_HELD[label.kind]} for each {label.target}. Received: task={task!r}"
        )
