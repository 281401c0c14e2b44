"""The evaluation that the task of a head asks for."""

from collections.abc import Mapping
from typing import Any

from arcticdl.evaluation.autoice.shares import SharesEvaluation
from arcticdl.evaluation.classification import ClassificationEvaluation
from arcticdl.evaluation.evaluate import SegmentationEvaluation
from arcticdl.evaluation.labels import LabelEvaluation
from arcticdl.evaluation.objects.detections import DetectionEvaluation
from arcticdl.evaluation.values import ValueEvaluation
from arcticdl.tasks import TASKS, Head, read_head

Evaluation = (
    SegmentationEvaluation | LabelEvaluation | SharesEvaluation | ValueEvaluation
)


def evaluation_for(head: Head, **options: Any) -> Evaluation:
    """Returns an empty evaluation of a head that answers with maps, or of images.

    Args:
        head: What the model answers.
        **options: ``bands``, ``num_pictures``, ``num_resamples``, ``seed``.
    """
    if head.form.scored_by == "values":
        return ValueEvaluation(head, **options)
    if head.form.scored_by == "labels":
        return LabelEvaluation(head, **options)
    if head.form.scored_by == "shares":
        return SharesEvaluation(head, **options)
    of_pixels = head.spec.target == "pixel"
    kind = SegmentationEvaluation if of_pixels else ClassificationEvaluation
    return kind(head.classes, colors=head.colors, task=head.task, **options)


def empty_evaluation(head: Head) -> Evaluation | DetectionEvaluation:
    """Returns an empty evaluation of any head, to merge results into."""
    if head.form.scored_by == "boxes":
        return DetectionEvaluation(head)
    return evaluation_for(head)


def head_of(result: Mapping[str, Any]) -> Head:
    """The head that a result is of; results of old say no task and are class maps."""
    entry = {"task": result.get("task", "segmentation")}
    keys = ("classes", "colors", "outputs", "units")
    entry |= {key: result[key] for key in keys if result.get(key)}
    levels = [c["level"] for c in result.get("coverage") or []]
    if levels and TASKS[entry["task"]].form.option == "quantiles":
        entry["quantiles"] = levels
    return read_head("", entry)
