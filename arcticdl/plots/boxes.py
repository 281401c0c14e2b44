"""Pictures with boxes drawn over them: what is there, and what was found."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import ArrayLike

from arcticdl.boxes import IGNORE, box_corners, is_box
from arcticdl.choices import check_names
from arcticdl.plots.style import (
    VOID_COLOR,
    checked_colors,
    house_style,
    new_figure,
    spelled,
)

_TRUTH, _FOUND, _IGNORED = "-", (0, (3, 2)), (0, (1, 1.5))
_HALO = [Stroke(linewidth=2.6, foreground="#ffffff", alpha=0.9), Normal()]


class BoxPicture(NamedTuple):
    """One image with its boxes."""

    image: Any
    """uint8 ``(y, x, 3)``, as `composite_rgb` paints it."""
    truth: ArrayLike
    """``(n, 6)``, see `arcticdl.boxes.form`; padding is left out."""
    found: ArrayLike | None = None
    """``(m, 6)``, what a model found."""
    scores: ArrayLike | None = None
    """``(m,)``, written beside each box found."""
    title: str = ""
    """Above the image."""


def draw_boxes(
    ax: Axes,
    boxes: ArrayLike,
    colors: Sequence[str],
    *,
    scores: ArrayLike | None = None,
    found: bool = False,
) -> None:
    """Draws boxes over an image whose pixels are counted from its upper left corner.

    Args:
        ax: Axes in which `imshow` has drawn the image, without an extent of its own.
        boxes: ``(n, 6)``; padding is left out.
        colors: Of each class; ignored boxes are grey and dotted.
        scores: Written at the upper left of each.
        found: Whether a model found them: dashed, else solid.
    """
    check_names(colors=colors)
    array = np.asarray(boxes, np.float64).reshape(-1, 6)
    texts = [""] * len(array)
    if scores is not None:
        texts = [f"{v:.2f}" for v in np.asarray(scores, np.float64).ravel().tolist()]
    for row, text in zip(array, texts, strict=True):
        if not is_box(row):
            continue
        ignored = row[5] == IGNORE
        color = VOID_COLOR if ignored else colors[int(row[5])]
        # `imshow` has the centre of the first pixel at 0.
        corners = box_corners(row) - 0.5
        outline = Polygon(
            corners,
            fill=False,
            edgecolor=color,
            lw=1.4,
            ls=_IGNORED if ignored else _FOUND if found else _TRUTH,
            path_effects=_HALO,
        )
        ax.add_patch(outline)
        if text:
            x, y = corners[np.lexsort(corners.T)[0]]
            ax.text(
                x, y, text, color=color, fontsize=7.5, va="bottom", path_effects=_HALO,
                clip_on=True,
            )  # fmt: skip


def box_pictures(
    pictures: Sequence[BoxPicture],
    classes: Sequence[str],
    colors: Sequence[str] = (),
    *,
    columns: int = 4,
) -> Figure:
    """Draws images in rows, each with its boxes, and one legend for all.

    Args:
        pictures: What to draw.
        classes: Names of the classes.
        colors: Of each; empty takes colours that any reader can tell apart.
        columns: Images in a row.

    Returns:
        The figure: what is there is solid, what was found dashed, with its score.

    Raises:
        ValueError: No picture, or colours that do not fit the classes.
    """
    check_names(classes=classes, colors=colors)
    if not pictures:
        raise ValueError("`pictures` must hold at least one. Received: none.")
    colors = checked_colors(classes, colors)
    across = min(columns, len(pictures))
    down = -(-len(pictures) // across)
    height, width = np.shape(pictures[0].image)[:2]
    side = 2.3 if across > 2 else 3.4
    size = (side * across, (side * height / width + 0.3) * down + 0.4)
    with house_style():
        figure = new_figure(size)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for ax, picture in zip(axes, pictures, strict=False):
            ax.imshow(picture.image)
            draw_boxes(ax, picture.truth, colors)
            if picture.found is not None:
                draw_boxes(ax, picture.found, colors, scores=picture.scores, found=True)
            ax.set_title(picture.title, fontsize="small")
            ax.set(xticks=[], yticks=[])
        for ax in axes[len(pictures) :]:
            ax.set_axis_off()
        figure.legend(
            handles=_legend(pictures, classes, colors),
            loc="outside lower left",
            ncols=4 if across > 1 else 2,
        )
    return figure


def _legend(
    pictures: Sequence[BoxPicture], classes: Sequence[str], colors: Sequence[str]
) -> list[Line2D]:
    """One line a class, and what the kinds of line mean."""
    named = zip(classes, colors, strict=True)
    lines = [Line2D([], [], color=c, label=spelled(name)) for name, c in named]
    truth = [np.asarray(p.truth, float).reshape(-1, 6) for p in pictures]
    if any((rows[:, 5] == IGNORE).any() for rows in truth):
        lines.append(Line2D([], [], color=VOID_COLOR, ls=_IGNORED, label="ignored"))
    if any(picture.found is not None for picture in pictures):
        ink = "#57606a"
        if any(len(rows) for rows in truth):
            lines.append(Line2D([], [], color=ink, ls=_TRUTH, label="marked"))
        lines.append(Line2D([], [], color=ink, ls=_FOUND, label="found, with score"))
    return lines
