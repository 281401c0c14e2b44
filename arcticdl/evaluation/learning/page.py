"""A learning curve as files: JSON, CSV, and one page that needs only a browser."""

import csv
import io
import os
from pathlib import Path
from typing import Any

from markupsafe import Markup

from arcticdl import plots
from arcticdl.evaluation.compare.page import number
from arcticdl.evaluation.learning.curve import LearningCurve
from arcticdl.evaluation.report import page_environment
from arcticdl.files import write_json, write_text


def write_learning_curve(curve: LearningCurve, folder: str | os.PathLike) -> Path:
    """Writes ``learning_curve.json``, ``.csv`` and ``.html``.

    Args:
        curve: As ``learning_curve`` gives it.
        folder: Where; made if need be. An older curve in it is replaced.

    Returns:
        Path of the page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = curve.to_dict()
    write_json(folder / "learning_curve.json", found)
    write_text(folder / "learning_curve.csv", _as_csv(found["points"]))
    template = page_environment().get_template("learning_curve.html.j2")
    page = folder / "learning_curve.html"
    write_text(page, template.render(_context(found, folder.resolve().name)))
    return page


def _as_csv(points: list[dict[str, Any]]) -> str:
    table = io.StringIO(newline="")
    rows = []
    for point in points:
        low, high = point["interval"]
        rest = {key: value for key, value in point.items() if key != "interval"}
        rows.append({**rest, "interval_low": low, "interval_high": high})
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _context(found: dict[str, Any], name: str) -> dict[str, Any]:
    label = found["error"] + (f" ({found['units']})" if found["units"] else "")
    most = {
        point["size"]: max(
            (p for p in found["points"] if p["size"] == point["size"]),
            key=lambda p: p["num_scenes"],
        )
        for point in found["points"]
    }
    figures = [plots.error_over_scenes(found["points"], found["fits"], label=label)]
    if len(most) > 1:
        figures.append(plots.error_over_sizes(list(most.values()), label=label))
    return found | {
        "name": name,
        "label": label,
        "number": number,
        "drawings": [Markup(plots.figure_svg(figure)) for figure in figures],
    }
