"""Pictures of runs side by side: differences with intervals, and scene by scene."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arcticdl.plots.style import PALETTE, house_style, new_figure, spelled

_QUIET = "#8a8f94"


def score_differences(rows: Sequence[Mapping[str, Any]], first: str) -> Figure:
    """Draws the advantage of one run in each score with its interval, a panel a score.

    Args:
        rows: Of a comparison, as its ``to_dict`` gives them: ``title``, ``units``,
            ``sign``, ``run``, ``difference``, ``interval``, ``verdict``.
        first: Name of the run that the others are compared with.

    Returns:
        The figure: right of zero the first run is better, for every score; an open
        dot is a difference that could be chance.
    """
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["difference"] is not None:
            panels.setdefault(row["score"], []).append(row)
    heights = [len(shown) + 1.1 for shown in panels.values()]
    with house_style():
        figure = new_figure((4.4, 0.35 + 0.56 * sum(heights)))
        axes = figure.subplots(
            len(panels), 1, squeeze=False, height_ratios=heights or [1]
        )[:, 0]
        for ax, shown in zip(axes, panels.values(), strict=True):
            _draw_differences(ax, shown)
        axes[-1].set_xlabel(f"right of zero: {spelled(first)} is better")
    return figure


def _draw_differences(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    ax.axvline(0, color="#1b1f23", lw=1.0)
    reach = 0.0
    for place, row in enumerate(rows):
        sign = row["sign"]
        low, high = sorted(sign * end for end in row["interval"])
        value = sign * row["difference"]
        told = row["verdict"] in ("first is better", "other is better")
        color = PALETTE[0] if value >= 0 else PALETTE[1]
        ax.plot([low, high], [place, place], color=color, solid_capstyle="butt")
        face = color if told else "white"
        ax.plot(value, place, "o", ms=8, mec=color, mfc=face, mew=1.8, zorder=3)
        # Above its interval: beside it a name would take half of a phone.
        ax.text(
            0.0,
            place - 0.22,
            f"against {spelled(row['run'])}",
            va="bottom",
            fontsize=9.5,
            transform=ax.get_yaxis_transform(),
        )
        reach = max(reach, abs(low), abs(high), abs(value))
    reach = 1.12 * reach or 1.0
    ax.set_xlim(-reach, reach)
    ax.set_ylim(len(rows) - 0.55, -0.75)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")
    ax.locator_params(axis="x", nbins=5)
    units = f" ({rows[0]['units']})" if rows[0]["units"] else ""
    ax.set_title(f"{rows[0]['title']}{units}")


def paired_scatter(
    first: Sequence[float | None],
    other: Sequence[float | None],
    weights: Sequence[float],
    *,
    names: tuple[str, str],
    score: str,
    sign: int = 1,
) -> Figure:
    """Draws a score of each scene by two runs, with the line on which both agree.

    Args:
        first: Score of each scene by the first run; ``None`` where none is defined.
        other: By the other one.
        weights: What each scene weighs in the pooled score, such as its pixels.
        names: Of the two runs.
        score: Name of the score, with its unit.
        sign: 1 where more is better, -1 where less is.

    Returns:
        The figure: above the line the first run has the higher score; the larger a
        dot, the more its scene weighs.
    """
    x, y = (np.array([np.nan if v is None else v for v in c]) for c in (other, first))
    known = np.isfinite(x) & np.isfinite(y)
    x, y, weight = x[known], y[known], np.asarray(weights, float)[known]
    with house_style():
        ax = new_figure((4.4, 4.4)).add_subplot()
        ends = np.concatenate([x, y]) if x.size else np.array([0.0, 1.0])
        low, high = float(ends.min()), float(ends.max())
        pad = 0.06 * max(high - low, 1e-9)
        ax.plot([low - pad, high + pad], [low - pad, high + pad], color=_QUIET, lw=1.2)
        size = 18 + 90 * weight / weight.max() if weight.size else weight
        better = sign * (y - x) >= 0
        for chosen, color, marker in (
            (better, PALETTE[0], "o"),
            (~better, PALETTE[1], "D"),
        ):
            ax.scatter(
                x[chosen],
                y[chosen],
                s=size[chosen],
                color=color,
                marker=marker,
                alpha=0.6,
                linewidths=0,
            )
        ax.set(
            xlim=(low - pad, high + pad),
            ylim=(low - pad, high + pad),
            aspect="equal",
            xlabel=f"{score}, {spelled(names[1])}",
            ylabel=f"{score}, {spelled(names[0])}",
        )
        ax.locator_params(nbins=5)
        ax.grid(True)
    return ax.get_figure(root=True)  # type: ignore[return-value]
