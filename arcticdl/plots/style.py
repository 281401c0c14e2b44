"""How figures look, and how they leave the program.

Colours that are ours are those of Okabe and Ito, which readers with any common colour
vision tell apart (https://jfly.uni-koeln.de/color/). Class colours come from the data:
for ice charts those of the World Meteorological Organization.
"""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from arcticdl.files import atomic_path

PALETTE = (
    "#0072B2",  # blue
    "#D55E00",  # vermilion
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#F0E442",  # yellow
    "#000000",
)
"""Eight colours, in the order in which lines and unnamed classes take them."""

VOID_COLOR = "#c8c8c8"
"""Void pixels: outside the classes, never scored."""

INK = "#1b1f23"
"""Text, lines and frames."""

_STYLE: Any = {
    "font.size": 10.0,
    "font.family": ["DejaVu Sans"],
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.prop_cycle": cycler(color=PALETTE[:6]),
    "grid.color": "#8a8f94",
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "image.interpolation": "nearest",
    "svg.fonttype": "none",
    "svg.hashsalt": "arcticdl",
}


class ShownFigure(Figure):
    """A figure outside ``pyplot`` that a notebook shows when a cell returns it."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Applies the project's style to figures made and saved inside the block."""
    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(size_in: tuple[float, float] = (6.4, 4.0)) -> Figure:
    """Makes an empty figure that needs neither a display nor closing.

    Args:
        size_in: Width and height in inches.
    """
    figure = ShownFigure(figsize=size_in, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def default_colors(num_classes: int) -> tuple[str, ...]:
    """Returns a colour for each of ``num_classes`` classes that name none.

    Args:
        num_classes: Number of classes, at least 1.

    Returns:
        ``#rrggbb`` strings: the palette of Okabe and Ito, then evenly spaced samples of
        a perceptually uniform colour map where more are needed.
    """
    if num_classes < 1:
        raise ValueError(
            f"`num_classes` must be at least 1. Received: num_classes={num_classes}."
        )
    if num_classes <= len(PALETTE):
        return PALETTE[:num_classes]
    steps = matplotlib.colormaps["viridis"].resampled(num_classes)
    return tuple(matplotlib.colors.to_hex(steps(i)) for i in range(num_classes))


def spelled(name: str) -> str:
    """Returns a class's or method's name as a figure shows it.

    Args:
        name: A name whose words are joined by ``_``.

    Example:
        >>> spelled("thin_first_year_ice")
        'thin first-year ice'
    """
    return name.replace("_", " ").replace("first year", "first-year")


def checked_colors(classes: Sequence[str], colors: Sequence[str]) -> tuple[str, ...]:
    """Returns one valid colour a class, or refuses.

    Args:
        classes: Class names.
        colors: Matplotlib colours in the same order; empty takes default colours.

    Raises:
        ValueError: If the counts differ or a colour is not one.
    """
    if not colors:
        return default_colors(len(classes))
    if len(colors) != len(classes):
        raise ValueError(
            "`colors` must hold one colour a class. "
            f"Received: {len(colors)} colours for {len(classes)} classes."
        )
    for color in colors:
        if not matplotlib.colors.is_color_like(color):
            raise ValueError(
                "`colors` must be colours such as '#ff7d07'. "
                f"Received: colors={list(colors)!r}."
            )
    return tuple(matplotlib.colors.to_hex(color) for color in colors)


def figure_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """Returns the figure as a PNG file's bytes, trimmed to its content."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def figure_svg(figure: Figure) -> str:
    """Returns the figure as an ``<svg>`` element to put into a page.

    Text stays text, and everything drawn in the style's ink takes the page's
    ``currentColor``, so that one drawing is readable on a light and on a dark page.
    """
    buffer = io.StringIO()
    with house_style():
        figure.savefig(
            buffer,
            format="svg",
            bbox_inches="tight",
            transparent=True,
            metadata={"Date": None, "Creator": None},
        )
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def write_figure(figure: Figure, path: str | os.PathLike, *, dpi: int = 150) -> Path:
    """Writes the figure to a file; a failed write leaves no file behind.

    Args:
        figure: Any Matplotlib figure.
        path: The file; its suffix gives the format (``.png``, ``.svg``, ``.pdf``).
        dpi: Dots an inch, for raster formats.

    Returns:
        The path.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(
            f"`path` must end with one of {sorted(known)}. Received: path={path!s}."
        )
    with atomic_path(path) as part, house_style():
        figure.savefig(part, format=kind, dpi=dpi, bbox_inches="tight")
    return path
