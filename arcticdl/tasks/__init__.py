"""Tasks: the one record of what a head answers, seen by every step of the house.

A label says what a store holds, a head says what a model answers, and the task joins
them: which kind of label it learns from, how many channels its head has, how its
answer is read, written and drawn, which losses and metrics fit, and what it refuses.
Builders, cards, feeds, maps, evaluation, export, reports and configurations look here.
NumPy only: losses and metrics stand in it by name.
"""

from arcticdl.tasks.answers import FORMS, SCORES, Form, Score
from arcticdl.tasks.head import Conformal, Head, read_head, reconcile
from arcticdl.tasks.outputs import Output, entropy
from arcticdl.tasks.table import TASKS, Task, check_loss, check_metric, label_task

__all__ = [
    "FORMS",
    "SCORES",
    "TASKS",
    "Conformal",
    "Form",
    "Head",
    "Output",
    "Score",
    "Task",
    "check_loss",
    "check_metric",
    "entropy",
    "label_task",
    "read_head",
    "reconcile",
]
