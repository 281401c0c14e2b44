"""Pictures of pixels: class maps in class colours and composites of bands."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from arcticdl.choices import check_names
from arcticdl.plots.style import (
    PALETTE,
    VOID_COLOR,
    checked_colors,
    house_style,
    new_figure,
    spelled,
)
from arcticdl.void import VOID_CLASS

_GROUND, _OBJECTS = "#f4f6f8", PALETTE[:6]
_KNOWN_COMPOSITES = (("HV", "HH", "HH"), ("VH", "VV", "VV"), ("B04", "B03", "B02"))


def class_rgb(
    labels: np.ndarray,
    colors: Sequence[str],
    *,
    void_class: int | None = VOID_CLASS,
) -> np.ndarray:
    """Paints a map of class codes.

    Args:
        labels: Integer class codes, shape ``(y, x)``, each below ``len(colors)`` or
            equal to ``void_class``.
        colors: One ``#rrggbb`` a class.
        void_class: Code of void pixels; ``None`` where there are none.

    Returns:
        ``(y, x, 3)`` uint8.

    Raises:
        ValueError: If a code is neither a class nor void.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "`labels` must be an integer map of shape (y, x). "
            f"Received: shape {labels.shape}, dtype {labels.dtype}."
        )
    table = np.array([to_rgb(c) for c in (*colors, VOID_COLOR)])
    index = labels.astype(np.int64)
    if void_class is not None:
        index = np.where(labels == void_class, len(colors), index)
    wrong = (index < 0) | ((index >= len(colors)) & (labels != void_class))
    if wrong.any():
        raise ValueError(
            f"`labels` must hold codes below {len(colors)} or void ({void_class}). "
            f"Received: {np.unique(labels[wrong])[:8].tolist()}."
        )
    return np.round(table[index] * 255).astype(np.uint8)


def class_legend(
    classes: Sequence[str], colors: Sequence[str], *, with_void: bool = False
) -> list[Patch]:
    """Makes the legend's entries: one outlined box a class, and one for void."""
    names = [spelled(name) for name in classes]
    if with_void:
        names, colors = [*names, "void"], [*colors, VOID_COLOR]
    pairs = zip(names, colors, strict=True)
    return [Patch(facecolor=c, edgecolor="#555555", lw=0.6, label=n) for n, c in pairs]


def class_map(
    labels: Any,
    classes: Sequence[str],
    colors: Sequence[str] = (),
    ax: Axes | None = None,
    *,
    void_class: int | None = VOID_CLASS,
    title: str | None = None,
    legend: bool = True,
) -> Figure:
    """Draws a map of classes in their colours, with a legend.

    Args:
        labels: Integer class codes, shape ``(y, x)``; an array or a ``DataArray``.
        classes: Class names; code ``i`` is ``classes[i]``. Underscores show as blanks.
        colors: One colour a class; empty takes colours that any reader can tell apart.
        ax: Axes to draw into; a new figure by default.
        void_class: Code of void pixels, drawn grey; ``None`` where there are none.
        title: Title above the map.
        legend: Whether to name the classes beside the map.

    Returns:
        The figure.

    Raises:
        ValueError: If a code is neither a class nor void, or colours do not fit.

    Example:
        >>> import numpy as np
        >>> figure = class_map(np.array([[0, 1], [1, 255]]), ["water", "ice"])
        >>> len(figure.axes)
        1
    """
    check_names(classes=classes, colors=colors)
    colors = checked_colors(classes, colors)
    values = np.asarray(labels)
    picture = class_rgb(values, colors, void_class=void_class)
    with house_style():
        ax = _image_axes(ax, values.shape)
        ax.imshow(picture)
        _finish(ax, title)
        if legend:
            with_void = void_class is not None and bool((values == void_class).any())
            entries = class_legend(classes, colors, with_void=with_void)
            _legend_beside(ax, entries)
    return _figure_of(ax)


def object_map(
    instances: Any, ax: Axes | None = None, *, title: str | None = None
) -> Figure:
    """Draws a map of instances, objects that touch in different colours.

    Args:
        instances: Integer ``(y, x)``: 0 is background, below 0 is void, each other
            number one object.
        ax: Axes to draw into; a new figure by default.
        title: Title above the map.

    Returns:
        The figure. Colours tell objects apart and mean nothing else.

    Example:
        >>> import numpy as np
        >>> figure = object_map(np.array([[1, 2], [0, 2]]))
        >>> len(figure.axes)
        1
    """
    picture = object_rgb(instances)
    with house_style():
        ax = _image_axes(ax, picture.shape[:2])
        ax.imshow(picture)
        _finish(ax, title)
    return _figure_of(ax)


def object_rgb(instances: Any) -> np.ndarray:
    """Paints a map of instances, as `object_map` draws it.

    Args:
        instances: Integer ``(y, x)``: 0 is background, below 0 is void, each other
            number one object.

    Returns:
        ``(y, x, 3)`` uint8.
    """
    values = np.asarray(instances)
    numbers, ranks = np.unique(np.maximum(values, 0), return_inverse=True)
    ranks = ranks.reshape(values.shape) + int(numbers[0] > 0)
    shades = _apart(ranks)
    paint = np.array([to_rgb(c) for c in (_GROUND, *_OBJECTS, VOID_COLOR)])
    colors = np.where(values < 0, len(paint) - 1, np.where(ranks > 0, shades[ranks], 0))
    return np.round(paint[colors] * 255).astype(np.uint8)


