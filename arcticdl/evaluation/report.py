"""The report of a run: one HTML file that needs nothing but a browser."""

import os
import re
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape

from arcticdl import plots
from arcticdl.evaluation.baselines.names import CEILING
from arcticdl.evaluation.objects.detections import object_panels
from arcticdl.evaluation.panels import as_picture, choose_scenes, choose_tiles
from arcticdl.evaluation.pool import results_by_head
from arcticdl.evaluation.restored.shown import shown_units, title_of
from arcticdl.evaluation.run_folder import RunFolder, read_run
from arcticdl.evaluation.split_panel import split_rows
from arcticdl.evaluation.strata.bias import describe_bias
from arcticdl.evaluation.strata.scenes import GAP_SUFFIX
from arcticdl.files import write_text
from arcticdl.tasks import SCORES, Score
from arcticdl.training.watch.diagnosis import Finding, diagnose
from arcticdl.training.watch.speed_table import describe_speed, read_speed

_MAX_IMAGE_ROWS = 200
_MAX_MAPS = 6


def write_report(run_dir: str | os.PathLike) -> Path:
    """Writes ``report.html`` into a run folder, from what the folder holds.

    The page is self-contained: pictures are data URIs, drawings are inline, nothing is
    fetched. It shows the pooled scores with their intervals beside the baselines, each
    class, each stratum, the confusion matrix, training curves, reliability, the worst
    and the median scene, the best and worst tiles, the mapped scene, whether the split
    leaks, and how to make all of it again.

    Args:
        run_dir: The run folder: ``config.yaml``, ``environment.json``,
            ``foldK/{history.csv, leakage.json, metrics.json, pictures/}``,
            ``summary.json``, ``map.png``. A part that is missing or broken leaves a
            note in the report.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: If the folder is not there, or holds nothing of a run.
    """
    run = read_run(Path(run_dir))
    page = page_environment().get_template("report.html.j2").render(_context(run))
    target = run.path / "report.html"
    write_text(target, page)
    return target


def page_environment() -> jinja2.Environment:
    """Templates of pages, with the filters that they share."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("arcticdl.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = _score
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    environment.filters["percent"] = _percent
    environment.filters["count"] = lambda value: f"{int(value):,}"
    environment.filters["as_code"] = _as_code
    environment.filters["titled"] = title_of
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    return environment


def _context(run: RunFolder) -> dict[str, Any]:
    result = run.result
    context: dict[str, Any] = {
        "name": run.path.resolve().name,
        "path": str(run.path),
        "config": run.config,
        "environment": _flat(run.environment),
        "command": run.environment.get("command"),
        "again": _again(run.path),
        "numbered": [fold.number for fold in run.folds],
        "max_image_rows": _MAX_IMAGE_ROWS,
        "maps": [as_picture(path, path.stem) for path in run.maps[:_MAX_MAPS]],
        "num_more_maps": max(0, len(run.maps) - _MAX_MAPS),
        "curves": _training(run),
        "splits": split_rows(run),
    }
    heads = results_by_head(result) if result is not None else {}
    context["blocks"] = [_block(run, name, part) for name, part in heads.items()]
    return context | {"notes": run.notes}


def _again(path: Path) -> list[str]:
    """Commands that make the run anew beside the old one, to compare with it."""
    config, again = shlex.quote(str(path / "config.yaml")), f"{path}-again"
    again = shlex.quote(again)
    return [
        f"arcticdl prepare {config}  # unless the tile store is there",
        f"arcticdl train {config} --run-dir {again}",
        *(f"arcticdl {step} {again}" for step in ("evaluate", "predict", "report")),
    ]


def _block(run: RunFolder, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """What one head's part of the page shows."""
    kind = result.get("scored_by", "classes")
    shown = SCORES[kind]
    number = _score if kind != "values" else _plain
    units = result.get("units") or ""
    images = sorted(result["images"], key=partial(_by_score, score=shown[0]))
    strata = (result.get("strata") or {}) | (result.get("strata_within") or {})
    block = {
        "name": name,
        "anchor": f"{name}-" if name else "",
        "result": result,
        "kind": kind,
        "number": number,
        "chief": shown[0].title,
        "counted": _counted(result, kind),
        "scores": [_shown_score(score, result, number, units) for score in shown],
        "objects": {},
        "instances": result.get("instances"),
        "per_output": result["scores"].get("per_output") or {},
        "folds": result.get("folds") or [],
        "within": list(result.get("strata_within") or {}),
        "strata": {_stratified(key, name): found for key, found in strata.items()},
        "bias": describe_bias(result.get("bias") or []),
        "images": images[:_MAX_IMAGE_ROWS],
        "pictures": choose_tiles(run, name),
        "scenes": choose_scenes(run, name, units),
        "importance": _importance(run, name),
        "codes": _codes(run),
    }
    if kind == "boxes":
        block["objects"] = object_panels(result, partial(_drawn, run))
    block |= _beside(run, result, shown[0], units)
    return block | _by_class(result, kind) | _figures(run, result, units)


