"""Pictures of a tile store: image and label side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arcticdl.plots.boxes import BoxPicture, box_pictures
from arcticdl.plots.maps import class_legend, class_rgb, composite_rgb
from arcticdl.plots.style import VOID_COLOR, checked_colors, house_style, new_figure
from arcticdl.void import VOID_CLASS


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

    Boxes are drawn over the composites, in rows of four.

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
    if label is not None and store.labels[label].is_object:
        return _with_boxes(store, indices, pictures, pixels[label], label)
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


def _with_boxes(
    store: Any,
    indices: Sequence[int],
    pictures: np.ndarray,
    boxes: np.ndarray,
    label: str,
) -> Figure:
    info, scenes = store.labels[label], store.manifest["scene_id"].to_numpy()
    parts = [
        BoxPicture(picture, rows, title=f"tile {tile}\n{_tail(scenes[tile])}")
        for tile, picture, rows in zip(indices, pictures, boxes, strict=True)
    ]
    return box_pictures(parts, info.classes, info.colors)


def _tail(name: str) -> str:
    """The end of a long name, which is where names of one set differ."""
    return name if len(name) <= 26 else f"…{name[-25:]}"


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
    void = info.void
    if info.shares:
        labels, void = _commonest(labels), VOID_CLASS
    elif info.is_float:
        low, high = (np.nanmin(labels), np.nanmax(labels)) if _any(labels) else (0, 1)
        for ax, label in zip(axes, labels, strict=True):
            ax.set_facecolor(VOID_COLOR)
            shown = ax.imshow(label, vmin=low, vmax=high)
        axes[-1].figure.colorbar(shown, ax=axes[-1], label=info.name)
        return
    colors = checked_colors(info.classes, info.colors)
    for ax, label in zip(axes, labels, strict=True):
        ax.imshow(class_rgb(label, colors))
    entries = class_legend(info.classes, colors, with_void=bool((labels == void).any()))
    axes[-1].legend(
        handles=entries, loc="upper left", bbox_to_anchor=(1.04, 1.0), borderaxespad=0.0
    )


def _any(labels: np.ndarray) -> bool:
    return bool(np.isfinite(labels).any())


def show_answers(
    store: Any,
    indices: Sequence[int],
    labels: np.ndarray,
    answers: np.ndarray,
    *,
    head: Any,
    bands: Sequence[str | int] | None = None,
) -> Figure:
    """Draws tiles of a store with what they are labelled and what a model answers.

    Args:
        store: A `tiles.TileStore`.
        indices: Its tiles.
        labels: ``(tile, y, x)`` class codes or values, or ``(tile, y, x, class)`` of
            yes and no, or polygons and shares; void is 255, or NaN.
        answers: ``(tile, y, x, band)``, the chief output of the head.
        head: What the model answers, an ``arcticdl.tasks.Head``.
        bands: As in `show_tiles`.

    Returns:
        The figure: a column a tile; image, label and answer below each other. Of
        several labels a pixel it shows how many hold.
    """
    pixels = store.read(indices, ["image", "valid"])
    pictures = _pictures(pixels["image"], pixels["valid"], store.bands, bands)
    height, width = store.tile_size_px
    size = (1.9 * len(indices) + 1.6, 1.9 * 3 * height / width + 0.4)
    with house_style():
        figure = new_figure(size)
        axes = figure.subplots(3, len(indices), squeeze=False)
        for column, (tile, picture) in enumerate(zip(indices, pictures, strict=True)):
            axes[0, column].imshow(picture)
            axes[0, column].set_title(f"tile {tile}", fontsize="small")
        if head.form.codes is not None:
            labels = _commonest(labels) if labels.ndim > 3 else labels
            _draw_codes(axes[1:], (labels, answers[..., 0]), head)
        else:
            _draw_numbers(axes[1:], _as_numbers(labels, answers, head), head)
        for ax, name in zip(axes[:, 0], ("image", "label", "answer"), strict=True):
            ax.set_ylabel(name)
        for ax in axes.ravel():
            ax.set(xticks=[], yticks=[])
    return figure


def _commonest(labels: np.ndarray) -> np.ndarray:
    """The class that covers most of each pixel's polygon, of a label of shares."""
    void = ~np.isfinite(labels).all(-1)
    codes = np.nan_to_num(labels[..., 1:]).argmax(-1)
    return np.where(void, VOID_CLASS, codes).astype("uint8")


def _draw_codes(axes: Any, maps: Sequence[np.ndarray], head: Any) -> None:
    colors = checked_colors(head.classes, head.colors)
    for row, codes in zip(axes, maps, strict=True):
        for ax, one in zip(row, codes, strict=True):
            ax.imshow(class_rgb(one, colors))
    entries = class_legend(
        head.classes, colors, with_void=bool((maps[0] == VOID_CLASS).any())
    )
    axes[0][-1].legend(
        handles=entries, loc="upper left", bbox_to_anchor=(1.04, 1.0), borderaxespad=0.0
    )


