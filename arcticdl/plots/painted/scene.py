"""A scene beside its maps, painted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageColor, ImageDraw

from arcticdl.plots.cartography import (
    chosen_panels,
    codes_of,
    flags_of,
    graticule_of,
    reference_line,
)
from arcticdl.plots.maps import class_rgb, composite_rgb, object_rgb
from arcticdl.plots.painted.panel import (
    GAP_PX,
    SMALL_PX,
    TEXT_PX,
    TITLE_PX,
    Panel,
    Scale,
    degrees_of,
    draw_degrees,
    draw_panel,
    font,
    text_px,
    width_beside,
)
from arcticdl.plots.style import INK, VOID_COLOR, checked_colors
from arcticdl.plots.values import scale_of, scaled_rgb
from arcticdl.void import VOID_CLASS

_MAX_SIDE_PX = 1000
_ENLARGED_TO_PX = 480
_MARGIN_PX = 14
_LINE_COLOR, _LINE_RIM = "#d4145a", "#ffffff"


def scene_picture(
    scene: Any,
    label: str | Sequence[str] | None = None,
    *,
    title: str = "",
    lines: Mapping[str, np.ndarray] | None = None,
) -> Image.Image:
    """Paints what `arcticdl.plots.scene_map` draws, in a twentieth of its time.

    Args:
        scene: Dataset as for `arcticdl.plots.scene_map`.
        label: The label variable, or several; by default the first that names its
            classes.
        title: Title of the picture.
        lines: Name -> boolean (y, x), ``True`` on a traced line such as a glacier's
            front; drawn over the scene and over maps of classes, wider than it is.

    Returns:
        An RGB image. Each pixel of the scene is a square of it, of several px where the
        scene is small; scenes beyond 1000 px a side are thinned, not averaged, so that
        every painted class is one that is there.

    Raises:
        ValueError: If there is neither an image nor a label, or the label is absent.

    Example:
        >>> import numpy as np
        >>> import xarray as xr
        >>> flags = {"flag_values": [0, 1], "flag_meanings": "water ice"}
        >>> ice = xr.DataArray(np.eye(8, dtype="uint8"), dims=("y", "x"), attrs=flags)
        >>> scene_picture(xr.Dataset({"ice": ice}), title="eight by eight").mode
        'RGB'
    """
    names = chosen_panels(scene, label)
    step = max(1, -(-max(scene.sizes["y"], scene.sizes["x"]) // _MAX_SIDE_PX))
    thin = scene.isel(y=slice(None, None, step), x=slice(None, None, step))
    zoom = max(1, _ENLARGED_TO_PX // max(thin.sizes["y"], thin.sizes["x"]))
    panels = [_panel(thin, name, zoom) for name in names]
    for name, line in (lines or {}).items():
        panels = [_with_line(panel, name, line, step, zoom) for panel in panels]
    graticule = graticule_of(thin)
    return _sheet(panels, graticule, zoom, title, reference_line(scene))


def _sheet(
    panels: Sequence[Panel], graticule: Any, zoom: int, title: str, line: str
) -> Image.Image:
    """Panels beside each other, under a title and over a line about the scene."""
    degrees = degrees_of(graticule, zoom)
    height, width = panels[0].pixels.shape[:2]
    named = [text_px(text, SMALL_PX) for text in degrees.get("left", {}).values()]
    left = max(named) + 2 * GAP_PX if named else 0
    below = SMALL_PX + GAP_PX if degrees.get("bottom") else 0
    columns = [
        max(left + width + width_beside(p), left + text_px(p.title, TITLE_PX, True))
        for p in panels
    ]
    across = sum(columns) + 2 * GAP_PX * (len(panels) - 1)
    across = max(across, text_px(title, TITLE_PX, True), text_px(line, TEXT_PX - 3))
    beside = max(_legend_px(panel) for panel in panels)
    head = TITLE_PX + 2 * GAP_PX if title else 0
    top = _MARGIN_PX + head + TITLE_PX + GAP_PX
    foot = max(height + below, beside) + 2 * GAP_PX + TEXT_PX
    sheet = Image.new("RGB", (across + 2 * _MARGIN_PX, top + foot + GAP_PX), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN_PX, _MARGIN_PX), title, INK, font(TITLE_PX, True))
    at = _MARGIN_PX
    for panel, room in zip(panels, columns, strict=True):
        corner = (at + left, top)
        draw_panel(sheet, panel, corner, graticule, zoom)
        draw_degrees(sheet, corner, (width, height), degrees)
        at += room + 2 * GAP_PX
    place = (_MARGIN_PX, sheet.height - GAP_PX)
    pen.text(place, line, INK, font(TEXT_PX - 3), anchor="ls")
    return sheet


def _legend_px(panel: Panel) -> int:
    return len(panel.classes) * (SMALL_PX + 3 + GAP_PX)


def _panel(scene: Any, name: str, zoom: int) -> Panel:
    """A panel of the composite, or of a map."""
    if name == "image":
        valid = scene["valid"].values if "valid" in scene else None
        picture = composite_rgb(scene["image"], valid=valid)
        return Panel(_enlarged(picture, zoom), "scene")
    label, title = scene[name], name.replace("_", " ")
    if label.attrs.get("numbers_objects", False):
        return Panel(_enlarged(object_rgb(label.values), zoom), title)
    classes, colors = flags_of(label)
    if classes:
        colors, codes = checked_colors(classes, colors), codes_of(label)
        told = list(zip(classes, colors, strict=True))
        if (codes == VOID_CLASS).any():
            told.append(("void", VOID_COLOR))
        return Panel(_enlarged(class_rgb(codes, colors), zoom), title, told)
    values = np.asarray(label.values, np.float64)
    low, high = scale_of(values, label.attrs.get("valid_range"))
    shades = "RdBu_r" if label.attrs.get("two_sided", False) else "viridis"
    strip = np.round(colormaps[shades](np.linspace(0, 1, 256))[:, :3] * 255)
    units = str(label.attrs.get("units", ""))
    scale = Scale(low, high, strip.astype(np.uint8), "" if units == "1" else units)
    pixels = _enlarged(scaled_rgb(values, low, high, shades), zoom)
    return Panel(pixels, title, scale=scale)


def _with_line(
    panel: Panel, name: str, line: np.ndarray, step: int, zoom: int
) -> Panel:
    """A panel of the scene or of classes with a line over it, rimmed to be seen."""
    if panel.scale is not None or not line.any():
        return panel
    pixels = panel.pixels.copy()
    at = np.argwhere(line) // step * zoom + zoom // 2
    for color, reach in ((_LINE_RIM, zoom // 2 + 3), (_LINE_COLOR, zoom // 2 + 2)):
        around = np.argwhere(np.ones((2 * reach - 1,) * 2)) - (reach - 1)
        around = around[(around**2).sum(axis=1) < reach**2]
        rows, cols = np.unique((at[:, None] + around).reshape(-1, 2), axis=0).T
        inside = (rows >= 0) & (cols >= 0)
        inside &= (rows < pixels.shape[0]) & (cols < pixels.shape[1])
        pixels[rows[inside], cols[inside]] = ImageColor.getrgb(color)
    told = [*panel.classes, (name, _LINE_COLOR)] if panel.classes else panel.classes
    return panel._replace(pixels=pixels, classes=told)


def _enlarged(picture: np.ndarray, zoom: int) -> np.ndarray:
    """Each pixel as a square of equal ones."""
    return np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1)
