"""Drawings of a search: its history, what mattered, and which values did well."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator, NullFormatter

from arcticdl.choices import check_names
from arcticdl.plots.style import PALETTE, house_style, new_figure

_QUIET = "#9aa3ab"
_GIVEN_UP: dict[str, Any] = {"marker": "x", "color": "#8a8f94", "lw": 1.3, "s": 34}


def search_history(
    done: Mapping[int, float],
    given_up: Mapping[int, float] | None = None,
    *,
    label: str = "score",
    maximize: bool = True,
) -> Figure:
    """Draws the value of each trial, and the best one so far.

    Args:
        done: Number of the trial -> its value.
        given_up: The same of trials that ended early, with their last value.
        label: Name of the value, with its unit.
        maximize: Whether more is better.

    Returns:
        The figure.

    Raises:
        ValueError: ``done`` is empty.
    """
    if not done:
        raise ValueError("`done` must hold a trial. Received: none.")
    numbers = sorted(done)
    values = np.array([done[number] for number in numbers], float)
    running = np.maximum if maximize else np.minimum
    with house_style():
        ax = new_figure((6.8, 3.6)).add_subplot()
        best = running.accumulate(values)
        ax.step(numbers, best, where="post", color=PALETTE[1], label="best so far")
        dot: dict[str, Any] = {"color": PALETTE[0], "s": 30, "zorder": 3}
        ax.scatter(numbers, values, label="trial", **dot)
        if given_up:
            told = "given up early, last value"
            ax.scatter([*given_up], [*given_up.values()], label=told, **_GIVEN_UP)
        ax.set(xlabel="trial", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(True)
        figure = _root(ax)
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def parameter_importance(importance: Mapping[str, float]) -> Figure:
    """Draws how much of the difference between trials each parameter explains.

    Args:
        importance: Name of the parameter -> its share, in [0, 1].

    Returns:
        The figure, the most important one on top.

    Raises:
        ValueError: ``importance`` is empty.
    """
    if not importance:
        raise ValueError("`importance` must hold a parameter. Received: none.")
    names = sorted(importance, key=lambda name: -importance[name])
    with house_style():
        ax = new_figure((6.8, 0.9 + 0.56 * len(names))).add_subplot()
        for row, name in enumerate(names):
            share = importance[name]
            ax.barh(row, share, height=0.36, color=PALETTE[0])
            # Names stand above their bars: beside them they would take half of a phone.
            ax.text(0, row - 0.25, name, va="bottom", fontsize=9.5)
            ax.text(share + 0.012, row, f"{share:.2f}", va="center", fontweight="bold")
        ax.set(ylim=(len(names) - 0.6, -0.8), xlim=(0, 1.1), yticks=[])
        ax.set_xticks(np.linspace(0, 1, 6))
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("share of the difference between trials")
        ax.grid(True, axis="x")
        ax.set_axisbelow(True)
    return _root(ax)


def parameter_slices(
    params: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    *,
    label: str = "score",
    log: Collection[str] = (),
    best: int | None = None,
) -> Figure:
    """Draws the value of the trials over each parameter, a panel a parameter.

    Args:
        params: Of each trial name -> number or text; one that is not there is left out.
        values: Value of each trial.
        label: Name of the value, with its unit.
        log: Parameters with a logarithmic axis.
        best: Place of the best trial, which is marked.

    Returns:
        The figure; colour is the order of the trials, dark the first.

    Raises:
        ValueError: The two have different lengths, or are empty.
    """
    check_names(log=log)
    names = _checked(params, values)
    columns = min(2, len(names))  # of three the letters would be too small
    rows = -(-len(names) // columns)
    with house_style():
        figure = new_figure((3.5 * columns, 2.8 * rows))
        axes: list[Axes] = []
        for place, name in enumerate(names, start=1):
            shared = axes[0] if axes else None
            ax = figure.add_subplot(rows, columns, place, sharey=shared)
            axes.append(ax)
            _draw_slice(ax, name, params, values, best)
            if name in log:
                _log_axis(ax)
            if (place - 1) % columns == 0:
                ax.set_ylabel(label)
            else:
                ax.tick_params(labelleft=False)
    return figure


def _draw_slice(
    ax: Axes,
    name: str,
    params: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    best: int | None,
) -> None:
    there = [n for n, one in enumerate(params) if name in one]
    given = [params[n][name] for n in there]
    order = np.array(there) / max(len(values) - 1, 1)
    colors = colormaps["viridis"](0.9 * order)
    x, texts = _places(given)
    y = [values[n] for n in there]
    ax.scatter(x, y, c=colors, s=28, zorder=3)
    if best in there:
        at = there.index(best)
        ring: dict[str, Any] = {"facecolor": "none", "edgecolor": PALETTE[1]}
        ax.scatter([x[at]], [y[at]], s=110, lw=1.8, zorder=4, **ring)
    if texts:
        ax.set_xticks(range(len(texts)), [_cut(t) for t in texts], rotation=20)
        ax.set_xlim(-0.5, len(texts) - 0.5)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=_whole(given)))
    ax.set_title(name.rpartition(".")[2].replace("_", " "))
    ax.grid(True)


def parallel_coordinates(
    params: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    *,
    label: str = "score",
    log: Collection[str] = (),
    maximize: bool = True,
) -> Figure:
    """Draws each trial as a line through its parameters, coloured by its value.

    Args:
        params: As of ``parameter_slices``.
        values: Value of each trial.
        label: Name of the value, with its unit.
        log: Parameters on a logarithmic scale.
        maximize: Whether more is better; better lines lie above others.

    Returns:
        The figure.

    Raises:
        ValueError: The two have different lengths, or are empty.
    """
    check_names(log=log)
    names = _checked(params, values)
    low, high = min(values), max(values)
    with house_style():
        figure = new_figure((max(1.75 * (len(names) + 1), 4.6), 3.8))
        ax = figure.add_subplot()
        scaled = {name: _scaled(params, name, name in log) for name in names}
        colors = colormaps["viridis"]
        sign = 1 if maximize else -1
        for n in sorted(range(len(values)), key=lambda n: sign * values[n]):
            share = (values[n] - low) / (high - low) if high > low else 1.0
            points = [scaled[name][0].get(n, np.nan) for name in names] + [share]
            color = colors(0.95 * share)
            ax.plot(range(len(points)), points, color=color, lw=1.5, alpha=0.85,
                    marker="o", ms=3)  # fmt: skip
        _draw_rails(ax, names, scaled, (low, high), label)
    return figure


def _draw_rails(
    ax: Axes,
    names: Sequence[str],
    scaled: Mapping[str, tuple[dict[int, float], list[tuple[float, str]]]],
    ends: tuple[float, float],
    label: str,
) -> None:
    titles = [name.rpartition(".")[2].replace("_", " ") for name in names]
    ticks = [scaled[name][1] for name in names]
    ticks.append([(0.0, f"{ends[0]:.3g}"), (1.0, f"{ends[1]:.3g}")])
    for x, marks in enumerate(ticks):
        ax.axvline(x, ymin=0.07, ymax=0.93, color="#1b1f23", lw=0.9, zorder=0)
        for y, text in marks:
            _mark(ax, x, y, text)
    ax.set_xticks(range(len(ticks)), [*titles, label], fontsize=9.5)
    ax.set(yticks=[], xlim=(-0.15, len(ticks) - 0.45), ylim=(-0.12, 1.12))
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def _mark(ax: Axes, x: int, y: float, text: str) -> None:
    """A rail's mark: at its ends outside, where no line crosses it."""
    if y in (0.0, 1.0):
        side: Any = "bottom" if y else "top"
        ax.text(x, y + (0.05 if y else -0.05), _cut(text), ha="center", va=side,
                fontsize=9)  # fmt: skip
    else:
        ax.text(x + 0.04, y + 0.015, _cut(text), va="bottom", fontsize=9)


