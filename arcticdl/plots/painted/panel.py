"""One panel of a picture: pixels, what lies over them, and what stands around them."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from contourpy import contour_generator
from PIL import Image, ImageDraw, ImageFont

from arcticdl.plots.cartography import (
    edge_degrees,
    graticule_levels,
    north,
    scale_bar,
)
from arcticdl.plots.style import INK, spelled

TEXT_PX, SMALL_PX, TITLE_PX = 17, 15, 18
GAP_PX = 8
_INK_RGB = (0x1B, 0x1F, 0x23)
_PLATE = (255, 255, 255, 191)
_LINE = (*_INK_RGB, 140)
_EDGE = "#555555"
_BOX_PX, _BAR_PX, _TICK_PX = 18, 22, 5
_NUM_TICKS = 5


class Scale(NamedTuple):
    """A scale of numbers beside a panel.

    Attributes:
        low: Number at its lower end.
        high: Number at its upper end.
        strip: Its colours from the lower end on, (n, 3) uint8.
        units: Unit of the numbers, or nothing.
    """

    low: float
    high: float
    strip: np.ndarray
    units: str


class Panel(NamedTuple):
    """What a panel shows.

    Attributes:
        pixels: (y, x, 3) uint8, each pixel of the scene as often as it is enlarged.
        title: Above it.
        classes: Name and ``#rrggbb`` of each class that is told beside it.
        scale: The scale beside it, if any.
    """

    pixels: np.ndarray
    title: str
    classes: Sequence[tuple[str, str]] = ()
    scale: Scale | None = None


@lru_cache(maxsize=8)
def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, as Matplotlib brings it."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px
    )


@lru_cache(maxsize=256)
def text_px(text: str, size_px: int, bold: bool = False) -> int:
    """How wide a line of text is."""
    return int(np.ceil(font(size_px, bold).getlength(text)))


def width_beside(panel: Panel) -> int:
    """Room to the right of a panel for its legend or scale, px."""
    if panel.scale is not None:
        ticks = max(text_px(t, SMALL_PX) for _, t in _ticks(panel.scale))
        units = SMALL_PX + GAP_PX if panel.scale.units else 0
        return 2 * GAP_PX + _BAR_PX + _TICK_PX + ticks + units
    names = [text_px(spelled(name), SMALL_PX) for name, _ in panel.classes]
    return max(names) + _BOX_PX + 3 * GAP_PX if names else 0


def draw_panel(
    sheet: Image.Image, panel: Panel, corner: tuple[int, int], graticule: Any, zoom: int
) -> None:
    """Draws a panel with all that belongs to it.

    Args:
        sheet: Where to draw, RGB.
        panel: What.
        corner: Left and upper edge of its pixels.
        graticule: Where it lies, as from ``cartography.graticule_of``, or ``None``.
        zoom: Px of the sheet a pixel of the graticule.
    """
    picture = Image.fromarray(panel.pixels)
    if graticule is not None:
        _draw_over(picture, graticule, zoom)
    sheet.paste(picture, corner)
    pen = ImageDraw.Draw(sheet)
    right, below = corner[0] + picture.width, corner[1] + picture.height
    frame = (corner[0] - 1, corner[1] - 1, right, below)
    pen.rectangle(frame, outline=_EDGE)  # beside the pixels, which may be white
    above = (corner[0], corner[1] - GAP_PX)
    pen.text(above, panel.title, INK, font(TITLE_PX, True), anchor="ls")
    left = right + 2 * GAP_PX
    if panel.scale is not None:
        _draw_scale(sheet, panel.scale, (left, corner[1]), picture.height)
    for number, (name, color) in enumerate(panel.classes):
        top = corner[1] + number * (_BOX_PX + GAP_PX)
        box = (left, top, left + _BOX_PX, top + _BOX_PX)
        pen.rectangle(box, color, _EDGE)
        at = (left + _BOX_PX + GAP_PX, top + _BOX_PX // 2)
        pen.text(at, spelled(name), INK, font(SMALL_PX), anchor="lm")


def draw_degrees(
    sheet: Image.Image, corner: tuple[int, int], size: tuple[int, int], degrees: Any
) -> None:
    """Names parallels and meridians off a panel.

    Args:
        sheet: Where to draw.
        corner: Left and upper edge of the panel's pixels.
        size: Its width and height.
        degrees: Edge -> position in px of the sheet -> text.
    """
    pen = ImageDraw.Draw(sheet)
    (left, top), (_, height) = corner, size
    for at, text in degrees.get("left", {}).items():
        y = top + at
        pen.line([(left - _TICK_PX, y), (left, y)], INK)
        place = (left - _TICK_PX - 2, y)
        pen.text(place, text, INK, font(SMALL_PX), anchor="rm")
    free = -np.inf
    for at, text in sorted(degrees.get("bottom", {}).items()):
        x, y = left + at, top + height
        pen.line([(x, y), (x, y + _TICK_PX)], INK)
        half = text_px(text, SMALL_PX) / 2
        x = min(max(x, half), sheet.width - half)  # whole, at the sheet's edge too
        if x - half > free:  # no name over another
            place = (x, y + _TICK_PX + 2)
            pen.text(place, text, INK, font(SMALL_PX), anchor="mt")
            free = x + half + GAP_PX


def degrees_of(graticule: Any, zoom: int) -> dict[str, dict[float, str]]:
    """Edge -> position in px of the sheet -> name of a parallel or meridian."""
    if graticule is None:
        return {}
    found = edge_degrees(graticule, graticule_levels(graticule))
    return {
        edge: {(at + 0.5) * zoom: text for at, text in texts.items()}
        for edge, texts in found.items()
    }


def _draw_over(picture: Image.Image, graticule: Any, zoom: int) -> None:
    """Parallels, meridians, a bar of true length and north, over the pixels."""
    pen = ImageDraw.Draw(picture, "RGBA")
    column, row = ((part + 0.5) * zoom for part in graticule[:2])
    for values, levels in graticule_levels(graticule).values():
        lines = contour_generator(column, row, values)
        for level in levels:
            for line in lines.lines(level):
                pen.line(np.asarray(line).ravel().tolist(), _LINE, 1)
    wide, high = picture.size
    bar = scale_bar(graticule)
    length, name = (bar[0] * zoom, bar[1]) if bar is not None else (0.0, "")
    half = max(length, text_px(name, SMALL_PX)) / 2
    # On a scene of few pixels across, its plate would hide them.
    if bar is not None and high > 4 * SMALL_PX and wide > 4 * half:
        middle, y = 0.045 * wide + half, high - GAP_PX - 4
        top = y - SMALL_PX - GAP_PX
        pen.rectangle((middle - half - 6, top, middle + half + 6, y + 6), _PLATE)
        pen.line([(middle - length / 2, y), (middle + length / 2, y)], INK, 4)
        pen.text((middle, y - 5), name, INK, font(SMALL_PX), anchor="ms")
    way = north(graticule)
    if way is not None and min(picture.size) > 60:
        badge = _arrow(round(float(np.degrees(np.arctan2(way[0], -way[1])))))
        side = badge.width
        picture.paste(badge, (wide - side - GAP_PX, GAP_PX), badge)


@lru_cache(maxsize=8)
def _arrow(angle_deg: int) -> Image.Image:
    """An arrow on a white disc, turned clockwise from upwards, with its letter."""
    side, fine = 44, 4
    big = Image.new("RGBA", (side * fine, side * fine), (255, 255, 255, 0))
    pen = ImageDraw.Draw(big)
    pen.ellipse((0, 0, side * fine - 1, side * fine - 1), _PLATE)
    angle = np.radians(angle_deg)
    way = np.array([np.sin(angle), -np.cos(angle)])
    across = np.array([-way[1], way[0]])
    middle = np.full(2, side * fine / 2)
    neck, tip, tail = middle, middle + 7 * fine * way, middle - 18 * fine * way
    pen.line([tuple(tail), tuple(neck)], INK, 2 * fine)
    wing = 4 * fine * across
    pen.polygon([tuple(tip), tuple(neck + wing), tuple(neck - wing)], INK)
    letter = font(11 * fine, True)
    pen.text(tuple(middle + 14 * fine * way), "N", INK, letter, anchor="mm")
    return big.resize((side, side), Image.Resampling.BOX)


def _ticks(scale: Scale) -> list[tuple[float, str]]:
    """Round numbers within a scale."""
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(_NUM_TICKS).tick_values(scale.low, scale.high)
    slack = 1e-9 * (scale.high - scale.low)
    inside = [v for v in found if scale.low - slack <= v <= scale.high + slack]
    step = inside[1] - inside[0] if len(inside) > 1 else scale.high - scale.low
    decimals = int(np.clip(-np.floor(np.log10(step) + 1e-9), 0, 9))
    plain = step > 1e-4 and max(abs(scale.low), abs(scale.high)) < 1e6
    return [(v, f"{v:.{decimals}f}" if plain else f"{v:.2e}") for v in inside]


def _draw_scale(
    sheet: Image.Image, scale: Scale, corner: tuple[int, int], height: int
) -> None:
    pen = ImageDraw.Draw(sheet)
    left, top = corner
    column = Image.fromarray(scale.strip[::-1, None])
    sheet.paste(column.resize((_BAR_PX, height), Image.Resampling.NEAREST), corner)
    right = left + _BAR_PX
    for value, text in _ticks(scale):
        y = top + height * (scale.high - value) / (scale.high - scale.low)
        pen.line([(right, y), (right + _TICK_PX, y)], INK)
        inside = min(max(y, top + SMALL_PX / 2), top + height - SMALL_PX / 2)
        place = (right + _TICK_PX + 3, inside)
        pen.text(place, text, INK, font(SMALL_PX), anchor="lm")
    if scale.units:
        room = (text_px(scale.units, SMALL_PX) + 4, SMALL_PX + 6)
        turned = Image.new("RGB", room, "white")
        middle = (room[0] // 2, room[1] // 2)
        ImageDraw.Draw(turned).text(
            middle, scale.units, INK, font(SMALL_PX), anchor="mm"
        )
        turned = turned.rotate(90, expand=True)
        far = left + width_beside(Panel(scale.strip, "", scale=scale)) - 2 * GAP_PX
        sheet.paste(turned, (far - room[1], top + max(0, (height - room[0]) // 2)))
