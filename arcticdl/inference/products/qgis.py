"""Styles by which QGIS draws the maps in the colours and words of their classes."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import xarray as xr

from arcticdl.files import write_bytes
from arcticdl.inference.products.product import (
    Legend,
    Product,
    class_maps,
    legend_of,
    path_of,
)

_VERSION = "3.28"
_ROWS = 256
_RAMP_STEPS = 11
_RASTER = {"band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}


def write_qgis(maps: xr.Dataset, scene: xr.Dataset | None, stem: Path) -> None:
    """Writes ``NAME.qml`` for each map, and ``NAME_polygons.qml`` for its polygons.

    QGIS finds a style beside the file of its name. Classes are drawn in their colours,
    other numbers by the first band on a scale over their valid range, else over the
    least and greatest value.
    """
    for name in map(str, maps.data_vars):
        style = raster_style(maps[name])
        write_bytes(path_of(maps, name, stem, ".qml"), _text(style))
    for name, legend in class_maps(maps).items():
        path = path_of(maps, name, stem, "_polygons.qml")
        write_bytes(path, _text(polygon_style(legend)))


def raster_style(variable: xr.DataArray) -> xml.Element:
    """The style of one map, a whole document."""
    root, legend = _root(), legend_of(variable)
    pipe = _add(root, "pipe")
    if legend is not None:
        renderer = _add(pipe, "rasterrenderer", type="paletted", **_RASTER)
        _add(renderer, "rasterTransparency")
        palette = _add(renderer, "colorPalette")
        for code, label, color in zip(*legend, strict=True):
            given = {"value": str(code), "label": label, "color": color}
            _add(palette, "paletteEntry", alpha="255", **given)
        return root
    low, high = _limits(variable)
    kind = "singlebandpseudocolor"
    ends = {"classificationMin": f"{low:.6g}", "classificationMax": f"{high:.6g}"}
    renderer = _add(pipe, "rasterrenderer", type=kind, **_RASTER, **ends)
    _add(renderer, "rasterTransparency")
    shader = _add(
        _add(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=f"{low:.6g}",
        maximumValue=f"{high:.6g}",
    )
    for value, color in zip(
        np.linspace(low, high, _RAMP_STEPS), _ramp(_RAMP_STEPS), strict=True
    ):
        label = f"{value:.4g}"
        _add(
            shader, "item", value=f"{value:.6g}", label=label, color=color, alpha="255"
        )
    return root


def polygon_style(legend: Legend) -> xml.Element:
    """The style of the polygons of a map of classes, a whole document."""
    root = _root()
    renderer = _add(root, "renderer-v2", type="categorizedSymbol", attr="code")
    categories, symbols = _add(renderer, "categories"), _add(renderer, "symbols")
    for number, (code, label, color) in enumerate(zip(*legend, strict=True)):
        given = {"value": str(code), "label": label, "symbol": str(number)}
        _add(categories, "category", render="true", type="integer", **given)
        symbol = _add(symbols, "symbol", type="fill", name=str(number), alpha="1")
        layer = _add(symbol, "layer", **{"class": "SimpleFill", "enabled": "1"})
        red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        options = {
            "color": f"{red},{green},{blue},255",
            "outline_color": "27,31,35,255",
            "outline_width": "0.1",
            "outline_width_unit": "MM",
            "style": "solid",
        }
        table = _add(layer, "Option", type="Map")
        for key, value in options.items():
            _add(table, "Option", name=key, type="QString", value=value)
    return root


def _root() -> xml.Element:
    return xml.Element("qgis", version=_VERSION, styleCategories="Symbology")


def _add(parent: xml.Element, tag: str, **attrs: str) -> xml.Element:
    return xml.SubElement(parent, tag, attrs)


def _text(root: xml.Element) -> bytes:
    xml.indent(root)
    body: Any = xml.tostring(root, encoding="unicode")
    head = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return f"{head}{body}\n".encode()


def _limits(variable: xr.DataArray) -> tuple[float, float]:
    """Valid range, else that of the first band's values, read by rows."""
    if "valid_range" in variable.attrs:
        low, high = variable.attrs["valid_range"]
        return float(low), float(high)
    band = variable if variable.ndim == 2 else variable[0]
    low, high = np.inf, -np.inf
    for row in range(0, band.sizes["y"], _ROWS):
        values = band.isel(y=slice(row, row + _ROWS)).values
        known = values[np.isfinite(values)]
        if known.size:
            low, high = min(low, known.min()), max(high, known.max())
    return (float(low), float(high)) if low < high else (0.0, 1.0)


def _ramp(steps: int) -> list[str]:
    import matplotlib

    colors = matplotlib.colormaps["viridis"].resampled(steps)
    return [matplotlib.colors.to_hex(colors(i)) for i in range(steps)]


def _files(maps: xr.Dataset, stem: Path) -> list[Path]:
    rasters = [path_of(maps, str(name), stem, ".qml") for name in maps.data_vars]
    classes = [path_of(maps, n, stem, "_polygons.qml") for n in class_maps(maps)]
    return rasters + classes


PRODUCT = Product(write_qgis, _files, needs=("grid",))
