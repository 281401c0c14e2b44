"""Picture sheets: what to look at first, on one page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from arcticdl.labelling.suspects import Found, Region
from arcticdl.plots.maps import class_legend, class_rgb, composite_rgb
from arcticdl.plots.style import (
    VOID_COLOR,
    checked_colors,
    house_style,
    new_figure,
    spelled,
)
from arcticdl.tasks import Head
from arcticdl.tiles import TileStore
from arcticdl.tiles.views.assemble import assemble_scene

_LEAST_PX, _COLUMNS, _SIDE_IN = 48, 6, 2.0
_ROWS = ("image", "label", "model")


def suspect_sheet(
    found: Found, store: TileStore, head: Head, label: str, *, count: int = 12
) -> Figure:
    """Draws the most doubtful labels: image, label and model below each other.

    Args:
        found: Regions and answers of ``find_suspects``; at least one region.
        store: The store of their scenes.
        head: What was asked.
        label: Name of the label.
        count: Regions to draw.

    Returns:
        The figure, six regions a row; of whole images image alone, with both classes.
    """
    regions = found.regions[:count]
    rows = _ROWS if head.spec.dense else _ROWS[:1]
    columns = min(_COLUMNS, len(regions))
    blocks = -(-len(regions) // columns)
    scenes: dict[str, Any] = {}
    side = (_SIDE_IN * columns + 1.8, (_SIDE_IN * len(rows) + 0.55) * blocks)
    with house_style():
        figure = new_figure(side)
        grid = figure.subplots(blocks * len(rows), columns, squeeze=False)
        limits = _limits(regions)
        for number, region in enumerate(regions):
            block, column = divmod(number, columns)
            axes = grid[block * len(rows) : (block + 1) * len(rows), column]
            if region.image_id not in scenes:
                scenes[region.image_id] = _open(store, region.image_id)
            panels, corner = _panels(region, scenes, found, head, label)
            _draw(axes, panels, head, limits)
            title = _title(number + 1, region, head)
            axes[0].set_title(title, fontsize=8, fontweight="normal")
            for ax in axes if head.spec.dense else ():
                _circle(ax, region, corner)
        for ax in grid.ravel():
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if not ax.images:
                ax.set_axis_off()
        for block in range(blocks):
            for ax, name in zip(grid[block * len(rows) :, 0], rows, strict=False):
                ax.set_ylabel(name)
        _explain(figure, grid, head, limits)
    return figure


def _open(store: TileStore, scene_id: str) -> tuple[xr.Dataset, dict[str, np.ndarray]]:
    tiles = np.flatnonzero(store.manifest["scene_id"].astype(str) == scene_id)
    return assemble_scene(store, tiles)


def _panels(
    region: Region, scenes: dict[str, Any], found: Found, head: Head, label: str
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Image, label and answer about a region; row and column of their corner."""
    scene, labels = scenes[region.image_id]
    shape = scene["valid"].shape
    if not head.spec.dense:
        return [composite_rgb(scene["image"], valid=scene["valid"].values)], (0, 0)
    boxes = (region.rows, region.cols)
    side = max(_LEAST_PX, *(int(1.5 * (box.stop - box.start)) for box in boxes))
    rows, cols = (
        _centred(box, side, size) for box, size in zip(boxes, shape, strict=True)
    )
    # The whole scene gives the stretch, so that dark regions look dark.
    picture = composite_rgb(scene["image"], valid=scene["valid"].values)[rows, cols]
    answer = np.load(found.answers[region.image_id], mmap_mode="r")[rows, cols]
    truth = labels[label][rows, cols]
    if head.form.codes is not None:
        return [picture, truth, head.form.codes(answer)], (rows.start, cols.start)
    truth = truth[..., 0] if truth.ndim == 3 else truth
    return [picture, truth, answer[..., 0]], (rows.start, cols.start)


def _centred(box: slice, side: int, size: int) -> slice:
    start = max(0, min((box.start + box.stop - side) // 2, size - side))
    return slice(start, min(start + side, size))


def _draw(axes: Any, panels: list[np.ndarray], head: Head, limits: Any) -> None:
    axes[0].imshow(panels[0])
    for ax, panel in zip(axes[1:], panels[1:], strict=True):
        if head.form.codes is not None:
            colors = checked_colors(head.classes, head.colors)
            ax.imshow(class_rgb(panel.astype("int64"), colors))
        else:
            ax.set_facecolor(VOID_COLOR)
            ax.imshow(panel, vmin=limits[0], vmax=limits[1])


def _limits(regions: Sequence[Region]) -> tuple[float, float]:
    told = [value for region in regions for value in (region.given, region.suggested)]
    return min(told), max(told)


def _circle(ax: Any, region: Region, corner: tuple[int, int]) -> None:
    """The outline of a region, in white on black, seen on any ground."""
    rows = np.arange(region.rows.start, region.rows.stop) - corner[0]
    cols = np.arange(region.cols.start, region.cols.stop) - corner[1]
    mask = np.pad(region.mask.astype(float), 1)
    extent_y = np.r_[rows[0] - 1, rows, rows[-1] + 1]
    extent_x = np.r_[cols[0] - 1, cols, cols[-1] + 1]
    for color, width in (("black", 2.2), ("white", 1.0)):
        ax.contour(extent_x, extent_y, mask, [0.5], colors=color, linewidths=width)


def _title(rank: int, region: Region, head: Head) -> str:
    name = region.image_id if len(region.image_id) < 22 else f"…{region.image_id[-20:]}"
    if head.form.codes is None:
        units = f" {head.units}" if head.units else ""
        told = f"{region.given:.3g} → {region.suggested:.3g}{units}"
        return f"{rank}  {name}\n{told}, {region.confidence:+.1f} σ"
    given, other = (
        spelled(head.classes[int(code)]) for code in (region.given, region.suggested)
    )
    return f"{rank}  {name}\n{given}\n→ {other}, {region.confidence:.0%}"


def _explain(figure: Figure, grid: Any, head: Head, limits: Any) -> None:
    if not head.spec.dense:
        return
    if head.form.codes is not None:
        colors = checked_colors(head.classes, head.colors)
        entries: list[Patch] = class_legend(head.classes, colors)
        grid[0, -1].legend(
            handles=entries,
            loc="upper left",
            bbox_to_anchor=(1.04, 1.0),
            borderaxespad=0.0,
        )
        return
    shown = next(ax.images[0] for ax in grid[1] if ax.images)
    words = f"value ({head.units or '1'})"
    figure.colorbar(shown, ax=list(grid.ravel()), label=words, shrink=0.5)
