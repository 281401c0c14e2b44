"""A learning curve as files: JSON, CSV, and one page that needs only a browser."""

import os
from pathlib import Path
from typing import Any

from markupsafe import Markup

from arcticdl import plots
from arcticdl.evaluation.compare.page import number, write_found
from arcticdl.evaluation.learning.curve import LearningCurve


def write_learning_curve(curve: LearningCurve, folder: str | os.PathLike) -> Path:
    """Writes ``learning_curve.json``, ``.csv`` and ``.html``.

    Args:
        curve: As ``learning_curve`` gives it.
        folder: Where; made if need be. An older curve in it is replaced.

    Returns:
        Path of the page.
    """
    found = curve.to_dict()
    stem = Path(folder) / "learning_curve"
    shown = _context(found, stem.parent.resolve().name)
    return write_found(stem, found, rows=found["points"], shown=shown)


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
