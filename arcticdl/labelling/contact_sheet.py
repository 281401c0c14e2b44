"""A sheet of what each strategy would label first, one row a strategy."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from arcticdl.labelling.pictures import Picture
from arcticdl.plots.maps import composite_rgb
from arcticdl.plots.style import house_style, new_figure

_SIDE_IN, _MOST_PX, _COLUMNS = 1.9, 512, 6


def contact_sheet(
    pictures: Sequence[Picture],
    table: pd.DataFrame,
    scenes: Mapping[str, xr.Dataset],
) -> Figure:
    """Draws the first pictures of each strategy beside those of chance.

    Args:
        pictures: As they were ranked.
        table: Their ranks, as ``acquire.rank`` gives them.
        scenes: By name; only the windows that are shown are read.

    Returns:
        The figure; each scene has a stretch of its own.
    """
    names = [c.removeprefix("rank_") for c in table if c.startswith("rank_")]
    columns = min(_COLUMNS, len(pictures))
    with house_style():
        figure = new_figure((_SIDE_IN * columns + 0.4, (_SIDE_IN + 0.6) * len(names)))
        grid = figure.subplots(len(names), columns, squeeze=False)
        for axes, name in zip(grid, names, strict=True):
            ranks = table[f"rank_{name}"].astype("float64").to_numpy()
            order = np.argsort(ranks)[:columns]
            for ax, number in zip(axes, order, strict=True):
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
                if np.isnan(ranks[number]):
                    ax.set_axis_off()
                    continue
                picture = pictures[number]
                ax.imshow(_composite(picture, scenes[picture.scene_id]))
                ax.set_title(
                    _title(picture, table.iloc[number], name),
                    fontsize=8,
                    fontweight="normal",
                )
            axes[0].set_ylabel(name, fontweight="bold")
    return figure


def _composite(picture: Picture, scene: xr.Dataset) -> np.ndarray:
    step = max(1, max(picture.size_px) // _MOST_PX)
    rows = slice(picture.row, picture.row + picture.size_px[0], step)
    cols = slice(picture.col, picture.col + picture.size_px[1], step)
    part = scene.isel(y=rows, x=cols)
    valid = part["valid"].values if "valid" in part else None
    return composite_rgb(part["image"].load(), valid=valid)


def _title(picture: Picture, row: pd.Series, name: str) -> str:
    scene = picture.scene_id
    short = scene if len(scene) < 22 else f"…{scene[-20:]}"
    where = f"row {picture.row}, column {picture.col}"
    measure = {"coreset": "distance"}.get(name, name)
    told = f"\n{measure} {row[measure]:.2g}" if measure in row else ""
    return f"{short}\n{where}{told}"