def _as_numbers(
    labels: np.ndarray, answers: np.ndarray, head: Any
) -> tuple[np.ndarray, np.ndarray]:
    if head.spec.label == "labels":
        void = (labels == VOID_CLASS).all(axis=-1)
        held = ((labels == 1).sum(-1), (answers > 0).sum(-1))
        return np.where(void, np.nan, held[0]), held[1].astype("float32")
    first = labels[..., 0] if labels.ndim == answers.ndim else labels
    return first, answers[..., 0]


def _draw_numbers(axes: Any, maps: Sequence[np.ndarray], head: Any) -> None:
    low, high = (
        (np.nanmin(maps[0]), np.nanmax(maps[0])) if _any(maps[0]) else (0.0, 1.0)
    )
    for row, values in zip(axes, maps, strict=True):
        for ax, one in zip(row, values, strict=True):
            ax.set_facecolor(VOID_COLOR)
            shown = ax.imshow(one, vmin=low, vmax=high)
    several = head.spec.label == "labels"
    words = "classes that hold" if several else f"value ({head.units or '1'})"
    axes[0][0].figure.colorbar(shown, ax=list(np.ravel(axes)), label=words)


_STEPS = (-2, -1, 0, 1, 2)
_MOST_FEATURES = 6


def latent_traversal(
    parts: Any,
    scaled: np.ndarray,
    image: np.ndarray,
    *,
    mean: np.ndarray,
    std: np.ndarray,
    seed: int = 0,
) -> Figure:
    """Draws what the numbers of an autoencoder's code mean.

    The first row has a tile, the tile rebuilt and, of a variational code, images drawn.
    Below, a row for each of the numbers that vary most: the tile rebuilt with that one
    number set, at all places, to so many deviations from its mean.

    Args:
        parts: The `models.LatentParts` of an autoencoder.
        scaled: The tile ``(1, y, x, band)`` as a feed scales it.
        image: The first of the bands that are rebuilt ``(y, x)``, in its units, NaN
            where void; nothing is drawn there.
        mean: ``(feature,)`` of codes of the training scenes.
        std: Their deviation, likewise.
        seed: Of the images that are drawn.

    Returns:
        The figure; all panels share one scale.
    """
    code = parts.encode(scaled)
    rows, columns = image.shape
    void = np.isnan(image)

    def rebuilt(codes: np.ndarray) -> list[np.ndarray]:
        found = parts.decode(codes)[:, :rows, :columns, 0]
        return [np.where(void, np.nan, one) for one in found]

    chosen = np.argsort(-std, kind="stable")[:_MOST_FEATURES]
    first = {"tile": image, "rebuilt": rebuilt(code)[0]}
    if parts.kind == "variational":
        drawn = parts.sample(len(_STEPS) - 2, code.shape[1:3], seed=seed)
        first |= {f"drawn {n + 1}": d[:rows, :columns, 0] for n, d in enumerate(drawn)}
    panels: list[dict[str, np.ndarray]] = [first]
    for feature in chosen:
        moved = np.repeat(code, len(_STEPS), axis=0)
        values = mean[feature] + np.array(_STEPS) * std[feature]
        moved[..., feature] = values[:, None, None]
        names = [f"{step:+d} s" if step else "mean" for step in _STEPS]
        panels.append(dict(zip(names, rebuilt(moved), strict=True)))
    labels = ["", *(f"number {n + 1}\ns = {std[n]:.2g}" for n in chosen)]
    units = f" ({parts.head.units})" if parts.head.units not in ("", "1") else ""
    return _draw_grid(panels, labels, f"{parts.head.outputs[0] or 'value'}{units}")


def _draw_grid(
    panels: Sequence[dict[str, np.ndarray]], labels: Sequence[str], what: str
) -> Figure:
    """Panels by row on one scale, which holds the tile and what is made of it."""
    first = next(iter(panels[0].values()))
    every = np.concatenate([one.ravel() for row in panels for one in row.values()])
    ends = [np.nanpercentile(one, (1, 99)) for one in (first, every)]
    low, high = np.min(ends), np.max(ends)
    height, width = first.shape
    across = len(_STEPS)
    size = (1.5 * across + 2.2, (1.5 * height / width + 0.22) * len(panels) + 0.3)
    with house_style():
        figure = new_figure(size)
        axes = figure.subplots(len(panels), across, squeeze=False)
        for row, label, line in zip(panels, labels, axes, strict=True):
            for ax in line[len(row) :]:
                ax.set_visible(False)
            for ax, (title, one) in zip(line, row.items(), strict=False):
                ax.set_facecolor(VOID_COLOR)
                shown = ax.imshow(one, vmin=low, vmax=high, cmap="gray")
                ax.set_title(title, fontsize="small")
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            line[0].set_ylabel(label, fontsize="small")
        figure.colorbar(shown, ax=list(np.ravel(axes)), label=what, shrink=0.5)
    return figure
