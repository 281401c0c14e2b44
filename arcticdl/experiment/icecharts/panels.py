"""The picture of a chart: radar, the three maps, truth and error, and egg codes."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from arcticdl.files import load_pyogrio
from arcticdl.metrics.autoice import AUTOICE_CLASSES, in_tenths
from arcticdl.plots import band_composite, class_map, house_style, new_figure
from arcticdl.plots.cartography import draw_frame, graticule_of
from arcticdl.plots.maps import class_legend
from arcticdl.plots.style import VOID_COLOR
from arcticdl.scene import is_share_label
from arcticdl.seaice.schemes import AUTOICE_FLOE, AUTOICE_SIC, AUTOICE_SOD
from arcticdl.void import VOID_CLASS

_SCHEMES = {"SIC": AUTOICE_SIC, "SOD": AUTOICE_SOD, "FLOE": AUTOICE_FLOE}
_TITLES = {"SIC": "Concentration", "SOD": "Stage of development", "FLOE": "Floe size"}
_MAX_SIDE_PX = 800
_STRIP_PX = 2**19
_NUM_EGGS = 4
_DIFFERENCE = (
    "#2166ac",
    "#67a9cf",
    "#d1e5f0",
    "#f7f7f7",
    "#fddbc7",
    "#ef8a62",
    "#b2182b",
)
_EDGES: tuple[float, ...] = (-10.5, -5.5, -2.5, -0.5, 0.5, 2.5, 5.5, 10.5)
_SAME_OR_NOT: tuple[float, ...] = (-0.5, 0.5, 1.5)
_AGREEMENT = ("#f7f7f7", "#b2182b")


def chart_panels(maps: xr.Dataset, scene: xr.Dataset, polygons: Path | None) -> Figure:
    """Draws the charts of a scene in the colours of the WMO.

    Args:
        maps: ``SIC``, ``SOD``, ``FLOE``, settled, those that there are.
        scene: The scene on the same pixels, with charts of these names where the truth
            is known; a ``SIC`` of floats is a fraction.
        polygons: The chart as SIGRID-3, whose largest regions get their egg codes;
            ``None``: none is drawn.

    Returns:
        One row of the radar picture and the charts; where the truth is known two more,
        of truth and of error. Pixels are thinned, never averaged.
    """
    step = max(1, -(-max(maps.sizes["y"], maps.sizes["x"]) // _MAX_SIDE_PX))
    names = [name for name in AUTOICE_CLASSES if name in maps]
    maps, scene = _thinned(maps, step), _thinned(_shown(scene, names), step)
    found = {name: maps[name].values for name in names}
    known = [n for n in names if n in scene and not is_share_label(scene[n])]
    truth = {n: _codes(scene[n].values) for n in known}
    truth = {n: codes for n, codes in truth.items() if (codes != VOID_CLASS).any()}
    rows = 3 if truth else 1
    ratio = min(max(maps.sizes["x"] / maps.sizes["y"], 0.5), 2.0)
    with house_style():
        figure = new_figure((3.3 * ratio * (len(names) + 1) + 2.4, 3.5 * rows + 0.9))
        axes = figure.subplots(rows, len(names) + 1, squeeze=False)
        _draw_radar(axes[0, 0], scene)
        for column, name in enumerate(names, start=1):
            _draw(axes[0, column], found[name], name, _TITLES[name])
            if not truth:
                continue
            if name not in truth:
                for row in (1, 2):
                    axes[row, column].axis("off")
                axes[1, column].text(0.5, 0.5, "no chart", ha="center", va="center")
                continue
            _draw(axes[1, column], truth[name], name, "as charted")
            _draw_error(axes[2, column], found[name], truth[name], name)
        if truth:
            _draw_legends(axes[1, 0], axes[2, 0], names)
        else:
            _legend_under(figure, names)
        if polygons is not None and "SOD" in names:
            _draw_eggs(axes[0, names.index("SOD") + 1], maps, polygons)
        figure.suptitle("Ice chart by a network", x=0.01, ha="left", fontweight="bold")
        figure.supxlabel(_caption(maps, scene), x=0.01, ha="left", fontsize=8.5)
    return figure


def _shown(scene: xr.Dataset, names: list[str]) -> xr.Dataset:
    """What of a scene is drawn: one band of many, where it is valid, and its charts."""
    bands = [str(band) for band in scene["band"].values]
    first = next((n for n in ("HH", "HH_corrected") if n in bands), bands[0])
    kept = [name for name in ("image", "valid", *names) if name in scene]
    return scene[kept].isel(band=[bands.index(first)])


def _thinned(fields: xr.Dataset, step: int) -> xr.Dataset:
    """Every so many pixels, held in memory, of fields that are read strip by strip."""
    rows = max(1, _STRIP_PX // (fields.sizes["x"] * step)) * step
    strips = [
        fields.isel(y=slice(k, k + rows, step), x=slice(None, None, step)).load()
        for k in range(0, fields.sizes["y"], rows)
    ]
    return xr.concat(
        strips,
        "y",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )


def _codes(values: np.ndarray) -> np.ndarray:
    return in_tenths(values) if values.dtype.kind == "f" else values


def _draw_radar(ax: Axes, scene: xr.Dataset) -> None:
    first = str(scene["band"].values[0])
    valid = scene["valid"].values if "valid" in scene else None
    title = f"{first.replace('_', ' ')} (dB)" if first.startswith("HH") else first
    band_composite(scene["image"], [first], ax, valid=valid, title=title)
    graticule = graticule_of(scene)
    if graticule is not None:
        draw_frame(ax, graticule)


def _draw(ax: Axes, codes: np.ndarray, name: str, title: str) -> None:
    scheme = _SCHEMES[name]
    class_map(codes, scheme.classes, scheme.colours, ax, title=title, legend=False)


def _draw_error(ax: Axes, found: np.ndarray, truth: np.ndarray, name: str) -> None:
    """Tenths too many or too few; of the others where the class is another."""
    scored = (found != VOID_CLASS) & (truth != VOID_CLASS)
    difference = found.astype(float) - truth
    if name == "SIC":
        colors, edges = ListedColormap(_DIFFERENCE), _EDGES
        title = "network minus chart"
    else:
        colors, edges = ListedColormap(_AGREEMENT), _SAME_OR_NOT
        difference = (difference != 0).astype(float)
        wrong = difference[scored].mean() if scored.any() else np.nan
        title = f"another class: {wrong:.0%} of pixels"
    shown = np.ma.masked_where(~scored, difference)
    cmap = colors.with_extremes(bad=VOID_COLOR)
    ax.imshow(shown, cmap=cmap, norm=BoundaryNorm(edges, colors.N))
    ax.set(xticks=[], yticks=[])
    ax.set_title(title)
    for side in ax.spines.values():
        side.set_visible(False)


def _entries(name: str) -> tuple[list[str], list[str]]:
    """Names and colours of a legend: tenths of one colour are one entry."""
    scheme = _SCHEMES[name]
    if name != "SIC":
        return list(scheme.classes), list(scheme.colours)
    shown: dict[str, list[int]] = {}
    for tenth, color in enumerate(scheme.colours):
        shown.setdefault(color, []).append(10 * tenth)
    texts = [
        f"{t[0]} %" if len(t) == 1 else f"{t[0]} to {t[-1]} %" for t in shown.values()
    ]
    return texts, list(shown)


def _legend(ax: Axes, name: str, at: tuple[float, float]) -> None:
    legend = ax.legend(
        handles=class_legend(*_entries(name), with_void=name == "SOD"),
        title=_TITLES[name],
        loc="upper left",
        bbox_to_anchor=at,
        fontsize=8,
        title_fontsize=8.5,
        alignment="left",
        borderaxespad=0.0,
    )
    ax.add_artist(legend)


def _draw_legends(upper: Axes, lower: Axes, names: list[str]) -> None:
    """Names the colours in the two places under the radar picture."""
    for ax in (upper, lower):
        ax.axis("off")
    places = [(upper, (0.0, 1.0)), (upper, (0.5, 1.0)), (lower, (0.0, 1.0))]
    for name, (ax, at) in zip(names, places, strict=False):
        _legend(ax, name, at)
    if "SIC" in names:
        texts = ["6 to 10 tenths too few", "3 to 5", "1 or 2", "right", "1 or 2",
                 "3 to 5", "6 to 10 tenths too many"]  # fmt: skip
        legend = lower.legend(
            handles=class_legend(texts, _DIFFERENCE),
            title="Error of concentration",
            loc="upper left",
            bbox_to_anchor=(0.5, 1.0),
            fontsize=8,
            title_fontsize=8.5,
            alignment="left",
            borderaxespad=0.0,
        )
        lower.add_artist(legend)


def _legend_under(figure: Figure, names: list[str]) -> None:
    for name in names:
        ax = figure.axes[1 + names.index(name)]
        ax.legend(
            handles=class_legend(*_entries(name), with_void=name == "SOD"),
            loc="upper left",
            bbox_to_anchor=(0.0, -0.03),
            fontsize=8,
            ncols=2,
            borderaxespad=0.0,
        )


def _draw_eggs(ax: Axes, maps: xr.Dataset, polygons: Path) -> None:
    """Egg codes of the largest regions of ice: CT, SA and FA below each other."""
    table = load_pyogrio().read_dataframe(f"zip://{polygons}")
    table = table[table["POLY_TYPE"] == "I"].nlargest(_NUM_EGGS, "AREA")
    for row in table.itertuples():
        at = _pixel_of(row.geometry, table.crs, maps)
        ax.text(
            at[1],
            at[0],
            f"{row.CT}\n{row.SA}\n{row.FA}",
            ha="center",
            va="center",
            fontsize=7,
            linespacing=1.1,
            bbox={"boxstyle": "ellipse,pad=0.2", "fc": "white", "ec": "#1b1f23",
                  "lw": 0.8, "alpha": 0.9},
        )  # fmt: skip


def _pixel_of(shape: Any, crs: Any, maps: xr.Dataset) -> tuple[int, int]:
    """Row and column of a pixel in the heart of a region."""
    from pyproj import Transformer
    from shapely import maximum_inscribed_circle

    heart = maximum_inscribed_circle(shape).coords[0]
    if {"lat", "lon"} <= set(maps.coords):
        to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        lon, lat = to_lonlat.transform(*heart)
        # Near enough to tell pixels apart, and right at the pole and the date line.
        east = np.cos(np.radians(lat)) * (
            (maps["lon"].values - lon + 180.0) % 360.0 - 180.0
        )
        away = east**2 + (maps["lat"].values - lat) ** 2
        row, col = np.unravel_index(np.nanargmin(away), away.shape)
        return int(row), int(col)
    row = np.abs(maps["y"].values - heart[1]).argmin()
    return int(row), int(np.abs(maps["x"].values - heart[0]).argmin())


def _caption(maps: xr.Dataset, scene: xr.Dataset) -> str:
    parts = [str(maps.attrs.get(key, "")) for key in ("scene_id", "time")]
    parts.append("eggs: CT, SA, FA of the largest regions (SIGRID-3)")
    if "simulated" in str(scene.attrs.get("service", "")):
        parts.append("simulated: it says nothing about real ice")
    return " · ".join(part for part in parts if part)
