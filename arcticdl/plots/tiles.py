"""Pictures of a tile store: image and label side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arcticdl.plots.maps import class_legend, class_rgb, composite_rgb
from arcticdl.plots.style import VOID_COLOR, checked_colors, house_style, new_figure


def show_tiles(
    store: Any,
    indices: Sequence[int] | None = None,
    *,
    label: str | None = None,
    bands: Sequence[str | int] | None = None,
    num_tiles: int = 6,
    seed: int = 0,
) -> Figure:
    """Draws tiles of a store: composites above, labels in class colours below.

    All images share one stretch, from the pixels shown, so that bright tiles look
    brighter than dark ones.

    Args:
        store: A `tiles.TileStore`.
        indices: Tiles to draw; by default `num_tiles` drawn at random.
        label: Label to draw below; by default the first one. A store without labels
            shows images only.
        bands: One band (grey) or three (red, green, blue); as in `composite_rgb`.
        num_tiles: Tiles to draw where `indices` is not given.
        seed: Of the random tiles.

    Returns:
        The figure: one column a tile.

    Raises:
        ValueError: No tile to draw, an unknown label or band.

    Example:
        ``show_tiles(store, [0, 4, 9], label="ice", bands=["HV", "HH", "HH"])``
    """
    if indices is None:
        count = min(num_tiles, len(store))
        chosen = np.random.default_rng(seed).choice(len(store), count, replace=False)
        indices = np.sort(chosen).tolist()
    if not len(indices):
        raise ValueError("`indices` must name at least one tile. Received: none.")
    if label is None:
        label = next(iter(store.labels), None)
    names = ["image", "valid"] if label is None else ["image", "valid", label]
    if label is not None:
        store.check_label(label)
    pixels = store.read(indices, names)
    pictures = _pictures(pixels["image"], pixels["valid"], store.bands, bands)
    height, width = store.tile_size_px
    rows = 1 if label is None else 2
    size = (1.9 * len(indices) + 1.6, 1.9 * rows * height / width + 0.5)
    with house_style():
        figure = new_figure(size)
        axes = figure.subplots(rows, len(indices), squeeze=False)
        for column, (tile, picture) in enumerate(zip(indices, pictures, strict=True)):
            scene = store.manifest["scene_id"].iloc[tile]
            axes[0, column].imshow(picture)
            axes[0, column].set_title(f"tile {tile}\n{scene}"[:34], fontsize="small")
        if label is not None:
            _draw_labels(axes[1], pixels[label], store.labels[label])
        for ax in axes.ravel():
            ax.set(xticks=[], yticks=[])
    return figure


def _pictures(
    image: np.ndarray,
    valid: np.ndarray,
    names: Sequence[str],
    bands: Sequence[str | int] | None,
) -> np.ndarray:
    """(tile, y, x, 3) uint8, stretched together: as one tall image."""
    count, height, width, num_bands = image.shape
    tall = xr.DataArray(
        image.reshape(count * height, width, num_bands),
        dims=("y", "x", "band"),
        coords={"band": list(names)},
    ).transpose("band", "y", "x")
    rgb = composite_rgb(tall, bands, valid=valid.reshape(count * height, width))
    return rgb.reshape(count, height, width, 3)


def _draw_labels(axes: Sequence[Axes], labels: np.ndarray, info: Any) -> None:
    if info.is_float:
        low, high = (np.nanmin(labels), np.nanmax(labels)) if _any(labels) else (0, 1)
        for ax, label in zip(axes, labels, strict=True):
            ax.set_facecolor(VOID_COLOR)
            shown = ax.imshow(label, vmin=low, vmax=high)
        axes[-1].figure.colorbar(shown, ax=axes[-1], label=info.name)
        return
    colors = checked_colors(info.classes, info.colors)
    for ax, label in zip(axes, labels, strict=True):
        ax.imshow(class_rgb(label, colors))
    entries = class_legend(
        info.classes, colors, with_void=bool((labels == info.void).any())
    )
    axes[-1].legend(
        handles=entries, loc="upper left", bbox_to_anchor=(1.04, 1.0), borderaxespad=0.0
    )


def _any(labels: np.ndarray) -> bool:
    return bool(np.isfinite(labels).any())
