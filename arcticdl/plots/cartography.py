"""Maps of scenes: graticule, scale bar, north arrow, reference system."""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from arcticdl.choices import check_names
from arcticdl.plots.maps import band_composite, class_map, object_map
from arcticdl.plots.style import house_style, new_figure
from arcticdl.plots.values import value_map
from arcticdl.void import VOID_CLASS

_MAX_SIDE_PX = 1200
_NUM_POINTS = 41  # of a graticule along a side
_STEPS_DEG = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_PLATE: dict[str, Any] = {
    "facecolor": "white",
    "alpha": 0.75,
    "edgecolor": "none",
    "zorder": 4,
}
_NORTH, _EAST = ("S", "N"), ("W", "E")


class _Graticule(NamedTuple):
    """Where a picture lies on the Earth, known on a coarse set of its pixels."""

    column: np.ndarray  # (x,) pixel positions
    row: np.ndarray  # (y,)
    lon: np.ndarray  # (y, x) degrees, unwrapped around the centre
    lat: np.ndarray  # (y, x) degrees


def scene_map(
    scene: Any,
    label: str | Sequence[str] | None = None,
    *,
    classes: Sequence[str] = (),
    colors: Sequence[str] = (),
    bands: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draws a scene and its class map, with graticule, scale bar and north arrow.

    Args:
        scene: Dataset with ``image (band, y, x)``, a label map ``(y, x)``, or both.
            Georeferenced by ``spatial_ref`` and regular ``x``, ``y``, or by 2-D
            ``lat``, ``lon``; a plain image is drawn without scale and north.
        label: The label variable, or several; by default the first that names its
            classes (``flag_meanings``). One without classes is drawn as numbers, with
            a scale in its ``units``, of two colours where it is ``two_sided``; one that
            ``numbers_objects`` as `object_map` draws them. A scene without any is drawn
            as an image alone.
        classes: Class names, where the label does not carry them.
        colors: Class colours, where the label does not carry them.
        bands: Bands of the composite; see `arcticdl.plots.band_composite`.
        title: Title of the figure.

    Returns:
        The figure. Scenes beyond 1200 px a side are thinned, not averaged, so that
        every drawn class is one that is there.

    Raises:
        ValueError: If there is neither an image nor a label, or the label is absent.
    """
    check_names(classes=classes, colors=colors, bands=bands)
    panels = chosen_panels(scene, label)
    step = max(1, -(-max(scene.sizes["y"], scene.sizes["x"]) // _MAX_SIDE_PX))
    thin = scene.isel(y=slice(None, None, step), x=slice(None, None, step))
    graticule = graticule_of(thin)
    ratio = min(max(thin.sizes["x"] / thin.sizes["y"], 0.4), 2.5)
    with house_style():
        figure = new_figure((4.4 * ratio * len(panels) + 1.8, 4.9))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, name in zip(axes, panels, strict=True):
            if name == "image":
                valid = thin["valid"].values if "valid" in thin else None
                band_composite(thin["image"], bands, ax, valid=valid, title="scene")
            else:
                _draw_label(ax, thin[name], name.replace("_", " "), classes, colors)
            if graticule is not None:
                draw_frame(ax, graticule)
        figure.suptitle(title or "", x=0.01, ha="left", fontweight="bold")
        figure.supxlabel(reference_line(scene), x=0.01, ha="left", fontsize=8.5)
    return figure


def _draw_label(
    ax: Axes, label: Any, title: str, classes: Sequence[str], colors: Sequence[str]
) -> None:
    if label.attrs.get("numbers_objects", False):
        object_map(label.values, ax, title=title)
        return
    names, paint = flags_of(label, classes, colors)
    if names:
        class_map(codes_of(label), names, paint, ax, title=title)
        return
    limits = label.attrs.get("valid_range")
    units = str(label.attrs.get("units", ""))
    two_sided = bool(label.attrs.get("two_sided", False))
    value_map(
        label.values, ax, limits=limits, units=units, title=title, two_sided=two_sided
    )


def chosen_panels(scene: Any, label: str | Sequence[str] | None) -> list[str]:
    """Which variables of a scene are drawn, its image first.

    Args:
        scene: As for `scene_map`.
        label: As for `scene_map`.

    Raises:
        ValueError: If there is neither an image nor a label, or the label is absent.
    """
    wanted = [label] if label is None or isinstance(label, str) else list(label)
    labels = [_chosen_label(scene, one) for one in wanted]
    panels = [name for name in ("image", *labels) if name and name in scene]
    if not panels:
        raise ValueError(
            "`scene` must hold `image` or a label variable with `flag_meanings`. "
            f"Received: variables {sorted(map(str, scene.data_vars))}."
        )
    return panels


def _chosen_label(scene: Any, label: str | None) -> str | None:
    maps = [str(n) for n, v in scene.data_vars.items() if v.dims == ("y", "x")]
    if label is None:
        flagged = [n for n in maps if "flag_meanings" in scene[n].attrs]
        return flagged[0] if flagged else None
    if label not in maps:
        raise ValueError(f"`label` must be among {sorted(maps)}. Received: {label!r}.")
    return label


def flags_of(
    variable: Any, classes: Sequence[str] = (), colors: Sequence[str] = ()
) -> tuple[Sequence[str], Sequence[str]]:
    """Reads the classes that a label variable carries by CF attributes."""
    names = tuple(classes) or tuple(variable.attrs.get("flag_meanings", "").split())
    paint = tuple(colors) or tuple(variable.attrs.get("flag_colors", "").split())
    codes = list(variable.attrs.get("flag_values", range(len(names))))
    # A file may name void among its flags; here void is drawn by its own rule.
    keep = [i for i, code in enumerate(codes) if int(code) != VOID_CLASS]
    if classes or not codes:
        return names, paint
    if [int(codes[i]) for i in keep] != list(range(len(keep))):
        raise ValueError(
            "`flag_values` must be 0, 1, 2, ... in order. "
            f"Received: {[int(code) for code in codes]}."
        )
    return [names[i] for i in keep], [paint[i] for i in keep] if paint else ()


def codes_of(variable: Any) -> np.ndarray:
    """Codes of a map of classes, void where a number is missing."""
    values = np.asarray(variable.values)
    if np.issubdtype(values.dtype, np.floating):
        values = np.where(np.isfinite(values), values, VOID_CLASS)
    return values.astype(np.int64)


def graticule_of(scene: Any) -> _Graticule | None:
    """Where a scene lies, on a coarse set of its pixels; ``None`` if nothing says."""
    rows, columns = scene.sizes["y"], scene.sizes["x"]
    if min(rows, columns) < 2:
        return None
    row = np.unique(np.linspace(0, rows - 1, _NUM_POINTS).round().astype(int))
    column = np.unique(np.linspace(0, columns - 1, _NUM_POINTS).round().astype(int))
    if {"lat", "lon"} <= set(scene.coords) and scene["lat"].dims == ("y", "x"):
        picked = scene[["lat", "lon"]].isel(y=row, x=column)
        lat, lon = np.asarray(picked["lat"].values), np.asarray(picked["lon"].values)
    elif "crs_wkt" in getattr(scene.coords.get("spatial_ref"), "attrs", {}):
        lon, lat = _lonlat(scene, row, column)
    else:
        return None
    middle = lon[lon.shape[0] // 2, lon.shape[1] // 2]
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    return _Graticule(column, row, middle + (lon - middle + 180.0) % 360.0 - 180.0, lat)


def _lonlat(scene: Any, row: np.ndarray, column: np.ndarray) -> tuple[Any, Any]:
    x, y = np.meshgrid(scene["x"].values[column], scene["y"].values[row])
    return _to_lonlat(scene.coords["spatial_ref"].attrs["crs_wkt"]).transform(x, y)


@lru_cache(maxsize=8)
def _to_lonlat(wkt: str) -> Any:
    from pyproj import CRS, Transformer

    return Transformer.from_crs(CRS.from_wkt(wkt), "EPSG:4326", always_xy=True)


@lru_cache(maxsize=8)
def _names_of_crs(wkt: str) -> tuple[str, ...]:
    """Code and name of a reference system, which its database is searched for."""
    from pyproj import CRS

    crs = CRS.from_wkt(wkt)
    code = crs.to_authority()
    return (":".join(code), crs.name) if code else (crs.name,)


def draw_frame(ax: Axes, graticule: _Graticule) -> None:
    """Draws parallels and meridians, a scale bar and north over a picture."""
    limits = ax.get_xlim(), ax.get_ylim()
    _draw_lines(ax, graticule)
    _draw_scale_bar(ax, graticule)
    _draw_north(ax, graticule)
    ax.set_xlim(*limits[0])
    ax.set_ylim(*limits[1])


def graticule_levels(graticule: _Graticule) -> dict[Any, tuple[Any, Any]]:
    """Degrees at which parallels and meridians are drawn.

    Returns:
        Hemispheres (``("S", "N")``, ``("W", "E")``) -> degrees of the coarse pixels (y,
        x), and the levels; without what cannot be drawn.
    """
    levels = {}
    for values, hemispheres in ((graticule.lat, _NORTH), (graticule.lon, _EAST)):
        span = float(values.max() - values.min())
        # A scene over the pole meets every meridian: no contour is drawn there.
        if span <= 0.0 or span > 300.0:
            continue
        step = next((s for s in _STEPS_DEG if span / s <= 4.5), _STEPS_DEG[-1])
        first = np.ceil(values.min() / step) * step
        chosen = np.arange(first, values.max(), step)
        if chosen.size:
            levels[hemispheres] = values, chosen
    return levels


def _draw_lines(ax: Axes, graticule: _Graticule) -> None:
    drawn = graticule_levels(graticule)
    for values, levels in drawn.values():
        ax.contour(
            graticule.column,
            graticule.row,
            values,
            levels=levels,
            colors="#1b1f23",
            linewidths=0.6,
            linestyles="solid",
            alpha=0.55,
        )
    found = edge_degrees(graticule, drawn)
    for edge, axis in (("left", ax.yaxis), ("bottom", ax.xaxis)) if found else ():
        here = found.get(edge, {})
        axis.set_ticks(list(here), list(here.values()), fontsize=8)
        axis.set_tick_params(length=3)


def edge_degrees(
    graticule: _Graticule, drawn: Mapping[Any, Any]
) -> dict[str, dict[float, str]]:
    """Names of parallels on one edge and of meridians on the other.

    Args:
        graticule: Where the picture lies.
        drawn: As from `graticule_levels`.

    Returns:
        ``"left"`` and ``"bottom"`` -> position in px along that edge -> text; empty
        where nothing is drawn.
    """

    def crossings(hemispheres: tuple[str, str], edge: str) -> dict[float, str]:
        values, levels = drawn[hemispheres]
        along = values[:, 0] if edge == "left" else values[-1]
        at = graticule.row if edge == "left" else graticule.column
        return {
            float(position): _degrees(level, hemispheres)
            for level in levels
            for position in _where(along, at, level)
        }

    def labels(left: tuple[str, str]) -> dict[str, dict[float, str]]:
        edges = {h: "left" if h == left else "bottom" for h in drawn}
        return {edge: crossings(h, edge) for h, edge in edges.items()}

    if not drawn:
        return {}
    # In a turned grid, meridians may run across and parallels up.
    return max(map(labels, (_NORTH, _EAST)), key=lambda e: sum(map(len, e.values())))


def _where(along: np.ndarray, at: np.ndarray, level: float) -> np.ndarray:
    """Positions at which values along an edge cross a level, linear in between."""
    step = np.flatnonzero((along[:-1] < level) != (along[1:] < level))
    share = (level - along[step]) / (along[step + 1] - along[step])
    return at[step] + share * (at[step + 1] - at[step])


def _degrees(value: float, hemispheres: tuple[str, str]) -> str:
    if hemispheres == _EAST:
        value = (value + 180.0) % 360.0 - 180.0
    if abs(value) in (0.0, 180.0):
        return f"{abs(value):.0f}°"
    return f"{abs(value):.6g}° {hemispheres[int(value > 0)]}"


def scale_bar(graticule: _Graticule) -> tuple[float, str] | None:
    """A bar of true ground length at the middle of the scene: its px and its name."""
    column, row, lon, lat = graticule
    middle = len(row) // 2
    _, _, width_m = _ellipsoid().inv(
        lon[middle, 0], lat[middle, 0], lon[middle, -1], lat[middle, -1]
    )
    if not np.isfinite(width_m) or width_m <= 0:
        return None
    length_m = _nice_below(0.3 * width_m)
    name = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    return float(length_m * (column[-1] - column[0]) / width_m), name


@cache
def _ellipsoid() -> Any:
    from pyproj import Geod

    return Geod(ellps="WGS84")


def _draw_scale_bar(ax: Axes, graticule: _Graticule) -> None:
    bar_drawn = scale_bar(graticule)
    if bar_drawn is None:
        return
    length_px, name = bar_drawn
    column, row, *_ = graticule
    wide, high = float(column[-1] - column[0]), float(row[-1] - row[0])
    x, y = column[0] + 0.045 * wide, row[0] + 0.95 * high
    corner = (x - 0.02 * wide, y - 0.085 * high)
    box = Rectangle(corner, length_px + 0.04 * wide, 0.11 * high, **_PLATE)
    ax.add_patch(box)
    bar: Any = {"color": "#1b1f23", "lw": 3, "solid_capstyle": "butt", "zorder": 5}
    ax.plot([x, x + length_px], [y, y], **bar)
    above: Any = {"ha": "center", "va": "bottom", "fontsize": 9, "zorder": 5}
    ax.text(x + length_px / 2, y - 0.02 * high, name, **above)


def _nice_below(length: float) -> float:
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(f for f in (1.0, 2.0, 5.0) if f * power <= length) * power)


def north(graticule: _Graticule) -> tuple[float, float] | None:
    """Which way north lies at the middle: a step of length 1 across and down, px."""
    column, row, _, lat = graticule
    middle = len(row) // 2, len(column) // 2
    gradient = np.gradient(lat, row.astype(float), column.astype(float))
    down, right = (float(g[middle]) for g in gradient)
    norm = float(np.hypot(down, right))
    return (right / norm, down / norm) if norm > 0 else None


def _draw_north(ax: Axes, graticule: _Graticule) -> None:
    """Draws an arrow along the meridian at the middle of the scene."""
    way = north(graticule)
    if way is None:
        return
    column, row, *_ = graticule
    size = 0.08 * min(row[-1] - row[0], column[-1] - column[0])
    dx, dy = way[0] * size, way[1] * size
    x, y = column[-1] - 1.3 * size, row[0] + 1.3 * size
    ax.add_patch(Circle((x, y), 1.15 * size, **_PLATE))
    tip, tail = (x + 0.2 * dx, y + 0.2 * dy), (x - dx, y - dy)
    arrow = {"arrowstyle": "-|>", "color": "#1b1f23", "lw": 1.8}
    ax.annotate("", xy=tip, xytext=tail, arrowprops=arrow, zorder=5)
    letter: Any = {"ha": "center", "va": "center", "fontsize": 9, "fontweight": "bold"}
    ax.text(x + 0.55 * dx, y + 0.55 * dy, "N", zorder=5, **letter)


def reference_line(scene: Any) -> str:
    """Names the scene, its time and its reference system, as far as it knows them."""
    parts = [str(scene.attrs[k]) for k in ("scene_id", "time") if scene.attrs.get(k)]
    attrs = getattr(scene.coords.get("spatial_ref"), "attrs", {})
    if "crs_wkt" in attrs:
        parts += _names_of_crs(attrs["crs_wkt"])
    elif "lat" in scene.coords:
        parts.append("swath geometry (2-D lat, lon)")
    else:
        parts.append("no georeference")
    return " · ".join(parts)
