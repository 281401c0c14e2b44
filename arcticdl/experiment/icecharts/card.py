"""The robustness card of a run: its AutoICE score against what scenes may suffer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from arcticdl.choices import check_choices
from arcticdl.config import Experiment
from arcticdl.errors import TaskError
from arcticdl.experiment.evaluate import chosen_folds
from arcticdl.experiment.folder import fold_path, load_run, write_json
from arcticdl.experiment.icecharts.score import predictor_of, tested_parts, told_scenes
from arcticdl.plots import house_style, new_figure, write_figure
from arcticdl.progress import track

FILE = "robustness"
_LEAST = -10.0  # below, a score says no more than that it is lost
_LINES = {"SIC": ("#0072b2", "o"), "SOD": ("#d55e00", "s"), "FLOE": ("#009e73", "^")}


def robustness_card(
    run: str | Path, *, fold: str | int = "all", damages: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """Scores a run's folds on their held-out scenes, damaged in several ways.

    Args:
        run: Run folder whose heads are called ``SIC``, ``SOD`` and ``FLOE``.
        fold: Number, or ``all`` that are trained.
        damages: Names of ``evaluation.autoice.damage.DAMAGES``; ``None``: all.

    Returns:
        ``whole``: the score of the scenes as they are, ``num_scenes`` of them;
        ``simulated``: whether they are; ``damages``: by name ``about``,
        ``unit`` and ``levels``, a list of ``level`` and ``official``; ``left_out``:
        those for which the run has no bands. It is written to ``robustness.json``, and
        drawn as ``robustness.png``, in the run folder.

    Raises:
        ValueError: No such damage.
        TaskError: The run has no concentration, from which wind and melt are told.
    """
    from arcticdl.evaluation.autoice.damage import DAMAGES, applies

    names = tuple(DAMAGES) if damages is None else damages
    check_choices("damages", names or [None], DAMAGES)
    folder, config = load_run(run)
    if "SIC" not in config.each_head:
        raise TaskError(
            "The robustness card needs a head named SIC, since wind changes water and "
            f"melt changes ice. Received: {sorted(config.each_head)}."
        )
    numbers = chosen_folds(folder, fold)
    store, parts = tested_parts(folder, config, numbers)
    kept = [name for name in names if applies(DAMAGES[name], store.bands)]
    models = {n: fold_path(folder, n) / "model.keras" for n in numbers}
    scores, num_scenes = _scores(config, store, parts, models, kept)
    found: dict[str, Any] = {
        "folds": numbers,
        "num_scenes": num_scenes,
        "simulated": _is_simulated(store),
        "whole": scores[None, 0.0],
        "damages": {name: _levels(name, scores) for name in kept},
        "left_out": [name for name in names if name not in kept],
    }
    write_json(folder / f"{FILE}.json", found)
    write_figure(draw_card(found), folder / f"{FILE}.png")
    return found


def _scores(
    config: Experiment,
    store: Any,
    parts: Mapping[int, np.ndarray],
    models: Mapping[int, Path],
    names: Sequence[str],
) -> tuple[dict[Any, dict[str, Any]], int]:
    """The score of each damage and level, with the scenes as they are; their number."""
    from arcticdl.evaluation.autoice.damage import DAMAGES
    from arcticdl.evaluation.autoice.score import score_tallies
    from arcticdl.evaluation.autoice.tally import tally_charts
    from arcticdl.labelling.unaided import for_tests

    steps: list[tuple[str | None, float]] = [(None, 0.0)]
    steps += [(name, level) for name in names for level in DAMAGES[name].levels]
    tallies: dict[Any, dict[str, Any]] = {step: {} for step in steps}
    options: Any = {"overlap_px": config.predict.overlap_px, "progress": False}
    for number, test in parts.items():
        predictor = predictor_of(config, models[number])
        for name, level in track(steps, f"fold {number}"):
            change = None if name is None else (DAMAGES[name], level)
            tallies[name, level] |= tally_charts(
                predictor, for_tests(store), test, change=change, **options
            )
    scored = {
        step: score_tallies(each, num_resamples=1)["official"]
        for step, each in tallies.items()
    }
    return scored, len(tallies[None, 0.0])


def _levels(name: str, scores: Mapping[Any, Any]) -> dict[str, Any]:
    from arcticdl.evaluation.autoice.damage import DAMAGES

    damage = DAMAGES[name]
    levels = [{"level": at, "official": scores[name, at]} for at in damage.levels]
    return {"about": damage.about, "unit": damage.unit, "levels": levels}


def _is_simulated(store: Any) -> bool:
    told = [store.manifest[c] for c in ("sensor", "service") if c in store.manifest]
    return any(text.astype(str).str.contains("simulated").any() for text in told)


def describe_card(found: Mapping[str, Any]) -> list[str]:
    """The lines that a person reads: the combined score, whole and at each level.

    Args:
        found: From ``robustness_card``.
    """
    lines = [f"{'as they are':>18} {_told(found['whole'])}"]
    for name, one in found["damages"].items():
        parts = [
            f"{_told(each['official'])} ({each['level']:g} {one['unit']})"
            if one["unit"]
            else _told(each["official"])
            for each in one["levels"]
        ]
        lines.append(f"{name:>18} {', '.join(parts)}  {one['about']}")
    lines += [f"{name:>18} left out: no such bands" for name in found["left_out"]]
    return lines


def _told(official: Mapping[str, Any]) -> str:
    value = official["combined"]
    return "none" if value is None else f"{value:.1f}"


def draw_card(found: Mapping[str, Any]) -> Figure:
    """Draws the scores of each chart against the levels of each damage.

    Args:
        found: From ``robustness_card``, with one damage at least.
    """
    shown = found["damages"]
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    with house_style():
        figure = new_figure((3.1 * columns, 2.7 * rows + 0.7))
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for ax in axes.ravel()[len(shown) :]:
            ax.axis("off")
        for ax, (name, one) in zip(axes.ravel(), shown.items(), strict=False):
            levels = [f"{each['level']:g}" for each in one["levels"]]
            ticks = ["as is", *(levels if one["unit"] else ["without"])]
            for chart, (color, marker) in _LINES.items():
                values = [found["whole"][chart]]
                values += [each["official"][chart] for each in one["levels"]]
                if all(value is not None for value in values):
                    height = np.maximum(values, _LEAST)
                    ax.plot(height, marker=marker, color=color, label=chart)
            ax.set_xticks(range(len(ticks)), ticks)
            ax.set_title(name)
            ax.set_xlabel(one["about"] + (f" ({one['unit']})" if one["unit"] else ""))
        for row in axes[:, 0]:
            row.set_ylabel(f"score (%), at least {_LEAST:g}")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=3)
        figure.suptitle("What the score loses", x=0.01, ha="left", fontweight="bold")
        caption = f"{told_scenes(found['num_scenes'])}, damaged"
        if found["simulated"]:
            caption += " · simulated: it says nothing about real ice"
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8.5)
    return figure
