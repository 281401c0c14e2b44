"""Drawings of numbers: training curves, confusion, reliability, comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from arcticdl.choices import check_names
from arcticdl.plots.history import quantities, read_history
from arcticdl.plots.style import PALETTE, house_style, new_figure, spelled

_SPELLED = {"iou": "IoU", "f1": "F1", "miou": "mIoU", "mae": "MAE", "rmse": "RMSE"}


def training_curves(
    history: Any,
    metrics: Sequence[str] | None = None,
    *,
    columns: int = 2,
    legend: bool = True,
) -> Figure:
    """Draws every training quantity by epoch, training beside validation.

    Args:
        history: A ``history.csv`` (columns ``epoch``, ``loss``, ``val_loss``, ...), a
            data frame or a mapping with such columns, the ``History`` that ``fit``
            returns, or a mapping of names such as ``"fold 0"`` to any of these, to
            draw folds in one figure. Without a column ``epoch`` they count from 1.
        metrics: Quantities to draw, in order; all of them by default. Each is drawn
            together with its ``val_`` twin.
        columns: Panels in a row.
        legend: Whether to say below the panels which line is which.

    Returns:
        The figure: one panel a quantity, training dashed, validation solid.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a file holds no epoch, or a quantity is not in it.
    """
    check_names(metrics=metrics)
    runs = _read_histories(history)
    known = list(dict.fromkeys(n for frame in runs.values() for n in quantities(frame)))
    names = list(metrics) if metrics is not None else known
    missing = sorted(set(names) - set(known))
    if missing or not names:
        raise ValueError(
            f"`metrics` must be among {sorted(known)}. Received: {missing or names}."
        )
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    with house_style():
        figure = new_figure((4.6 * columns, 2.9 * rows))
        for position, name in enumerate(names, start=1):
            ax = figure.add_subplot(rows, columns, position)
            _draw_quantity(ax, name, runs)
        if legend:
            handles, names = figure.axes[0].get_legend_handles_labels()
            figure.legend(
                handles, names, loc="outside lower center", ncols=min(len(names), 4)
            )
    return figure


def training_quantities(history: Any) -> tuple[list[str], bool]:
    """Tells what ``training_curves`` draws.

    Args:
        history: As there.

    Returns:
        The quantities, and whether any has a validation curve.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a file holds no epoch.
    """
    frames = _read_histories(history).values()
    names = dict.fromkeys(n for frame in frames for n in quantities(frame))
    validated = any(str(c).startswith("val_") for frame in frames for c in frame)
    return list(names), validated


def confusion(
    cm: Any,
    classes: Sequence[str],
    ax: Axes | None = None,
    *,
    normalize: bool = True,
    title: str | None = None,
) -> Figure:
    """Draws a confusion matrix: rows the truth, columns the prediction.

    Args:
        cm: Counts, shape ``(class, class)``, ``[true, predicted]``.
        classes: Class names.
        ax: Axes to draw into; a new figure by default.
        normalize: Whether cells show the fraction of the true class (rows add up to
            1) instead of counts. Shading is by that fraction in both cases.
        title: Title above the matrix.

    Returns:
        The figure.

    Raises:
        ValueError: If the matrix is not square or does not fit the classes.
    """
    check_names(classes=classes)
    counts = np.asarray(cm)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(
            f"`cm` must have shape {(len(classes), len(classes))}, one row and one "
            f"column a class. Received: shape {counts.shape}."
        )
    totals = counts.sum(axis=1, keepdims=True)
    fraction = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    with house_style():
        size = 1.9 + 0.85 * len(classes)
        ax = new_figure((size + 0.6, size)).add_subplot() if ax is None else ax
        ax.imshow(fraction, cmap="Blues", vmin=0.0, vmax=1.0)
        for (row, column), value in np.ndenumerate(fraction):
            text = f"{value:.2f}" if normalize else f"{counts[row, column]:,}"
            if not totals[row, 0]:
                text = "–"
            color = "white" if value > 0.55 else "#1b1f23"
            ax.text(column, row, text, ha="center", va="center", color=color)
        names = [spelled(name) for name in classes]
        ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        ax.tick_params(length=0)
        for side in ax.spines.values():
            side.set_visible(False)
        if title:
            ax.set_title(title)
    return _root(ax)


def reliability(calibration: Mapping[str, Any], ax: Axes | None = None) -> Figure:
    """Draws how often the model is right against how sure it says it is.

    Args:
        calibration: The ``"calibration"`` entry of an evaluation's result: ``ece``
            and ``bins``, each with ``mean_confidence``, ``accuracy`` and ``count``.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The figure: points on the diagonal are calibrated, below it over-confident;
        the area of a point grows with its share of the pixels.
    """
    filled = [b for b in calibration["bins"] if b["count"] > 0]
    confidence = [b["mean_confidence"] for b in filled]
    accuracy = [b["accuracy"] for b in filled]
    share = np.array([b["count"] for b in filled], float)
    share = share / share.sum() if share.size else share
    with house_style():
        ax = new_figure((4.4, 4.0)).add_subplot() if ax is None else ax
        ax.plot([0, 1], [0, 1], color="#8a8f94", lw=1.0, ls="--", label="calibrated")
        ax.plot(confidence, accuracy, color=PALETTE[0], lw=1.2)
        label = f"model (ECE {calibration['ece']:.3f})"
        ax.scatter(
            confidence, accuracy, s=12 + 240 * share, color=PALETTE[0], clip_on=False
        )
        ax.plot([], [], color=PALETTE[0], marker="o", label=label)
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        ax.set_xlabel("confidence (highest class probability)")
        ax.set_ylabel("fraction correct")
        ax.grid(True)
        ax.legend(loc="upper left")
    return _root(ax)


def baseline_bars(
    values: Mapping[str, Mapping[str, float]],
    ax: Axes | None = None,
    *,
    label: str = "mean IoU",
    largest: float | None = 1.0,
) -> Figure:
    """Draws a score of several methods as bars with their intervals.

    Args:
        values: By method name a mapping with ``value`` and, optionally, ``low`` and
            ``high``; none below 0. The first is drawn in the accent colour.
        ax: Axes to draw into; a new figure by default.
        label: Name of the score, with its unit.
        largest: End of the axis; ``None``: as far as the bars reach.

    Returns:
        The figure.
    """
    ends = [max(v["value"], v.get("high") or 0.0) for v in values.values()]
    most = largest if largest is not None else max(*ends, 1e-12)
    with house_style():
        # Names stand above their bars: beside them they would take half of a phone.
        height = 0.7 + 0.66 * len(values)
        ax = new_figure((4.8, height)).add_subplot() if ax is None else ax
        for row, (name, score) in enumerate(values.items()):
            color = PALETTE[0] if row == 0 else "#9aa3ab"
            ax.barh(row, score["value"], height=0.4, color=color)
            ax.text(0, row - 0.28, spelled(name), va="bottom", fontsize=9.5)
            end = _draw_interval(ax, row, score)
            text = f"{score['value']:.3f}" if most <= 1 else f"{score['value']:.4g}"
            ax.text(end + 0.015 * most, row, text, va="center", fontweight="bold")
        ax.set_yticks([])
        ax.set_ylim(len(values) - 0.7, -0.8)
        ax.spines["left"].set_visible(False)
        ax.set_xlim(0, 1.15 * most)
        if largest is not None:
            ax.set_xticks(np.linspace(0, most, 6))
        ax.set_xlabel(label)
        ax.grid(True, axis="x")
        ax.set_axisbelow(True)
    return _root(ax)


def _draw_interval(ax: Axes, row: int, score: Mapping[str, float]) -> float:
    low, high = score.get("low"), score.get("high")
    if low is None or high is None:
        return score["value"]
    ax.plot([low, high], [row, row], color="#1b1f23", lw=1.4, solid_capstyle="butt")
    for end in (low, high):
        ax.plot([end, end], [row - 0.12, row + 0.12], color="#1b1f23", lw=1.4)
    return max(score["value"], high)


def _read_histories(history: Any) -> dict[str, pd.DataFrame]:
    if isinstance(history, Mapping) and history:
        values = list(history.values())
        if not all(np.ndim(v) == 1 and not isinstance(v, Mapping) for v in values):
            return {str(name): read_history(h) for name, h in history.items()}
    return {"": read_history(history)}


def _draw_quantity(ax: Axes, name: str, runs: Mapping[str, pd.DataFrame]) -> None:
    for number, (run, frame) in enumerate(runs.items()):
        epoch = frame["epoch"] if "epoch" in frame else np.arange(1, len(frame) + 1)
        color = PALETTE[number % 6]
        for column, dashes, part in (
            (name, "--", "training"),
            (f"val_{name}", "-", "validation"),
        ):
            if column in frame:
                label = f"{run} {part}".strip()
                # A lone epoch has no line to draw: the marker shows it.
                marker = "o" if len(frame) == 1 else None
                ax.plot(
                    epoch,
                    frame[column],
                    ls=dashes,
                    color=color,
                    marker=marker,
                    label=label,
                    alpha=1.0 if dashes == "-" else 0.75,
                )
    words = (_SPELLED.get(word, word) for word in name.split("_"))
    ax.set_title(" ".join(words))
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(True)
    if name == "learning_rate":
        ax.set_yscale("log")
        # Powers as exponents are too small to read on a phone.
        ax.yaxis.set_major_formatter(LogFormatter())
        ax.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
    if all(len(frame) == 1 for frame in runs.values()):
        _frame_one_epoch(ax)


def _frame_one_epoch(ax: Axes) -> None:
    """Makes room around a lone epoch, whose own range is a point."""
    drawn = np.concatenate([np.asarray(line.get_xdata(), float) for line in ax.lines])
    epochs = np.unique(drawn).tolist()
    ax.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    ax.set_xticks(epochs, [f"{epoch:g}" for epoch in epochs])
    largest = max(float(np.nanmax(line.get_ydata())) for line in ax.lines)
    if ax.get_yscale() == "linear" and largest > 0:
        lowest = min(float(np.nanmin(line.get_ydata())) for line in ax.lines)
        ax.set_ylim(min(0.0, 1.25 * lowest), 1.25 * largest)


def _root(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
