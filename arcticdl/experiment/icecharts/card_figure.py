"""The picture of a robustness card: scores against damage."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arcticdl.experiment.icecharts.score import told_scenes
from arcticdl.plots import house_style, new_figure
from arcticdl.plots.style import PALETTE

_LEAST = -10.0  # below, a score says no more than that it is lost
_CHARTS = {
    "SIC": ("concentration (R²)", "#0072b2", "o"),
    "SOD": ("stage (F1)", "#d55e00", "s"),
    "FLOE": ("floe size (F1)", "#009e73", "^"),
}
_MARKERS = "svD^Px*"
_CEILING = "true parameters, undamaged (ceiling)"
_INK = "#1b1f23"


def draw_card(found: Mapping[str, Any]) -> Figure:
    """Draws the scores of each chart against the levels of each damage.

    Alone, a network has a panel for each damage; beside baselines a row, with a panel
    for each chart.

    Args:
        found: From ``robustness_card``, with one damage at least.
    """
    with house_style():
        figure = _beside_baselines(found) if found["baselines"] else _alone(found)
        figure.suptitle("What the score loses", x=0.01, ha="left", fontweight="bold")
        caption = f"{told_scenes(found['num_scenes'])}, damaged"
        if found["simulated"]:
            caption += " · simulated: it says nothing about real ice"
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8.5)
    return figure


def _alone(found: Mapping[str, Any]) -> Figure:
    shown = found["damages"]
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = new_figure((3.1 * columns, 2.7 * rows + 0.7))
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for ax in axes.ravel()[len(shown) :]:
        ax.axis("off")
    for ax, (name, one) in zip(axes.ravel(), shown.items(), strict=False):
        for chart, (_, color, marker) in _CHARTS.items():
            values = [found["whole"], *(each["official"] for each in one["levels"])]
            _draw_line(ax, values, chart, marker=marker, color=color, label=chart)
            _draw_ceiling(ax, found, chart, color=color)
        _name_levels(ax, one)
        ax.set_title(name)
    for row in axes[:, 0]:
        row.set_ylabel(f"score (%), at least {_LEAST:g}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if found["ceiling"] is not None:
        handles.append(Line2D([], [], color=_INK, linestyle=":"))
        labels.append(_CEILING)
    figure.legend(handles, labels, loc="upper right", ncols=4)
    return figure


def _beside_baselines(found: Mapping[str, Any]) -> Figure:
    shown = found["damages"]
    charts = {c: one for c, one in _CHARTS.items() if found["whole"][c] is not None}
    width = max(3.4 * len(charts) + 0.4, 7.2)
    figure = new_figure((width, 2.2 * len(shown) + 1.4))
    axes = figure.subplots(len(shown), len(charts), squeeze=False, sharey="col")
    for row, (name, one) in zip(axes, shown.items(), strict=True):
        for ax, (chart, (title, _, _)) in zip(row, charts.items(), strict=True):
            for method, values, style in _methods(found, name):
                _draw_line(ax, values, chart, label=method, **style)
            _draw_ceiling(ax, found, chart, color=_INK, label=_CEILING)
            _name_levels(ax, one)
            ax.grid(True, axis="y")
            ax.set_title(f"{name}: {title}", fontsize=9.5)
        row[0].set_ylabel(f"score (%), at least {_LEAST:g}", fontsize=8.5)
    lines = {
        label: handle
        for ax in axes[0]
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    lines = {"network": lines.pop("network"), **lines}  # drawn last, named first
    figure.legend(lines.values(), lines, loc="outside upper right", ncols=2)
    return figure


def _methods(
    found: Mapping[str, Any], damage: str
) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Name, official scores as is and by level, and style, the network last, on top."""
    for number, one in enumerate(found["baselines"].values()):
        style = {
            "color": PALETTE[(number + 1) % len(PALETTE)],
            "marker": _MARKERS[number % len(_MARKERS)],
            "linewidth": 1.2,
            "markersize": 4,
        }
        yield one["title"], [one["whole"], *one["damages"][damage]], style
    levels = found["damages"][damage]["levels"]
    values = [found["whole"], *(each["official"] for each in levels)]
    style = {"color": PALETTE[0], "marker": "o", "linewidth": 2.4}
    yield "network", values, style


def _draw_line(ax: Axes, officials: list[Any], chart: str, **style: Any) -> None:
    values = [official[chart] for official in officials]
    if all(value is not None for value in values):
        ax.plot(np.maximum(values, _LEAST), **style)


def _draw_ceiling(ax: Axes, found: Mapping[str, Any], chart: str, **style: Any) -> None:
    ceiling = found["ceiling"]
    if ceiling is not None and ceiling.get(chart) is not None:
        ax.axhline(max(ceiling[chart], _LEAST), linestyle=":", linewidth=1.2, **style)


def _name_levels(ax: Axes, one: Mapping[str, Any]) -> None:
    levels = [f"{each['level']:g}" for each in one["levels"]]
    ticks = ["as is", *(levels if one["unit"] else ["without"])]
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlabel(one["about"] + (f" ({one['unit']})" if one["unit"] else ""))
