"""Pictures of learning curves: the error over scenes, and over sizes of network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullFormatter,
)

from arcticdl.plots.style import PALETTE, house_style, new_figure, spelled

_MARKERS = "osD^vP"


def error_over_scenes(
    points: Sequence[Mapping[str, Any]],
    fits: Mapping[str, Mapping[str, Any]],
    *,
    label: str,
) -> Figure:
    """Draws the error over training scenes, with intervals and fitted power laws.

    Args:
        points: Of a learning curve, as its ``to_dict`` gives them: ``size``,
            ``num_scenes``, ``error``, ``interval``.
        fits: Size -> ``floor``, ``scale``, ``exponent`` and ``num_scenes``, the most
            scenes that were tried.
        label: Name of the error, with its unit.

    Returns:
        The figure, with both axes logarithmic; a line is dashed where it goes beyond
        the scenes that there are, to twice as many.
    """
    with house_style():
        ax = new_figure((4.6, 4.2)).add_subplot()
        sizes = list(dict.fromkeys(point["size"] for point in points))
        for place, size in enumerate(sizes):
            color = PALETTE[place % 6]
            mine = [point for point in points if point["size"] == size]
            x = [point["num_scenes"] for point in mine]
            _draw_points(ax, x, mine, color=color, marker=_MARKERS[place % 6])
            ax.plot([], [], _MARKERS[place % 6], color=color, label=spelled(size))
            if size in fits:
                _draw_law(ax, fits[size], x, color)
        ax.set(xscale="log", yscale="log", xlabel="training scenes", ylabel=label)
        most = 2 * max(point["num_scenes"] for point in points)
        _label_axes(ax, sorted({p["num_scenes"] for p in points} | {most}))
        if len(sizes) > 1:
            ax.legend(loc="best")
        ax.grid(True)
    return ax.get_figure(root=True)  # type: ignore[return-value]


def error_over_sizes(points: Sequence[Mapping[str, Any]], *, label: str) -> Figure:
    """Draws the error of each size of network, all trained at equal compute.

    Args:
        points: One a size, as in ``error_over_scenes``, with ``cost`` of a step.
        label: Name of the error, with its unit.

    Returns:
        The figure, cost along a logarithmic axis.
    """
    with house_style():
        ax = new_figure((4.6, 4.2)).add_subplot()
        shown = sorted(points, key=lambda point: point["cost"])
        x = [point["cost"] / 1e9 for point in shown]
        _draw_points(ax, x, shown, color=PALETTE[0], marker="o")
        for place, point in zip(x, shown, strict=True):
            high = point["interval"][1]
            ax.annotate(
                spelled(point["size"]),
                (place, point["error"] if high is None else high),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=9.5,
            )
        ax.set(xscale="log", xlabel="10⁹ operations a step", ylabel=label)
        _label_axes(ax, x)
        ax.margins(x=0.2, y=0.2)
        ax.grid(True)
    return ax.get_figure(root=True)  # type: ignore[return-value]


def _draw_points(
    ax: Axes,
    x: Sequence[float],
    points: Sequence[Mapping[str, Any]],
    *,
    color: str,
    marker: str,
) -> None:
    for place, point in zip(x, points, strict=True):
        low, high = point["interval"]
        if low is not None:
            ends = [max(low, 1e-12), high]
            ax.plot([place, place], ends, color=color, lw=1.4, solid_capstyle="butt")
        ax.plot(place, point["error"], marker, color=color, ms=7, mec="white")


def _draw_law(
    ax: Axes, fit: Mapping[str, Any], scenes: Sequence[float], color: str
) -> None:
    most = max(scenes)
    for low, high, style in ((min(scenes), most, "-"), (most, 2 * most, "--")):
        n = np.geomspace(low, high, 60)
        error = fit["floor"] + fit["scale"] * n ** -fit["exponent"]
        ax.plot(n, error, style, color=color, lw=1.6)


def _label_axes(ax: Axes, x: Sequence[float]) -> None:
    """Labels the points themselves: a log axis of one decade has a lone label."""
    ax.xaxis.set_major_locator(FixedLocator(list(x)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    plain = FuncFormatter(lambda value, _: f"{value:.3g}")
    ax.yaxis.set_major_formatter(plain)
    low, high = ax.get_ylim()
    if ax.get_yscale() == "log" and high / low < 3:
        ax.yaxis.set_major_locator(MaxNLocator(5))
    elif ax.get_yscale() == "log" and high / low < 100:
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
        steps = (1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 5, 7)
        ticks = np.outer(decades, steps).ravel()
        ax.yaxis.set_major_locator(
            FixedLocator(ticks[(ticks >= low) & (ticks <= high)].tolist())
        )
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="both", which="minor", length=0)
