"""A comparison as files: JSON, CSV, and one page that needs nothing but a browser."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from arcticdl import plots
from arcticdl.evaluation.compare.comparison import LEVEL, Comparison
from arcticdl.evaluation.compare.counts import SCENE
from arcticdl.evaluation.report import page_environment
from arcticdl.evaluation.restored.shown import shown_units
from arcticdl.files import write_json, write_text

_MAX_UNIT_ROWS = 200


def write_comparison(comparison: Comparison, folder: str | os.PathLike) -> Path:
    """Writes ``comparison.json``, ``comparison.csv`` and ``comparison.html``.

    Args:
        comparison: As ``compare_runs`` gives it.
        folder: Where; made if need be. An older comparison in it is replaced.

    Returns:
        Path of the page.
    """
    found = comparison.to_dict()
    stem = Path(folder) / "comparison"
    return write_found(stem, found, rows=found["rows"], shown=_context(found))


def write_found(
    stem: Path,
    found: Mapping[str, Any],
    *,
    rows: Sequence[Mapping[str, Any]],
    shown: Mapping[str, Any],
) -> Path:
    """Writes what was found as ``NAME.json``, ``NAME.csv`` and ``NAME.html``.

    Args:
        stem: Folder, made if need be, and name, which is that of the template too.
        found: JSON values.
        rows: The rows of the table, each with an ``interval`` of two numbers.
        shown: What the template shows.

    Returns:
        Path of the page.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_json(stem.with_suffix(".json"), found)
    write_text(stem.with_suffix(".csv"), _as_csv(rows))
    template = page_environment().get_template(f"{stem.name}.html.j2")
    page = stem.with_suffix(".html")
    write_text(page, template.render(shown))
    return page


def told(row: Mapping[str, Any], first: str) -> str:
    """A row's verdict in words that name the run.

    Args:
        row: Of a comparison, as its ``to_dict`` gives it.
        first: Name of the first run.

    Example:
        >>> told({"verdict": "first is better", "run": "b"}, "a")
        'a is better'
    """
    better = {"first is better": first, "other is better": row["run"]}
    name = better.get(row["verdict"])
    return row["verdict"] if name is None else f"{name} is better"


def number(value: float | None, sign: bool = False) -> str:
    """Three significant places after the point, or as many digits of large numbers.

    Example:
        >>> number(0.12345), number(-0.5, sign=True), number(272.154), number(None)
        ('0.123', '−0.500', '272.2', '–')
    """
    if value is None:
        return "–"
    text = f"{abs(value):.3f}" if abs(value) < 10 else f"{abs(value):.4g}"
    if value < 0:
        return f"−{text}"
    return f"+{text}" if sign else text


def p_text(value: float | None) -> str:
    """A p-value as it is read.

    Example:
        >>> p_text(0.00002), p_text(0.034), p_text(None)
        ('< 0.0001', '0.034', '–')
    """
    if value is None:
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    table = io.StringIO(newline="")
    flat = []
    for row in rows:
        low, high = row["interval"]
        rest = {key: value for key, value in row.items() if key != "interval"}
        flat.append({**rest, "interval_low": low, "interval_high": high})
    writer = csv.DictWriter(table, list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    return table.getvalue()


def _context(found: dict[str, Any]) -> dict[str, Any]:
    first = found["runs"][0]
    heads = list(dict.fromkeys(row["head"] for row in found["rows"]))
    return found | {
        "first": first,
        "others": found["runs"][1:],
        "level": LEVEL,
        "many": "scenes" if found["unit"] == SCENE else f"groups by {found['unit']}",
        "one": "scene" if found["unit"] == SCENE else found["unit"],
        "blocks": [_block(found, head, first) for head in heads],
        "number": number,
        "p_text": p_text,
        "told": told,
        "max_rows": _MAX_UNIT_ROWS,
        "num_tests": sum(row["p_value"] is not None for row in found["rows"]),
    }


def _block(found: dict[str, Any], head: str, first: str) -> dict[str, Any]:
    rows = [row for row in found["rows"] if row["head"] == head]
    each = [entry for entry in found["each"] if entry["head"] == head]
    chief = rows[0]
    units = f" ({chief['units']})" if shown_units(chief["units"]) else ""
    scatters = [
        Markup(
            plots.figure_svg(
                plots.paired_scatter(
                    [entry["scores"][first] for entry in each],
                    [entry["scores"][other] for entry in each],
                    [entry["num_pixels"] for entry in each],
                    names=(first, other),
                    score=f"{chief['title']}{units}",
                    sign=chief["sign"],
                )
            )
        )
        for other in found["runs"][1:]
    ]
    return {
        "name": head,
        "rows": rows,
        "chief": chief,
        "each": sorted(each, key=lambda entry: _gap(entry, first, chief))[
            :_MAX_UNIT_ROWS
        ],
        "num_units": chief["num_units"],
        "exact": chief["exact"],
        "differences": Markup(plots.figure_svg(plots.score_differences(rows, first))),
        "scatters": scatters,
    }


def _gap(entry: Mapping[str, Any], first: str, chief: Mapping[str, Any]) -> float:
    """The other run's lead in a scene: where the first does worst comes first."""
    one, other = entry["scores"][first], entry["scores"][chief["run"]]
    if one is None or other is None:
        return float("inf")
    return float(chief["sign"] * (one - other))