def _apart(ranks: np.ndarray) -> np.ndarray:
    """A colour for each object, other than those of objects before that it touches."""
    across = [(ranks[:, :-1], ranks[:, 1:]), (ranks[:-1], ranks[1:])]
    pairs = np.concatenate(
        [np.stack([a, b], -1)[(a != b) & (a > 0) & (b > 0)] for a, b in across]
    )
    beside: dict[int, set[int]] = {}
    for low, high in np.unique(np.sort(pairs, axis=1), axis=0).tolist():
        beside.setdefault(high, set()).add(low)
    shades = np.zeros(int(ranks.max(initial=0)) + 1, np.int64)
    count = len(_OBJECTS)
    for rank in range(1, len(shades)):
        taken = {int(shades[other]) for other in beside.get(rank, ())}
        order = [1 + (rank + step) % count for step in range(count)]
        shades[rank] = next((c for c in order if c not in taken), count)
    return shades


def composite_rgb(
    image: Any,
    bands: Sequence[str | int] | None = None,
    *,
    valid: np.ndarray | None = None,
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> np.ndarray:
    """Stretches one or three bands to a picture.

    Args:
        image: An array ``(y, x, band)`` or a ``DataArray`` ``(band, y, x)`` with band
            names, in any units; NaN is missing.
        bands: One band (grey) or three (red, green, blue): names for a ``DataArray``,
            positions for an array. By default HV, HH, HH for radar, B04, B03, B02 for
            Sentinel-2, else the first three bands, else the first one.
        valid: Boolean ``(y, x)``, ``True`` where usable; elsewhere drawn as void.
        percentiles: Percentiles of the valid pixels that become black and full.

    Returns:
        ``(y, x, 3)`` uint8.

    Raises:
        ValueError: If a band is not there, or neither one nor three are asked for.
    """
    stack, names = _bands_last(image)
    chosen = [_position(b, names) for b in (bands or _default_bands(names))]
    if len(chosen) not in (1, 3):
        raise ValueError(
            "`bands` must name one band (grey) or three (red, green, blue). "
            f"Received: bands={list(bands or [])!r}."
        )
    usable = np.isfinite(stack[..., chosen]).all(axis=-1)
    if valid is not None:
        usable &= np.asarray(valid, bool)
    channels = [_stretch(stack[..., i], usable, percentiles) for i in chosen]
    picture = np.stack(channels * (3 // len(channels)), axis=-1)
    void = np.round(np.array(to_rgb(VOID_COLOR)) * 255)
    return np.where(usable[..., None], picture, void).astype(np.uint8)


def band_composite(
    image: Any,
    bands: Sequence[str | int] | None = None,
    ax: Axes | None = None,
    *,
    valid: np.ndarray | None = None,
    title: str | None = None,
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> Figure:
    """Draws one band in grey or three as a colour composite.

    Args:
        image: An array ``(y, x, band)`` or a ``DataArray`` ``(band, y, x)``.
        bands: See `composite_rgb`.
        ax: Axes to draw into; a new figure by default.
        valid: Boolean ``(y, x)``; pixels that are not valid are drawn as void.
        title: Title above the picture.
        percentiles: Percentiles of the valid pixels that become black and full.

    Returns:
        The figure.
    """
    picture = composite_rgb(image, bands, valid=valid, percentiles=percentiles)
    with house_style():
        ax = _image_axes(ax, picture.shape[:2])
        ax.imshow(picture)
        _finish(ax, title)
    return _figure_of(ax)


def _bands_last(image: Any) -> tuple[np.ndarray, list[str]]:
    if hasattr(image, "dims"):
        image = image.transpose("y", "x", "band")
        coordinate = image.coords.get("band")
        count = image.sizes["band"]
        names = range(count) if coordinate is None else coordinate.values
        return np.asarray(image.values, np.float32), [str(n) for n in names]
    stack = np.asarray(image, np.float32)
    if stack.ndim == 2:
        stack = stack[..., None]
    if stack.ndim != 3:
        raise ValueError(
            f"`image` must have shape (y, x, band). Received: shape {stack.shape}."
        )
    return stack, [str(i) for i in range(stack.shape[-1])]


def _default_bands(names: list[str]) -> Sequence[str]:
    for composite in _KNOWN_COMPOSITES:
        if set(composite) <= set(names):
            return composite
    shown = [name for name in names if name != "gap"]  # which tells where none is
    return shown[:3] if len(shown) >= 3 else shown[:1]


def _position(band: str | int, names: list[str]) -> int:
    if isinstance(band, (int, np.integer)) and -len(names) <= band < len(names):
        return int(band)
    if str(band) not in names:
        raise ValueError(f"`bands` must be among {sorted(names)}. Received: {band!r}.")
    return names.index(str(band))


def _stretch(
    band: np.ndarray, usable: np.ndarray, percentiles: tuple[float, float]
) -> np.ndarray:
    if not usable.any():
        return np.zeros(band.shape, np.float32)
    low, high = np.percentile(band[usable], percentiles)
    width = high - low if high > low else 1.0
    return np.clip(np.nan_to_num((band - low) / width), 0.0, 1.0) * 255.0


def _image_axes(ax: Axes | None, shape: tuple[int, ...]) -> Axes:
    if ax is not None:
        return ax
    height, width = shape[0], shape[1]
    size = 4.2
    figure = new_figure((size * min(max(width / height, 0.4), 2.5) + 1.6, size))
    return figure.add_subplot()


def _finish(ax: Axes, title: str | None) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)
    if title:
        ax.set_title(title)


def _legend_beside(ax: Axes, entries: list[Patch]) -> None:
    ax.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        handlelength=1.1,
        handleheight=1.1,
    )


def _figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
