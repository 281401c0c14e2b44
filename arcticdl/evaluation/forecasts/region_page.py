"""The page of a run's forecasts of extents by region."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from arcticdl import plots
from arcticdl.evaluation.forecasts.issue import Issued
from arcticdl.evaluation.forecasts.page import write_page
from arcticdl.evaluation.forecasts.regions import CHIEF

SHOWN = {
    "mae": "MAE", "rmse": "RMSE", "bias": "bias", "crps": "CRPS",
    "covered": "covered", "width": "width",
}  # fmt: skip
"""Key of a score -> its title."""


_FAR = 3.0  # times the median of the methods' greatest errors


def write_region_page(
    folder: Path,
    result: Mapping[str, Any],
    latest: Sequence[Issued],
    regions: Mapping[str, float],
) -> Path:
    """Writes ``forecast.html`` of a table of extents.

    Args:
        folder: Where, an existing folder.
        result: Of a `RegionTally`, with what the run says of itself.
        latest: The forecast of the last date.
        regions: Name -> its sea in km2, in the order of the cells.

    Returns:
        Path of the page.
    """
    chief, whole = result["networks"][0], next(iter(regions))
    far = far_off(result["scores"])
    rows = [row for row in result["scores"] if row["method"] not in far]
    drawings = {
        score: plots.scores_over_leads(
            rows, [chief], score=score, label=f"{SHOWN[score]}, million km²"
        )
        for score in CHIEF
    }
    by_region = [
        row
        for row in result["skill"]
        if row["network"] == chief and row["score"] == CHIEF[0]
    ]
    return write_page(
        folder,
        result,
        latest[0],
        drawings,
        titles=SHOWN,
        ranked=CHIEF,
        whole=whole,
        unit=" million km²",
        far=far,
        by_region=by_region,
        curves=_curves(result, chief, regions),
        latest=_latest(latest[0], chief, regions),
        dates=[f"{pd.Timestamp(date):%Y-%m-%d}" for date in latest[0].targets],
    )


def far_off(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Methods so much worse than most that they would press all others together.

    Args:
        rows: Of a `RegionTally`: ``method`` and ``mae``.

    Returns:
        Those whose greatest error is three times the median of all.
    """
    worst: dict[str, float] = {}
    for row in rows:
        name = str(row["method"])
        worst[name] = max(worst.get(name, 0.0), float(row[CHIEF[0]]))
    limit = _FAR * float(np.median(list(worst.values())))
    return [name for name, score in worst.items() if score >= limit]


def _curves(
    result: Mapping[str, Any], chief: str, regions: Mapping[str, float]
) -> list[tuple[str, Markup]]:
    """Title and picture: the whole at its first and last lead, regions at the first.

    Each shows the baseline of the lowest error beside the network.
    """
    whole, first, last = next(iter(regions)), min(result["leads"]), max(result["leads"])
    wanted = dict.fromkeys(
        [(whole, first), (whole, last), *((r, first) for r in regions)]
    )
    share = result["covering"].get(chief)
    rival = {
        (row["region"], row["lead"]): row["baseline"]
        for row in result["skill"]
        if row["network"] == chief and row["score"] == CHIEF[0]
    }
    found = []
    for region, lead in wanted:
        figure = plots.extent_curves(
            [row for row in result["extents"] if row["region"] == region],
            [chief, *([rival[region, lead]] if (region, lead) in rival else [])],
            lead=lead,
            interval=None if share is None else (chief, share),
        )
        steps = "step" if lead == 1 else "steps"
        title = f"{region}, {lead} {steps} ahead"
        found.append((title, Markup(plots.figure_svg(figure))))
    return found


def _latest(
    one: Issued, chief: str, regions: Mapping[str, float]
) -> list[tuple[str, list[tuple[float, tuple[float, float] | None]]]]:
    """Region -> value and interval of each lead, million km2."""
    shape = (len(one.leads), len(regions))
    values = one.forecasts[chief].reshape(shape)
    quantiles = one.quantiles.get(chief)
    outer = None
    if quantiles is not None:
        outer = np.asarray(quantiles).reshape(*shape, -1)[..., [0, -1]]
    found = []
    for number, (name, sea_km2) in enumerate(regions.items()):
        scale = sea_km2 / 1e6
        cells: list[tuple[float, tuple[float, float] | None]] = []
        for lead, value in enumerate(values[:, number]):
            low_high = None
            if outer is not None:
                low, high = outer[lead, number] * scale
                low_high = (float(low), float(high))
            cells.append((float(value) * scale, low_high))
        found.append((name, cells))
    return found
