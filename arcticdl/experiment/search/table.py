"""The trials of a study as lines, as a table, and as a file."""

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from arcticdl.experiment.search.best import best_numbers
from arcticdl.experiment.search.study import About
from arcticdl.files import write_text

STATES = {
    "COMPLETE": "done",
    "PRUNED": "given up",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
"""How the states of Optuna are told."""


class Row(NamedTuple):
    """A trial.

    Attributes:
        number: From 0.
        state: One of ``STATES``.
        values: What is sought; empty unless it is done, the last score of one that was
            given up.
        params: Key -> value, choices by their text.
        epochs: Epochs that were trained.
        seconds: Seconds of these epochs.
        reason: Why it failed or was given up.
    """

    number: int
    state: str
    values: list[float]
    params: dict[str, Any]
    epochs: int
    seconds: float
    reason: str


def list_trials(study: Any) -> list[Row]:
    """The trials of a study that were begun, by number."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "WAITING":
            continue
        told, state = trial.user_attrs, STATES[trial.state.name]
        epochs = told.get("epochs", len(trial.intermediate_values))
        rows.append(
            Row(
                trial.number,
                state,
                list(trial.values or []),
                dict(trial.params),
                epochs,
                told.get("seconds", 0.0),
                told.get("reason", ""),
            )
        )
    return rows


def number_text(value: Any) -> str:
    """A value as tables show it.

    Example:
        >>> number_text(0.123456), number_text(24_434_246.0), number_text("resnet18")
        ('0.1235', '24,434,246', 'resnet18')
    """
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) >= 1000
        return f"{value:,.0f}" if whole else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def say_trial(study: Any, about: About, number: int, total: int) -> None:
    """Says on a line what came of a trial, and which is the best so far."""
    row = next(row for row in list_trials(study) if row.number == number)
    done = sum(r.state in ("done", "given up", "failed") for r in list_trials(study))
    told = ", ".join(
        f"{o.name} {number_text(v)}"
        for o, v in zip(about.objectives, row.values, strict=False)
    )
    words = [row.state if row.state != "done" else "", told, row.reason]
    said = ": ".join(word for word in words if word)
    best = best_numbers(study)
    which = f"; best: trial {', '.join(map(str, best[:5]))}" if best else ""
    spent = f" ({row.epochs} epochs, {row.seconds:.0f} s)" if row.epochs else ""
    _say(f"[{done}/{total}] trial {number}: {said}{spent}{which}")


def _say(line: str) -> None:
    Console(highlight=False, markup=False, soft_wrap=True).print(line)


def say_trials(study: Any, about: About, folder: Path) -> None:
    """Prints the table of a study's trials, the best first.

    Args:
        study: The study.
        about: What its workers share.
        folder: Folder of the study.
    """
    rows = ranked(study)
    keys = list(dict.fromkeys(key for row in rows for key in row.params))
    names = [objective.name for objective in about.objectives]
    table = Table(box=None, pad_edge=False)
    for title in ("trial", "state", *names, *map(short, keys), "epochs", "seconds"):
        side: Any = "left" if title == "state" else "right"
        table.add_column(title, justify=side, overflow="fold")
    for row in rows:
        values = [number_text(v) for v in row.values] or [""] * len(names)
        params = [number_text(row.params[k]) if k in row.params else "" for k in keys]
        table.add_row(str(row.number), row.state, *values, *params,
                      str(row.epochs), f"{row.seconds:.0f}")  # fmt: skip
    width = None if Console().is_terminal else 160
    Console(highlight=False, markup=False, width=width).print(table)
    for row in rows:
        if row.state == "failed":
            _say(f"trial {row.number} failed: {row.reason}")
    counts = {s: sum(r.state == s for r in rows) for s in STATES.values()}
    told = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    _say(f"{folder}: {told or 'no trials'}")


def short(key: str) -> str:
    """A key's last words, as the head of a column.

    Example:
        >>> short("model.options.backbone_options.width"), short("model.backbone")
        ('width', 'backbone')
    """
    return key.rpartition(".")[2]


def ranked(study: Any) -> list[Row]:
    """Trials, those that are best first, then by the first objective."""
    from optuna.study import StudyDirection

    best = {number: place for place, number in enumerate(best_numbers(study))}
    sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
    order = list(STATES.values())

    def place(row: Row) -> tuple[Any, ...]:
        value = sign * row.values[0] if row.values else 0.0
        first = best.get(row.number, len(best))
        return (first, order.index(row.state), value, row.number)

    return sorted(list_trials(study), key=place)


def write_csv(study: Any, about: About, folder: Path) -> None:
    """Writes ``trials.csv``: a line a trial, its values and its parameters."""
    rows = list_trials(study)
    keys = list(dict.fromkeys(key for row in rows for key in row.params))
    names = [objective.name for objective in about.objectives]
    file = io.StringIO(newline="")
    table = csv.writer(file)
    table.writerow(["trial", "state", *names, *keys, "epochs", "seconds", "reason"])
    for row in rows:
        values: list[Any] = [*row.values] or [""] * len(names)
        params = [row.params.get(key, "") for key in keys]
        table.writerow([row.number, row.state, *values, *params,
                        row.epochs, round(row.seconds, 1), row.reason])  # fmt: skip
    write_text(folder / "trials.csv", file.getvalue())
