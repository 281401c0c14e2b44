"""The page of a run's forecasts, and a film of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from arcticdl import plots
from arcticdl.evaluation.compare.page import number
from arcticdl.evaluation.forecasts.issue import Issued
from arcticdl.evaluation.forecasts.tally import CHIEF
from arcticdl.evaluation.report import page_environment
from arcticdl.files import write_bytes, write_text

SHOWN = {
    "mae": "MAE", "rmse": "RMSE", "r2": "R²", "bias": "bias",
    "iiee": "IIEE, million km²", "over": "too much, million km²",
    "under": "too little, million km²", "extent_error": "extent error, million km²",
    "edge_km": "edge distance, km", "accuracy": "right side of the edge",
    "crps": "CRPS", "brier": "Brier", "sps": "SPS, million km²",
}  # fmt: skip
"""Key of a score -> its title."""

BESIDE = ("damped_median", "climatology")
"""Baselines that maps and curves show beside the network."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip
_MAX_FRAMES = 24
_MARGIN_PX = 4


def write_pages(
    folder: Path,
    result: Mapping[str, Any],
    issued: Sequence[Issued],
    latest: Sequence[Issued],
    counted: np.ndarray,
) -> Path:
    """Writes ``forecast.html`` and ``forecast.gif``.

    Args:
        folder: Where, an existing folder.
        result: Of a `ForecastTally`, with what the run says of itself.
        issued: The forecasts that were scored.
        latest: That of the last date.
        counted: ``(y, x)`` the cells that are scored; maps show their bounding box.

    Returns:
        Path of the page.
    """
    chief = result["networks"][0]
    crop = _crop(counted)
    drawings = {
        "mae": plots.scores_over_leads(
            result["scores"], [chief], score="mae", label="MAE, fraction"
        ),
        "iiee": plots.scores_over_leads(
            result["scores"], [chief], score="iiee", label="IIEE, million km²"
        ),
        "extent": plots.extent_curves(
            result["extents"],
            [chief, *BESIDE],
            lead=min(result["leads"]),
        ),
    }
    mine = [r for r in result["spread_skill"] if r["method"] in (chief, "climatology")]
    if any(row["method"] == chief for row in mine):
        drawings["spread"] = plots.spread_skill_plot(mine)
    maps = [_map(one, place, chief, result["threshold"], crop)
            for one, place in _worth_showing(issued, chief, counted)]  # fmt: skip
    film = plots.forecast_film(
        [_map(one, 0, chief, result["threshold"], crop) for one in issued[:_MAX_FRAMES]]
    )
    write_bytes(folder / "forecast.gif", film)
    return write_page(
        folder,
        result,
        latest[0],
        drawings,
        titles=SHOWN,
        ranked=CHIEF,
        unit="",
        maps=[_as_image(figure) for figure in maps],
        latest=_as_image(_latest(latest[0], chief, crop)),
    )


def write_page(
    folder: Path,
    result: Mapping[str, Any],
    last: Issued,
    drawings: Mapping[str, Any],
    **more: Any,
) -> Path:
    """Writes ``forecast.html``, of maps or of regions.

    Args:
        folder: Where, an existing folder.
        result: The scores, with what the run says of itself.
        last: The forecast from the last date.
        drawings: Name -> figure.
        **more: What the page shows besides: ``titles`` of scores, the scores by which
            methods are ``ranked``, their ``unit``, ...

    Returns:
        Path of the page.
    """
    chief = result["networks"][0]
    whole = next(iter(result.get("regions", ())), None)
    skills = [row for row in result["skill"] if row.get("region") == whole]
    shown = dict(result) | {
        "chief": chief,
        "beside": (chief, *BESIDE),
        "number": number,
        "months": _MONTHS,
        "drawings": {k: Markup(plots.figure_svg(f)) for k, f in drawings.items()},
        "latest_from": f"{pd.Timestamp(last.when):%Y-%m-%d}",
        "skills": [row for row in skills if row["network"] == chief],
        "others": [row for row in skills if row["network"] != chief],
    }
    page = page_environment().get_template("forecast.html.j2").render(shown | more)
    write_text(folder / "forecast.html", page)
    return folder / "forecast.html"


def _crop(counted: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of the cells that are scored, and a little around."""
    found = []
    for axis, size in enumerate(counted.shape):
        there = np.flatnonzero(counted.any(1 - axis))
        low = max(int(there[0]) - _MARGIN_PX, 0)
        found.append(slice(low, min(int(there[-1]) + _MARGIN_PX + 1, size)))
    return found[0], found[1]


def _worth_showing(
    issued: Sequence[Issued], chief: str, counted: np.ndarray
) -> list[tuple[Issued, int]]:
    """The forecasts of the first lead with the middle, and the greatest, error."""
    errors = []
    for one in issued:
        truth = np.where(counted, one.truth[0], np.nan)
        known = np.isfinite(truth)
        off = np.abs(one.forecasts[chief][0] - truth)[known]
        errors.append(float(off.mean()) if known.any() else np.nan)
    order = [k for k in np.argsort(errors) if np.isfinite(errors[k])]
    chosen = dict.fromkeys([order[len(order) // 2], order[-1]]) if order else {}
    return [(issued[k], 0) for k in chosen]


def _map(
    one: Issued, place: int, chief: str, threshold: float, crop: tuple[slice, slice]
) -> Any:
    shown = (chief, *BESIDE)
    target = pd.Timestamp(one.targets[place])
    return plots.forecast_maps(
        one.truth[place],
        {name: one.forecasts[name][place] for name in shown},
        threshold=threshold,
        title=f"{target:%Y-%m-%d}, forecast {one.leads[place]} ahead, from "
        f"{pd.Timestamp(one.when):%Y-%m-%d}",
        crop=crop,
    )


def _latest(one: Issued, chief: str, crop: tuple[slice, slice]) -> Any:
    """The forecast of each lead from the last date, with the spread it tells."""
    from arcticdl.plots.forecasts import latest_maps

    quantiles = one.quantiles.get(chief)
    spread = None if quantiles is None else quantiles[..., -1] - quantiles[..., 0]
    levels = one.levels.get(chief, (0.0, 1.0))
    return latest_maps(
        one.forecasts[chief],
        spread,
        [f"{pd.Timestamp(t):%Y-%m-%d}" for t in one.targets],
        covered=levels[-1] - levels[0],
        crop=crop,
    )


def _as_image(figure: Any) -> Markup:
    import base64

    content = base64.b64encode(plots.figure_png(figure)).decode()
    return Markup(f"data:image/png;base64,{content}")
