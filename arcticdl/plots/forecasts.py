"""Pictures of forecasts: scores over leads, maps with ice edges, extents, films."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from arcticdl.choices import check_names
from arcticdl.plots.style import (
    PALETTE,
    VOID_COLOR,
    figure_png,
    house_style,
    new_figure,
    spelled,
)

_LINES = ("-", "--", "-.", ":")
_MARKERS = "osD^vPX*"
_INK = "#1b1f23"
_EDGE = "#D55E00"
_SHOWN_MS = 700  # of each picture of a film


def scores_over_leads(
    rows: Sequence[Mapping[str, Any]],
    networks: Sequence[str],
    *,
    score: str,
    label: str,
) -> Figure:
    """Draws a score of each method over the leads.

    Args:
        rows: Of a forecast's result: ``method``, ``lead`` and the score.
        networks: Methods that are networks, drawn with thick lines.
        score: Key of the score.
        label: Its name, with the unit.

    Returns:
        The figure.
    """
    check_names(networks=networks)
    with house_style():
        ax = new_figure((4.6, 3.8)).add_subplot()
        methods = list(dict.fromkeys(row["method"] for row in rows))
        order = [*(m for m in methods if m in networks),
                 *(m for m in methods if m not in networks)]  # fmt: skip
        for place, method in enumerate(order):
            mine = sorted((r for r in rows if r["method"] == method),
                          key=lambda row: row["lead"])  # fmt: skip
            own = method in networks
            ax.plot(
                [row["lead"] for row in mine],
                [np.nan if row[score] is None else row[score] for row in mine],
                _LINES[0] if own else _LINES[1],
                marker=_MARKERS[place % len(_MARKERS)],
                color=PALETTE[place % len(PALETTE)],
                lw=2.4 if own else 1.4,
                label=spelled(method),
            )
        ax.set(xlabel="lead, steps", ylabel=label)
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(True)
        figure: Figure = ax.get_figure(root=True)  # type: ignore[assignment]
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def extent_curves(
    rows: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    *,
    lead: int,
    interval: tuple[str, float] | None = None,
) -> Figure:
    """Draws the extent that came and the extents forecast so many steps before.

    Args:
        rows: Of a forecast's result: ``target``, ``lead``, ``truth`` and methods.
        methods: Which are drawn.
        lead: Which lead.
        interval: A method with ``METHOD_low`` and ``METHOD_high`` in the rows, between
            which the figure is shaded, and the share that should lie there.

    Returns:
        The figure.
    """
    check_names(methods=methods)
    with house_style():
        # No wider: its letters must be read on a phone.
        ax = new_figure((5.6, 3.6)).add_subplot()
        mine = [row for row in rows if row["lead"] == lead]
        dates = np.array([row["target"] for row in mine], "datetime64[D]")
        ax.plot(dates, [r["truth"] for r in mine], color=_INK, lw=2.4, label="observed")
        for place, name in enumerate(methods):
            ax.plot(
                dates,
                [row[name] for row in mine],
                _LINES[1 + place % 3],
                color=PALETTE[place % len(PALETTE)],
                label=spelled(name),
            )
        if interval is not None:
            name, share = interval
            low, high = (
                [row[f"{name}_{side}"] for row in mine] for side in ("low", "high")
            )
            label = f"{spelled(name)}, {share:.0%} interval"
            color = PALETTE[methods.index(name) % len(PALETTE)]
            ax.fill_between(dates, low, high, color=color, alpha=0.2, lw=0, label=label)
        ax.set(ylabel="extent, million km²")
        ax.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=8))
        ax.grid(True)
        figure: Figure = ax.get_figure(root=True)  # type: ignore[assignment]
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def forecast_maps(
    truth: np.ndarray,
    forecasts: Mapping[str, np.ndarray],
    *,
    threshold: float,
    title: str,
    crop: tuple[slice, slice] = (slice(None), slice(None)),
) -> Figure:
    """Draws what came and what was forecast, each with the ice edge that came.

    Args:
        truth: ``(y, x)`` what came, NaN for void.
        forecasts: Method -> ``(y, x)``.
        threshold: The concentration of the edge.
        title: Title of the figure.
        crop: Rows and columns that are shown.

    Returns:
        The figure: concentrations from 0 to 1, and below each forecast its error.
    """
    names = list(forecasts)
    with house_style():
        ratio = np.divide(*truth[crop].shape)
        figure = new_figure((2.5 * (len(names) + 1) + 0.9, 2.5 * ratio * 2 + 1.0))
        axes = figure.subplots(2, len(names) + 1)
        values = [truth, *forecasts.values()]
        for ax, name, field in zip(axes[0], ["observed", *names], values, strict=True):
            shown = _draw(ax, field[crop], "Blues_r", (0.0, 1.0), spelled(name))
            _draw_edge(ax, truth[crop], threshold)
        axes[1, 0].axis("off")
        for ax, name in zip(axes[1, 1:], names, strict=True):
            error = (forecasts[name] - truth)[crop]
            off = _draw(ax, error, "RdBu_r", (-0.6, 0.6), f"{spelled(name)}: error")
            _draw_edge(ax, truth[crop], threshold)
        bars: Any = {"shrink": 0.8, "pad": 0.02}
        figure.colorbar(shown, ax=axes[0].tolist(), label="fraction", **bars)
        figure.colorbar(off, ax=axes[1].tolist(), label="forecast − observed", **bars)
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        figure.supxlabel(
            f"line: observed edge, {threshold:.0%}; grey: land and void",
            x=0.01,
            ha="left",
            fontsize=8.5,
        )
    return figure


def spread_skill_plot(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws error over spread in bins of spread, a line a method and lead.

    Args:
        rows: Of a forecast's result: ``method``, ``lead``, ``bins``.

    Returns:
        The figure; on the diagonal the spread is right.
    """
    with house_style():
        ax = new_figure((4.6, 4.4)).add_subplot()
        methods = list(dict.fromkeys(row["method"] for row in rows))
        most = 0.0
        for row in rows:
            place = methods.index(row["method"])
            x = [b["spread"] for b in row["bins"]]
            y = [b["skill"] for b in row["bins"]]
            most = max(most, *x, *y)
            ax.plot(
                x, y, _LINES[place % 4], marker=_MARKERS[row["lead"] % 8], ms=4,
                color=PALETTE[place % 8],
                label=f"{spelled(row['method'])}, lead {row['lead']}",
            )  # fmt: skip
        ax.plot([0, most], [0, most], color="#8a8f94", lw=1)
        ax.set(xlabel="spread that is told", ylabel="error that came (RMS)")
        ax.grid(True)
        figure: Figure = ax.get_figure(root=True)  # type: ignore[assignment]
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def forecast_film(frames: Sequence[Figure]) -> bytes:
    """Puts figures of one size into an animated GIF.

    Args:
        frames: Figures, at least one, each shown for 0.7 s.

    Returns:
        The file's bytes.

    Raises:
        ValueError: There are no figures.
    """
    from PIL import Image

    if not frames:
        raise ValueError("`frames` must hold at least one figure. Received: none.")
    pictures = [Image.open(io.BytesIO(figure_png(f))).convert("RGB") for f in frames]
    size = pictures[0].size
    same = [p if p.size == size else p.resize(size) for p in pictures]
    held = io.BytesIO()
    few = [p.quantize(96) for p in same]
    few[0].save(
        held, "GIF", save_all=True, append_images=few[1:],
        duration=_SHOWN_MS, loop=0,
    )  # fmt: skip
    return held.getvalue()


