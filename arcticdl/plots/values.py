"""Pictures of numbers: maps with a scale, truth beside prediction, coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from arcticdl.plots.style import PALETTE, VOID_COLOR, house_style, new_figure

_MAX_OFF_SCALE = 0.02  # share of values that a map's scale may leave out on either side


def scaled_rgb(
    values: np.ndarray, low: float, high: float, colormap: str = "viridis"
) -> np.ndarray:
    """Paints numbers on a scale; what is not finite is grey.

    Args:
        values: Numbers ``(y, x)``.
        low: Number at the scale's lower end.
        high: Number at its upper end, above ``low``.
        colormap: Name of a Matplotlib colour map.

    Returns:
        ``(y, x, 3)`` uint8.

    Example:
        >>> scaled_rgb(np.array([[0.0, 1.0]]), 0, 1, "gray").tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    share = np.clip((np.where(known, values, low) - low) / (high - low), 0, 1)
    painted = colormaps[colormap](share)[..., :3]
    painted[~known] = to_rgb(VOID_COLOR)
    return np.round(painted * 255).astype(np.uint8)


def value_map(
    values: Any,
    ax: Axes | None = None,
    *,
    limits: tuple[float, float] | None = None,
    units: str = "",
    title: str | None = None,
    two_sided: bool = False,
) -> Figure:
    """Draws a map of numbers with its scale beside it.

    Args:
        values: Numbers ``(y, x)``; what is not finite is grey.
        ax: Axes to draw into; a new figure by default.
        limits: Ends of the scale; default: from the 2nd to the 98th percentile.
        units: Unit beside the scale.
        title: Title above the map.
        two_sided: Whether both sides of the middle of the scale have a colour, as of
            what speaks for and against.

    Returns:
        The figure.

    Example:
        >>> figure = value_map(np.array([[0.0, 0.5], [1.0, np.nan]]), units="K")
        >>> len(figure.axes)
        2
    """
    values = np.asarray(values, np.float64)
    low, high = scale_of(values, limits)
    with house_style():
        if ax is None:
            ratio = min(max(values.shape[1] / values.shape[0], 0.4), 2.5)
            ax = new_figure((4.4 * ratio + 1.6, 4.4)).add_subplot()
        scale = ax.imshow(
            np.ma.masked_invalid(values),
            vmin=low,
            vmax=high,
            cmap="RdBu_r" if two_sided else "viridis",
        )
        ax.set_facecolor(VOID_COLOR)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        if title:
            ax.set_title(title)
        figure = ax.get_figure()
        assert isinstance(figure, Figure)
        bar = figure.colorbar(scale, ax=ax, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.set_label(units if units not in ("", "1") else "")
    return figure


def scale_of(
    values: np.ndarray, limits: Sequence[float] | None = None
) -> tuple[float, float]:
    """Ends of a scale: those given, else from the 2nd to the 98th percentile.

    Args:
        values: Numbers of any shape; what is not finite does not count.
        limits: Both ends, or ``None``.

    Returns:
        The lower end and the upper one, which is above it.

    Example:
        >>> scale_of(np.array([5.0, np.nan]))
        (5.0, 6.0)
    """
    known = values[np.isfinite(values)]
    if limits is None and known.size:
        limits = np.quantile(known, [_MAX_OFF_SCALE, 1 - _MAX_OFF_SCALE]).tolist()
    low, high = limits if limits is not None else (0.0, 1.0)
    step = max(1.0, 1e-6 * abs(low))  # 1 is nothing beside a fill value of 1e36
    return float(low), float(high if high > low else low + step)


def truth_scatter(
    sample: Mapping[str, Sequence[float]], ax: Axes | None = None, *, units: str = ""
) -> Figure:
    """Draws predicted numbers over true ones, with the line on which both agree.

    Args:
        sample: ``{"true": [...], "pred": [...]}``, as an evaluation keeps it.
        ax: Axes to draw into; a new figure by default.
        units: Unit of both axes.

    Returns:
        The figure.

    Example:
        >>> figure = truth_scatter({"true": [0.0, 1.0], "pred": [0.1, 0.8]})
        >>> figure.axes[0].get_xlabel()
        'true'
    """
    true, pred = (np.asarray(sample[k], np.float64) for k in ("true", "pred"))
    shown = f" ({units})" if units not in ("", "1") else ""
    with house_style():
        ax = new_figure((4.8, 4.6)).add_subplot() if ax is None else ax
        ends = np.concatenate([true, pred]) if true.size else np.array([0.0, 1.0])
        low, high = float(ends.min()), float(ends.max())
        pad = 0.03 * max(high - low, 1e-12)
        ax.plot([low, high], [low, high], color="#1b1f23", lw=1, zorder=3)
        ax.scatter(true, pred, s=7, color=PALETTE[0], alpha=0.25, linewidths=0)
        ax.set_xlim(low - pad, high + pad)
        ax.set_ylim(low - pad, high + pad)
        ax.set_aspect("equal")
        ax.set_xlabel(f"true{shown}")
        ax.set_ylabel(f"predicted{shown}")
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    return figure


def coverage_curve(
    coverage: Sequence[Mapping[str, Any]], ax: Axes | None = None
) -> Figure:
    """Draws the share of truths below each predicted level, beside the level itself.

    Args:
        coverage: ``[{"level": 0.1, "share": 0.12}, ...]``, as an evaluation keeps it.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The figure: on the diagonal the predicted distribution is right; steeper than
        it, too wide; flatter, too narrow.

    Example:
        >>> figure = coverage_curve([{"level": 0.5, "share": 0.4}])
        >>> figure.axes[0].get_ylabel()
        'share of truths below'
    """
    known = [entry for entry in coverage if entry["share"] is not None]
    with house_style():
        ax = new_figure((4.6, 4.2)).add_subplot() if ax is None else ax
        ax.plot([0, 1], [0, 1], color="#9aa3ab", lw=1)
        levels = [entry["level"] for entry in known]
        shares = [entry["share"] for entry in known]
        ax.plot(levels, shares, color=PALETTE[0], marker="o", clip_on=False)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.set_aspect("equal")
        ax.set_xlabel("predicted level")
        ax.set_ylabel("share of truths below")
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    return figure
