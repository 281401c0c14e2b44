"""Drawings of explanations: importance of bands, deletion, decisions in two bands."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from arcticdl.choices import check_names
from arcticdl.plots.style import PALETTE, default_colors, house_style, new_figure

_WAYS = {"permuted": ("permuted", PALETTE[0]), "left_out": ("left out", PALETTE[4])}


def band_bars(importance: Mapping[str, Any]) -> Figure:
    """Draws by how much a score gets worse without what each band tells.

    Args:
        importance: Of one label, as ``explain.band_importance`` gives it.

    Returns:
        The figure: a row a band, the most important first, with intervals.
    """
    bands = {
        name: told
        for name, told in importance["bands"].items()
        if told["permuted"]["loss"] is not None
    }
    names = sorted(bands, key=lambda name: -bands[name]["permuted"]["loss"])
    with house_style():
        figure = new_figure((5.4, 1.5 + 0.5 * max(len(names), 1)))
        ax = figure.add_subplot()
        for place, (way, (title, color)) in enumerate(_WAYS.items()):
            rows = np.arange(len(names)) + (place - 0.5) * 0.36
            losses = [bands[name][way]["loss"] for name in names]
            ax.barh(rows, losses, height=0.34, color=color, label=title)
            for row, name in zip(rows, names, strict=True):
                interval = bands[name][way]["interval"]
                if interval is not None:
                    ax.plot(interval, [row, row], color="#1b1f23", linewidth=1.2)
        ax.axvline(0, color="#1b1f23", linewidth=0.8)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        word = "loss" if importance["sign"] > 0 else "rise"
        ax.set_xlabel(f"{word} of {importance['score']['title']}, mean over scenes")
        ax.grid(True, axis="x")
        ax.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def deletion_lines(curves: Mapping[str, Any]) -> Figure:
    """Draws what is left of an answer when blocks are taken away.

    Args:
        curves: Method -> ``explain.Deletion``.

    Returns:
        The figure: a line a method, chance dashed.
    """
    with house_style():
        figure = new_figure((5.4, 3.4))
        ax = figure.add_subplot()
        for color, (name, told) in zip(PALETTE, curves.items(), strict=False):
            shares = np.array(told.shares) * 100
            ax.plot(shares, told.by_importance, "o-", color=color, label=name)
        # All methods are compared with the same random orders.
        chance = np.mean([told.at_random for told in curves.values()], axis=0)
        ax.plot(shares, chance, "--", color="#1b1f23", linewidth=1.1, label="at random")
        ax.set_xlabel("blocks taken away (%)")
        ax.set_ylabel("answer left (1)")
        ax.grid(True)
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def decision_plane(
    plane: Any,
    names: Sequence[str],
    colors: Sequence[str] = (),
    *,
    units: str = "",
    band_units: str = "",
) -> Figure:
    """Draws a network's answers in the plane of two bands.

    Args:
        plane: As of ``explain.decision_boundaries``.
        names: Classes; or the name of the value.
        colors: One a class; empty takes colours that any reader can tell apart.
        units: Of values.
        band_units: Of the two bands.

    Returns:
        The figure: the likeliest class in its colour, or the first value on a scale,
        with pixels of the scene as dots.
    """
    check_names(names=names, colors=colors)
    with house_style():
        figure = new_figure((6.2, 4.4))
        ax = figure.add_subplot()
        if plane.answer.shape[-1] > 1:
            _draw_classes(
                figure, ax, plane, names, colors or default_colors(len(names))
            )
        else:
            mesh = ax.pcolormesh(plane.x, plane.y, plane.answer[..., 0], cmap="viridis")
            bar = figure.colorbar(mesh, ax=ax)
            bar.set_label(f"{names[0]} ({units})" if units else names[0])
        style: dict[str, Any] = {"s": 5, "color": "#1b1f23", "linewidths": 0}
        ax.scatter(*plane.points.T, alpha=0.45, **style)
        ax.set_xlim(plane.x[0], plane.x[-1])
        ax.set_ylim(plane.y[0], plane.y[-1])
        labels = [f"{b} ({band_units})" if band_units else b for b in plane.bands]
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
        held = ", ".join(f"{name} = {value:.3g}" for name, value in plane.held.items())
        note = "flat pictures; dots: pixels of the scene"
        more = f"\nheld at the median: {held}" if held else ""
        figure.supxlabel(note + more, x=0.01, ha="left", fontsize=8.5)
    return figure


def _draw_classes(
    figure: Figure, ax: Axes, plane: Any, names: Sequence[str], colors: Sequence[str]
) -> None:
    codes = plane.answer.argmax(axis=-1)
    ax.pcolormesh(
        plane.x,
        plane.y,
        codes,
        cmap=ListedColormap(list(colors)),
        vmin=-0.5,
        vmax=len(colors) - 0.5,
        rasterized=True,
    )
    present = np.unique(codes)
    for code in present[:-1]:  # one by one: between codes 0 and 3 lies one edge
        inside = (codes == code).astype(float)
        ax.contour(
            plane.x, plane.y, inside, levels=[0.5], colors="#1b1f23", linewidths=0.8
        )
    handles = [
        Patch(facecolor=colors[c], edgecolor="#1b1f23", linewidth=0.5,
              label=names[c].replace("_", " "))
        for c in present
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside right upper")