def _draw(
    ax: Axes, field: np.ndarray, name: str, limits: tuple[float, float], title: str
) -> Any:
    colours = colormaps[name].with_extremes(bad=VOID_COLOR)
    shown = ax.imshow(
        np.ma.masked_invalid(field), cmap=colours, vmin=limits[0], vmax=limits[1]
    )
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9.5)
    return shown


def _draw_edge(ax: Axes, truth: np.ndarray, threshold: float) -> None:
    known = np.ma.masked_invalid(truth)
    if known.count() and known.min() < threshold <= known.max():
        ax.contour(known, [threshold], colors=_EDGE, linewidths=0.8)


def latest_maps(
    values: np.ndarray,
    spread: np.ndarray | None,
    dates: Sequence[str],
    *,
    covered: float,
    crop: tuple[slice, slice] = (slice(None), slice(None)),
) -> Figure:
    """Draws the forecast of each lead, and below it how unsure it is.

    Args:
        values: ``(lead, y, x)`` fractions.
        spread: ``(lead, y, x)`` width of the interval that is told, ``None``: none.
        dates: The date of each lead.
        covered: Share that the interval shall cover.
        crop: Rows and columns that are shown.

    Returns:
        The figure.
    """
    rows = 1 if spread is None else 2
    with house_style():
        ratio = np.divide(*values[0][crop].shape)
        figure = new_figure((2.7 * len(dates) + 0.9, 2.7 * ratio * rows + 0.6))
        axes = figure.subplots(rows, len(dates), squeeze=False)
        bars: Any = {"shrink": 0.8, "pad": 0.02}
        for ax, field, date in zip(axes[0], values, dates, strict=True):
            shown = _draw(ax, field[crop], "Blues_r", (0.0, 1.0), date)
        figure.colorbar(shown, ax=axes[0].tolist(), label="fraction", **bars)
        if spread is not None:
            for ax, field in zip(axes[1], spread, strict=True):
                wide = _draw(ax, field[crop], "viridis", (0.0, 0.8), "")
            label = f"width of {covered:.0%} interval"
            figure.colorbar(wide, ax=axes[1].tolist(), label=label, **bars)
    return figure