def _beside(
    run: RunFolder, result: Mapping[str, Any], chief: Score, units: str
) -> dict[str, Any]:
    """The run beside its baselines: a table, margins of the first score, and bars."""
    named = result.get("baselines") or {}
    baselines = named.values()
    rows = [{"title": "this run", **result}, *baselines]
    known = {key for one in baselines for key in one.get("extra") or {}}
    draw = partial(_bars, rows, chief, units)
    return {
        "methods": rows if baselines else [],
        "further": [key for key in result.get("extra") or {} if key in known],
        "margins": [
            (one["title"], _margin(result, one, chief))
            for name, one in named.items()
            if name != CEILING
        ],
        "ceiling": named.get(CEILING),
        "bars": _drawn(run, "The comparison", draw) if baselines else "",
    }


def _by_class(result: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Classes, how many entries each has, and how they are taken for each other."""
    exclusive, names = kind == "classes", []
    if kind not in ("boxes", "values"):
        names = list(zip(result["classes"], result["colors"], strict=True))
    return {
        "legend": names,
        "classes": [] if kind == "shares" else names,
        "per_class": result["num_pixels"] / len(result.get("counts", [0])),
        "absent": _absent(result) if exclusive else [],
        "matrix": _matrix_rows(result) if exclusive else [],
    }


def _figures(run: RunFolder, result: Mapping[str, Any], units: str) -> dict[str, Any]:
    """Drawings of a sample of answers, each empty where its numbers were not kept."""
    wanted: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
        "calibration": ("reliability", "The reliability diagram", plots.reliability),
        "sample": ("scatter", "The scatter", partial(plots.truth_scatter, units=units)),
        "coverage": ("coverage", "The coverage", plots.coverage_curve),
    }
    found: dict[str, Any] = {"ranking": []}
    for key, (name, what, plot) in wanted.items():
        kept = result.get(key)
        found[name] = _drawn(run, what, partial(plot, kept)) if kept else ""
    if result.get("ranking"):
        found["ranking"] = _ranking(run, result)
    return found


def _stratified(column: str, head: str) -> str:
    """What a column of strata is of, in words."""
    if column.endswith(GAP_SUFFIX):
        label = column.removesuffix(GAP_SUFFIX)
        of = "the label" if head in ("", label) else label
        return f"time between the scene and {of}"
    return column


def _counted(result: Mapping[str, Any], kind: str) -> str:
    """What is counted, in words."""
    if "ranking" in result:
        return "images"
    told = {"boxes": "objects", "labels": "entries"}
    told |= dict.fromkeys(("classes", "shares"), "pixels")
    return told.get(kind, "numbers")


def _ranking(run: RunFolder, result: Mapping[str, Any]) -> list[Markup | str]:
    """The curves of a classifier, of which each is drawn or leaves a note."""
    colors = dict(zip(result["classes"], result["colors"], strict=True))
    draw = {
        "The ROC curve": plots.roc_curve,
        "Precision over recall": plots.precision_recall_curve,
    }
    return [
        _drawn(run, what, partial(curve, result["ranking"], colors))
        for what, curve in draw.items()
    ]


def _importance(run: RunFolder, label: str) -> list[dict[str, Any]]:
    """The importance of bands in each fold, drawn, where it was asked for."""
    found = []
    for fold in run.folds:
        names = [label] if label else list(fold.importance)
        for told in (
            fold.importance[name] for name in names if name in fold.importance
        ):
            draw = partial(plots.band_bars, told)
            drawn = _drawn(run, f"The importance of bands, fold {fold.number},", draw)
            found.append({"fold": fold.number, "told": told, "bars": drawn})
    return found


def _codes(run: RunFolder) -> list[dict[str, Any]]:
    """What the codes of autoencoders mean, where `arcticdl anomalies` was asked."""
    found = []
    for fold in run.folds:
        picture = fold.path / "latent.png"
        if fold.anomalies and picture.is_file():
            shown = as_picture(picture, "")
            found.append(shown | {"fold": fold.number, "told": fold.anomalies})
    return found


def _absent(result: Mapping[str, Any]) -> list[str]:
    """Classes that no scored pixel truly is, whose scores so say little."""
    per_class = result["scores"]["per_class"]
    return [name for name in result["classes"] if not per_class[name]["support"]]


def _shown_score(
    score: Score, result: Mapping[str, Any], number: Callable[..., str], units: str
) -> dict[str, Any]:
    limits = (result.get("intervals") or {}).get(score.key)
    low, high = limits or (None, None)
    return {
        "key": score.key,
        "title": score.title,
        "value": number(result["scores"][score.key]),
        "units": shown_units(units) if score.has_units else "",
        "interval": "" if low is None else f"{number(low)} to {number(high)}",
    }


def _drawn(run: RunFolder, what: str, draw: Callable[[], Any]) -> Markup | str:
    """Returns a drawing as SVG; one that fails leaves a note, not a broken report."""
    try:
        figure = draw()
    except (KeyError, OSError, TypeError, ValueError) as error:
        run.notes.append(f"{what} cannot be drawn: {error}")
        return ""
    return Markup(plots.figure_svg(figure)) if figure is not None else ""


def _training(run: RunFolder) -> dict[str, Any]:
    """One drawing a quantity, so that they stand in as many columns as fit a screen."""
    files = {f"fold {f.number}": f.history for f in run.folds if f.history}
    if not files:
        return {}
    history = files if len(files) > 1 else next(iter(files.values()))
    try:
        names, validated = plots.training_quantities(history)
    except (OSError, ValueError) as error:
        run.notes.append(f"The training curves cannot be drawn: {error}")
        return {}
    draw = partial(plots.training_curves, history, legend=False)
    panels = [_drawn(run, f"The curve of {n}", partial(draw, [n])) for n in names]
    colors = [plots.default_colors(6)[place % 6] for place in range(len(files))]
    folds = list(zip(files, colors, strict=True)) if len(files) > 1 else []
    told = {name: _diagnosed(path) for name, path in files.items()}
    speeds = {name: _speed(path.with_name("speed.csv")) for name, path in files.items()}
    return {
        "panels": panels,
        "folds": folds,
        "validated": validated,
        "told": told,
        "speeds": {name: words for name, words in speeds.items() if words},
    }


def _speed(path: Path) -> str:
    """How fast a fold trained, by its median epoch; empty where nobody measured."""
    try:
        return describe_speed(read_speed(path))
    except (OSError, ValueError):
        return ""


def _diagnosed(history: Path) -> list[Finding]:
    """What a fold's loss curves say; nothing where they cannot be read."""
    try:
        return diagnose(history)
    except (OSError, ValueError):
        return []


def _bars(rows: list[dict[str, Any]], score: Score, units: str) -> Any:
    values = {}
    for row in rows:
        low, high = (row.get("intervals") or {}).get(score.key) or (None, None)
        value = row["scores"][score.key]
        values[row["title"]] = {"value": value, "low": low, "high": high}
    own = shown_units(units) if score.has_units else ""
    shown = f" ({own})" if own else ""
    largest = None if score.has_units else 1.0
    return plots.baseline_bars(values, label=f"{score.title}{shown}", largest=largest)


def _margin(
    result: Mapping[str, Any], baseline: Mapping[str, Any], score: Score
) -> float | None:
    ours, theirs = (r["scores"][score.key] for r in (result, baseline))
    return None if ours is None or theirs is None else ours - theirs


def _matrix_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    counts = np.asarray(result["confusion_matrix"], np.int64)
    totals = counts.sum(axis=1)
    return [
        {
            "name": name,
            "color": color,
            "total": int(total),
            "cells": [
                {"count": int(n), "share": float(n / total) if total else None}
                for n in row
            ],
        }
        for name, color, row, total in zip(
            result["classes"], result["colors"], counts, totals, strict=True
        )
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Lists nested entries by their dotted name."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            rows += _flat(item, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, item)) if isinstance(item, list) else str(item)
            rows.append((f"{prefix}{key}", text))
    return rows


def _by_score(entry: Mapping[str, Any], score: Score) -> float:
    value = entry.get(score.key)
    return float("inf") if value is None else score.sign * value


def _as_code(text: str) -> Markup:
    """Shows what stands in backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