def pareto_front(
    points: Mapping[int, tuple[float, float]],
    front: Collection[int],
    labels: tuple[str, str],
) -> Figure:
    """Draws trials by two objectives, and those that none beats in both.

    Args:
        points: Number of the trial -> its two values; the second one is drawn across.
        front: Numbers of the trials that no other beats.
        labels: Names of the two values, with their units.

    Returns:
        The figure, the front numbered by trial.

    Raises:
        ValueError: ``points`` is empty.
    """
    if not points:
        raise ValueError("`points` must hold a trial. Received: none.")
    with house_style():
        ax = new_figure((6.0, 4.2)).add_subplot()
        rest = [xy for number, xy in points.items() if number not in front]
        if rest:
            ax.scatter([p[1] for p in rest], [p[0] for p in rest], s=30, color=_QUIET,
                       label="beaten in both")  # fmt: skip
        best = sorted((points[n][1], points[n][0], n) for n in front)
        x, y = [b[0] for b in best], [b[1] for b in best]
        ax.plot(x, y, color=PALETTE[0], lw=1.2, ls="--")
        ax.scatter(x, y, s=46, color=PALETTE[0], label="beaten by none", zorder=3)
        for across, up, number in best:
            ax.annotate(str(number), (across, up), (5, 5), textcoords="offset points",
                        fontsize=9)  # fmt: skip
        ax.set(xlabel=labels[1], ylabel=labels[0])
        ax.xaxis.set_major_formatter(lambda value, _: _counted(value))
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.margins(0.1)
        ax.grid(True)
        figure = _root(ax)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _checked(params: Sequence[Mapping[str, Any]], values: Sequence[float]) -> list[str]:
    if not values or len(params) != len(values):
        raise ValueError(
            "`params` and `values` must hold the same trials, one or more. Received: "
            f"{len(params)} and {len(values)}."
        )
    return list(dict.fromkeys(name for one in params for name in one))


