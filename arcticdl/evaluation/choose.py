"""The evaluation that the task of a head asks for."""

from typing import Any

from arcticdl.evaluation.classification import ClassificationEvaluation
from arcticdl.evaluation.evaluate import SegmentationEvaluation
from arcticdl.evaluation.labels import LabelEvaluation
from arcticdl.evaluation.values import ValueEvaluation
from arcticdl.tasks import Head

Evaluation = SegmentationEvaluation | LabelEvaluation | ValueEvaluation


def evaluation_for(head: Head, **options: Any) -> Evaluation:
    """Returns an empty evaluation of the kind that a head's task is scored by.

    Args:
        head: What the model answers.
        **options: ``bands``, ``num_pictures``, ``num_resamples``, ``seed``.
    """
    if head.form.scored_by == "values":
        return ValueEvaluation(head, **options)
    if head.form.scored_by == "labels":
        return LabelEvaluation(head, **options)
    of_pixels = head.spec.target == "pixel"
    kind = SegmentationEvaluation if of_pixels else ClassificationEvaluation
    return kind(head.classes, colors=head.colors, task=head.task, **options)
