"""The ``heads`` section: what the network answers, one entry a label."""

from typing import Annotated, Any

from pydantic import Field, PositiveFloat, model_validator

from arcticdl.config.loss import LossConfig
from arcticdl.config.metrics import MetricConfig
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

    if loss is not None:
        check_loss(task, loss.name, tuple(LOSSES.entries))
    for metric in metrics or ():
        check_metric(task, metric.name, tuple(METRICS.entries))


def tasks_of(kind: str) -> list[str]:
    """Names of the tasks that a map of labels can teach, sorted.

    Args:
        kind: What a pixel of it holds: ``"class"`` or ``"value"``.

    Example:
        >>> tasks_of("class")
        ['dense_ordinal', 'segmentation']
    """
    from arcticdl.tasks import TASKS

    return sorted(n for n, task in TASKS.items() if task.dense and task.label == kind)


def check_task(label: str, task: str, kind: str) -> None:
    """Refuses a task that needs another kind of label.

    Args:
        label: Name of the label.
        task: Name of the task.
        kind: As for ``tasks_of``.

    Raises:
        ValueError: It does; the message holds the tasks of this kind of label.
    """
    if task not in tasks_of(kind):
        why = (
            "is a map that has `classes`"
            if kind == "class"
            else "is a quantity, without `classes`"
        )
        raise ValueError(
            f"the task of {label!r} must be one of {tasks_of(kind)}, since the label "
            f"{why}. Received: task={task!r}"
        )
