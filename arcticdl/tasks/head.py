"""Heads: what a model answers, read from cards and builders, joined with labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from arcticdl.choices import choose
from arcticdl.errors import TaskError
from arcticdl.tasks.answers import Form
from arcticdl.tasks.table import BOXES, CLASS, LABELS, SHARES, TASKS, VALUE, Task

DEFAULT_SIZES = {"num_members": 8, "num_outputs": 1, "quantiles": (0.1, 0.5, 0.9)}
"""Sizes of heads that need not be told."""


@dataclass(frozen=True)
class Conformal:
    """What makes a head's sets or intervals cover as promised.

    Attributes:
        coverage: Share of the scored pixels of a new unit that they shall hold, on
            average over units.
        margin: Of classes the largest shortfall of a probability to 1 within a set; of
            values what widens an interval on either side, in the units of its scale.
        num_units: Units that it was calibrated on.
        unit: What a unit is: the column of the manifest that names it.
    """

    coverage: float
    margin: float
    num_units: int
    unit: str


@dataclass(frozen=True)
class Head:
    """What one head answers: the entry of a card, and what follows from it.

    Attributes:
        task: Name in ``TASKS``.
        size: Value of the form's option: number of classes or outputs, or quantiles.
        classes: Names of the classes.
        colors: ``#rrggbb`` of each class, or empty.
        outputs: Names of the values, ``("",)`` of a single one.
        units: CF units of values, or empty.
        conformal: What its sets or intervals are calibrated by, if they are.
    """

    task: str
    size: Any
    classes: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("",)
    units: str = ""
    conformal: Conformal | None = None

    @property
    def margin(self) -> float | None:
        """The margin of its sets or intervals, where they are calibrated."""
        return None if self.conformal is None else self.conformal.margin

    @property
    def spec(self) -> Task:
        """The task."""
        return TASKS[self.task]

    @property
    def form(self) -> Form:
        """How its answer is read."""
        return self.spec.form

    def to_card(self) -> dict[str, Any]:
        """The head as plain JSON values."""
        card: dict[str, Any] = {"task": self.task, "classes": list(self.classes)}
        size = list(self.size) if isinstance(self.size, Sequence) else self.size
        card |= {"colors": list(self.colors), self.form.option: size}
        if self.spec.label == VALUE:
            card |= {"outputs": list(self.outputs), "units": self.units}
        if self.conformal is not None:
            card["conformal"] = asdict(self.conformal)
        return card

    def chosen(self, asked: Sequence[str] | None) -> tuple[str, ...]:
        """Outputs to write, in the order of the table.

        A head that has none of what is asked, but for the spread of members, shows its
        chief output, so that a regression stands beside a class map in one call.

        Args:
            asked: Names of outputs; ``None``: those the form shows.
        """
        if asked is None:
            return self.form.shown
        names = [name for name in self.form.outputs if name in asked]
        chief = next(iter(self.form.outputs))
        told = [n for n in names if self.form.outputs[n].reads == "answer"]
        return tuple(names) if told else (chief, *names)


def read_head(name: str, entry: Mapping[str, Any]) -> Head:
    """Reads a head from a card, or from what a builder is given.

    Args:
        name: Name of the head, for messages.
        entry: ``{"task": ..., "classes": ..., "colors": ..., "outputs": ...,
            "units": ...}`` with ``num_classes``, ``num_outputs``, ``quantiles`` or
            ``num_members``, which default to the number of ``classes``, the number of
            ``outputs``, 0.1, 0.5 and 0.9, and 8.

    Raises:
        ValueError: Unknown task or option, no size, or a size that is none.

    Example:
        >>> read_head("ice", {"task": "segmentation", "classes": ["sea", "ice"]}).size
        2
    """
    options = dict(entry)
    task = choose("task", options.pop("task", "segmentation"), TASKS)
    option = task.form.option
    classes = tuple(map(str, options.pop("classes", ()) or ()))
    colors = tuple(options.pop("colors", ()) or ())
    outputs = tuple(map(str, options.pop("outputs", ()) or ()))
    units = str(options.pop("units", "") or "")
    conformal = options.pop("conformal", None)
    told = len(classes) if option == "num_classes" else len(outputs)
    size = options.pop(option, None)
    if size is None:
        counted = option in ("num_classes", "num_outputs")
        size = (told if counted else 0) or DEFAULT_SIZES.get(option)
    if options:
        raise ValueError(
            f"A head of task {task.name!r} takes {option!r}, 'classes', 'colors', "
            "'dropout', 'outputs', 'task' and 'units'. "
            f"Received: heads[{name!r}]={dict(entry)}."
        )
    size = _checked_size(task, name, size, classes)
    if task.label != VALUE and not classes:
        count = max(size, 2) if task.kind == "classes" else size  # one logit, of two
        classes = tuple(f"class_{code}" for code in range(count))
    if task.label == VALUE and len(outputs) != (size if isinstance(size, int) else 1):
        outputs = (
            tuple(map(str, range(size)))
            if size != 1 and option == ("num_outputs")
            else ("",)
        )
    calibrated = None if conformal is None else Conformal(**conformal)
    return Head(task.name, size, classes, colors, outputs or ("",), units, calibrated)


def _checked_size(task: Task, name: str, size: Any, classes: Sequence[str]) -> Any:
    option = task.form.option
    if option == "quantiles":
        rising = [0.0, *(size or ()), 1.0]
        if not size or any(a >= b for a, b in pairwise(rising)):
            raise ValueError(
                "`quantiles` must rise strictly within (0, 1). "
                f"Received: quantiles={size}."
            )
        return tuple(float(q) for q in size)
    least = 2 if task.kind in ("members", "ordinal", SHARES) else 1
    if not isinstance(size, int) or isinstance(size, bool) or size < least:
        raise ValueError(
            f"`{option}` must be an integer of at least {least}. "
            f"Received: {option}={size!r}."
        )
    binary = task.kind == "classes" and size == 1 and len(classes) == 2
    if option == "num_classes" and classes and len(classes) != size and not binary:
        raise ValueError(
            f"`classes` must name each of the classes. Received: heads[{name!r}] with "
            f"num_classes={size}, classes={list(classes)}."
        )
    return size


def reconcile(heads: Mapping[str, Head], labels: Mapping[str, Any]) -> dict[str, Head]:
    """Joins the heads of a model with what a feed's card says of the labels.

    Args:
        heads: Name -> head, in the order of the outputs.
        labels: The card's ``heads``: name -> entry, whose task is the label's own.

    Returns:
        The heads with the labels' class names, colours and units; a single head takes
        the name of its single label.

    Raises:
        TaskError: A head has no label of its name, or does not fit it.
    """
    if len(heads) == len(labels) == 1:
        heads = {next(iter(labels)): next(iter(heads.values()))}
    joined = {}
    for name, head in heads.items():
        if name not in labels:
            raise TaskError(
                f"Each head must bear the name of its label, one of {sorted(labels)}. "
                f"Received: a head {name!r}."
            )
        joined[name] = _fit_label(name, head, _read_label(name, head, labels[name]))
    return joined


def _read_label(name: str, head: Head, entry: Mapping[str, Any]) -> Head:
    """Reads what a card says of a label; what it leaves open is as the head has it."""
    task = TASKS.get(str(entry.get("task")))
    named = entry.get("classes") or entry.get("outputs")
    if named or task is None or task.form.option != head.form.option:
        return read_head(name, entry)
    told = {head.form.option: head.size} | dict(entry) | {"classes": head.classes}
    return read_head(name, told)


def _fit_label(name: str, head: Head, label: Head) -> Head:
    one, other = head.spec, label.spec
    if (one.target, one.label) != (other.target, other.label):
        fitting = sorted(
            task.name
            for task in TASKS.values()
            if (task.target, task.label) == (other.target, other.label)
        )
        raise TaskError(
            f"A head must fit its label: {name!r} holds "
            f"{_held(other)}, for the tasks {fitting}. "
            f"Received: task={head.task!r}."
        )
    if one.label != VALUE:
        binary = one.kind == "classes" and head.size == 1 and len(label.classes) == 2
        if head.size != len(label.classes) and not binary:
            raise TaskError(
                f"A head must have a channel for each class of its label: {name!r} has "
                f"{len(label.classes)} classes, {list(label.classes)}. Received: "
                f"num_classes={head.size}."
            )
        return replace(head, classes=label.classes, colors=label.colors)
    names = label.outputs if len(label.outputs) == len(head.outputs) else head.outputs
    return replace(head, outputs=names, units=head.units or label.units)


def _held(task: Task) -> str:
    """What a label of a task holds, in words."""
    one = _KINDS[task.label]
    return one if task.label == BOXES else f"{one} a {task.target}"


_KINDS = {
    BOXES: "boxes of objects",
    CLASS: "one class",
    LABELS: "a yes or no for each class",
    SHARES: "what each class covers of the polygon of",
    VALUE: "a number",
}