def _places(given: Sequence[Any]) -> tuple[list[float], list[str]]:
    """Where values stand on an axis, and the texts of an axis that has some."""
    if all(isinstance(value, int | float) for value in given):
        return [float(value) for value in given], []
    texts = sorted({str(value) for value in given})
    return [float(texts.index(str(value))) for value in given], texts


def _scaled(
    params: Sequence[Mapping[str, Any]], name: str, log: bool
) -> tuple[dict[int, float], list[tuple[float, str]]]:
    """Of each trial its place on a rail from 0 to 1, and the rail's marks."""
    there = [n for n, one in enumerate(params) if name in one]
    given = [params[n][name] for n in there]
    places, texts = _places(given)
    x = np.log10(places) if log else np.array(places)
    low, high = float(x.min()), float(x.max())
    width = high - low
    share = (x - low) / width if width else np.full(len(x), 0.5)
    if texts:
        at = np.linspace(0, 1, len(texts)) if len(texts) > 1 else [0.5]
        marks = [(float(a), text) for a, text in zip(at, texts, strict=True)]
    elif width:
        marks = [(0.0, _number(min(places))), (1.0, _number(max(places)))]
    else:
        marks = [(0.5, _number(places[0]))]
    return dict(zip(there, share.tolist(), strict=True)), marks


def _number(value: float) -> str:
    """A number without exponents that cannot be read on a phone."""
    small = value != 0 and (abs(value) < 1e-2 or abs(value) >= 1e5)
    return f"{value:.1e}" if small else f"{value:.4g}"


def _counted(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def _whole(given: Sequence[Any]) -> bool:
    return all(isinstance(value, int) for value in given)


def _log_axis(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=4))
    ax.xaxis.set_major_formatter(LogFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())


def _cut(text: str) -> str:
    return text if len(text) <= 16 else text[:15] + "…"


def _root(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure  # type: ignore[return-value]
