"""The page of a search, and its table as a file."""

import warnings
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from arcticdl import plots
from arcticdl.config.search.section import SearchConfig
from arcticdl.experiment.search.best import best_numbers
from arcticdl.experiment.search.study import About
from arcticdl.experiment.search.table import (
    STATES,
    Row,
    number_text,
    ranked,
    short,
    write_csv,
)
from arcticdl.files import write_text

LEAST = 5
"""Trials that must be done before it is told what mattered."""


def write_page(study: Any, folder: Path, search: SearchConfig, about: About) -> None:
    """Writes ``search.html`` and ``trials.csv``, once a trial has come to an end.

    Args:
        study: The study.
        folder: Its folder.
        search: The search.
        about: What its workers share.
    """
    write_csv(study, about, folder)
    if not best_numbers(study):
        return
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("arcticdl.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context = _context(study, folder, search, about)
    page = environment.get_template("search.html.j2").render(context)
    write_text(folder / "search.html", page)


def _context(
    study: Any, folder: Path, search: SearchConfig, about: About
) -> dict[str, Any]:
    rows, front = ranked(study), best_numbers(study)
    keys = list(search.space)
    best = next(row for row in rows if row.number == front[0])
    counts = {s: sum(row.state == s for row in rows) for s in STATES.values()}
    label = about.objectives[0].name
    figures = [
        {
            "anchor": name,
            "title": _TITLES[name],
            "caption": _CAPTIONS[name].format(label),
            "svg": Markup(plots.figure_svg(figure)),
            "half": name in ("history", "importance"),
        }
        for name, figure in draw_search(study, search, about).items()
    ]
    few = sum(row.state == "done" for row in rows) < LEAST
    return {
        "name": folder.resolve().name,
        "fold": about.fold,
        "figures": figures,
        "notes": [f"What mattered is told once {LEAST} trials are done."] * few,
        "best": [
            {"name": o.name, "text": number_text(v), "better": o.better}
            for o, v in zip(about.objectives, best.values, strict=True)
        ],
        "best_number": best.number,
        "several": len(about.objectives) > 1,
        "front": front,
        "counts": ", ".join(f"{n} {state}" for state, n in counts.items() if n),
        "minutes": f"{sum(row.seconds for row in rows) / 60:.1f}",
        "columns": [o.name for o in about.objectives] + [short(key) for key in keys],
        "rows": [_cells(row, keys, len(about.objectives)) for row in rows],
        "command": f"arcticdl train {folder / 'best.yaml'}",
        "yaml": (folder / "best.yaml").read_text(encoding="utf-8"),
    }


def _cells(row: Row, keys: list[str], num_values: int) -> dict[str, Any]:
    values = [number_text(value) for value in row.values] or ["–"] * num_values
    params = [number_text(row.params[k]) if k in row.params else "–" for k in keys]
    told = {"number": row.number, "state": row.state, "cells": values + params}
    return told | {
        "epochs": row.epochs,
        "seconds": f"{row.seconds:.0f}",
        "reason": row.reason,
    }


_CAPTIONS = {
    "front": "On the dashed line no trial is beaten in every objective; numbers are "
    "trials. Of more than two objectives the first two.",
    "history": "Each trial in the order in which it began, and the best up to it.",
    "importance": "By PED-ANOVA (Watanabe et al. 2023) over the trials that are done: "
    "what sets the better ones apart. Of few trials a hint.",
    "slices": "Trials that are done, dark the first ones and bright the last; the ring "
    "marks the best.",
    "lines": "Each line is a trial that is done, from dark to bright as {} rises.",
}
_TITLES = {
    "front": "Front",
    "history": "History",
    "importance": "What mattered",
    "slices": "Value by value",
    "lines": "Together",
}


def draw_search(study: Any, search: SearchConfig, about: About) -> dict[str, Figure]:
    """Draws what was found, as far as there are trials to tell it.

    Args:
        study: A study with a trial that came to an end.
        search: The search.
        about: What its workers share.

    Returns:
        Name -> figure: of several objectives the front, always the history, and once
        ``LEAST`` trials are done what mattered, and the values of each parameter.
    """
    rows = sorted(ranked(study), key=lambda row: row.number)
    done = [row for row in rows if row.state == "done"]
    label, maximize = about.objectives[0].name, about.objectives[0].better == "more"
    front = best_numbers(study)
    found = {}
    if len(about.objectives) > 1:
        labels = [_named(objective.name) for objective in about.objectives]
        points = {row.number: (row.values[0], row.values[1]) for row in done}
        found["front"] = plots.pareto_front(points, front, (labels[0], labels[1]))
    values = {row.number: row.values[0] for row in done}
    up = {r.number: r.values[0] for r in rows if r.state == "given up" and r.values}
    found["history"] = plots.search_history(values, up, label=label, maximize=maximize)
    if len(done) < LEAST:
        return found
    if importance := find_importance(study):
        found["importance"] = plots.parameter_importance(importance)
    params, scores = [row.params for row in done], list(values.values())
    log = [key for key, parameter in search.space.items() if parameter.log]
    best = list(values).index(front[0])
    found["slices"] = plots.parameter_slices(
        params, scores, label=label, log=log, best=best
    )
    if len(search.space) > 1:
        found["lines"] = plots.parallel_coordinates(
            params, scores, label=label, log=log, maximize=maximize
        )
    return found


def _named(name: str) -> str:
    units = {"seconds": "time of an epoch in s", "parameters": "weights of the network"}
    return units.get(name, name)


def find_importance(study: Any) -> dict[str, float]:
    """How much each parameter explains of the first objective, by PED-ANOVA.

    Args:
        study: The study.

    Returns:
        Key -> share, the most important first; empty where all trials are alike.
    """
    from optuna.importance import get_param_importances

    least = study.directions[0].name == "MINIMIZE"

    def first(trial: Any) -> float:
        return float(trial.values[0]) * (1 if least else -1)  # low is good to it

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator")
            return dict(get_param_importances(study, target=first))
    except (RuntimeError, ValueError):  # too few values differ
        return {}
