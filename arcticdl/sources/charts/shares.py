"""``add_shares``: polygons and what each class covers of them, as a label of a scene.

Of an ice chart (SIGRID-3) the partial concentrations CA, CB, CC of the stages or forms
SA, SB, SC; of any other vector file a column a class.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr
from pyproj import CRS, Transformer

from arcticdl.choices import check_choice, check_choices, check_names
from arcticdl.errors import LabelError, SourceError
from arcticdl.scene import is_swath, refuse_taken, scene_geobox, share_table
from arcticdl.scene.shares import TOLERANCE
from arcticdl.seaice.schemes import SCHEMES, ClassScheme
from arcticdl.sources.charts.coverage import ChartGrid, on_geobox, on_swath
from arcticdl.sources.charts.polygons import is_chart_file, read_ice_chart
from arcticdl.sources.charts.share_form import chart_shares, share_variable
from arcticdl.sources.formats.vector import is_north, place_features, read_features

SCHEME_OF: dict[str, str] = {"FLOE": "autoice_floe", "SOD": "autoice_sod"}
"""Label to the scheme that its shares are of by default."""

_PLANES = {True: "EPSG:3413", False: "EPSG:3031"}


def add_shares(
    scene: xr.Dataset,
    name: str,
    path: str | Path,
    *,
    classes: Sequence[str] = (),
    colors: Sequence[str] = (),
    scheme: str | ClassScheme | None = None,
    columns: Sequence[str] = (),
    total: float = 1.0,
    layer: str | None = None,
    crs: Any = None,
) -> xr.Dataset:
    """Adds what each class covers of the polygons of a file, as a label of shares.

    On a grid a pixel takes the polygon that covers most of it; on a swath, the polygon
    at its centre. A polygon is void where a share is not known: of a chart where a
    concentration, stage or form is missing or has no class (see
    ``seaice.labels.soft_label``), of `columns` where one of them is empty. Water is
    what the ice leaves, and the first class of a chart.

    Args:
        scene: A scene on a grid or a swath.
        name: Of the label.
        path: An ice chart (see ``read_ice_chart``), or with `columns` any vector file
            of areas.
        classes: Names of the classes, in the order of the scheme, or of `columns`;
            empty: those of the scheme, or the columns themselves.
        colors: ``#rrggbb`` of each, or empty: of a chart those of the scheme.
        scheme: Of a chart: class scheme over stage or form, or its name in
            ``seaice.schemes``; ``None``: that of ``SOD`` or ``FLOE`` by the name.
        columns: Of another file: a column a class, of its share of each area.
        total: What the columns of an area add up to: 1, 10 (tenths) or 100 (percent).
        layer: Layer of the file, where it has several.
        crs: CRS of the polygons, in place of what the file tells.

    Returns:
        The scene with the lazy label, float32 (NAME_channel, y, x); see
        ``scene.shares``. It bears the time of a chart.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: It is no chart and no `columns` are told, or it is damaged.
        LabelError: The name is taken, no polygon touches the scene, shares do not add
            up, classes are not as many as those of the file, a feature is no area, or
            the scene has no position.
        ValueError: An unknown scheme or column.

    Example:
        ``add_shares(scene, "SOD", "chart.gpkg")["SOD"]``
    """
    check_names(classes=classes, colors=colors, columns=columns)
    refuse_taken(scene, name)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    time = None
    if columns:
        if scheme is not None:
            raise ValueError(
                "`scheme` reads the codes of a chart, and `columns` hold shares. "
                f"Received: both, of label {name!r}; leave one of them out."
            )
        table = read_features(path, layer=layer, crs=crs)
        _refuse_lines(table, name)
        shares = column_shares(table, columns, total, name)
        known: tuple[Any, Any] = (tuple(columns), ())
        shapes: Callable[[Any], np.ndarray] = lambda plane: place_features(  # noqa: E731
            table, CRS(plane), is_north(scene)
        )
    else:
        _refuse_plain(path, name)
        chosen = _scheme_of(name, scheme)
        chart = read_ice_chart(path, crs=crs, layer=layer)
        shares = chart_shares(chart.eggs, chosen)
        known, time, shapes = (
            (chosen.classes, chosen.colours),
            chart.time,
            chart.geometries,
        )
    names, paint = _named(name, known, classes, colors)
    grid = _lay(scene, shapes, name)
    table_of = share_table(range(1, len(shares) + 1), shares)
    variable = share_variable(
        grid.shape, grid.main_polygon, table_of, name, (names, paint)
    )
    variable.attrs |= {} if time is None else {"time": time}
    labelled = scene.assign({name: variable})
    labelled.set_close(scene.close)
    return labelled


def column_shares(
    table: Any, columns: Sequence[str], total: float, name: str
) -> np.ndarray:
    """What each class covers of areas, by columns of a table.

    Args:
        table: The areas.
        columns: One a class.
        total: What they add up to.
        name: Of the label, for messages.

    Returns:
        float64 (area, class), 1 together; NaN where one is empty.

    Raises:
        LabelError: They do not add up within a hundredth of `total`, or one is below 0
            or no number.
        ValueError: There is no such column, or `total` is not above 0.
    """
    if not total > 0:
        raise ValueError(f"`total` must be above 0. Received: total={total}.")
    known = [str(column) for column in table.columns if column != table.geometry.name]
    check_choices("columns", list(columns), known)
    try:
        shares = table[list(columns)].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise LabelError(
            f"`columns` of label {name!r} must hold numbers. Received: {error}."
        ) from None
    told = ~np.isnan(shares).any(1)
    sums = shares.sum(1)
    # A hair more: three thirds in percent, 33 each, are 0.99 in binary numbers.
    wrong = told & ~(np.abs(sums / total - 1.0) <= TOLERANCE + 1e-9)
    wrong |= (shares < 0).any(1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        held = dict(zip(columns, shares[first].tolist(), strict=True))
        raise LabelError(
            f"The shares of an area must not be below 0 and add up to {total:g}. "
            f"Received: {int(wrong.sum())} areas of label {name!r}, such as number "
            f"{first} with {held}. Name a column for each class, water or the rest "
            "too; `total` says what they add up to, and an empty one makes it void."
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(shares / sums[:, None])


def _refuse_lines(table: Any, name: str) -> None:
    """Refuses features without an area, of which nothing can have a share."""
    kinds = set(table.geom_type) - {"Polygon", "MultiPolygon"}
    if kinds:
        raise LabelError(
            f"Label {name!r} of shares needs areas. Received: {sorted(kinds)} among "
            "the features; take these out of the file, or choose another `layer`."
        )


def _scheme_of(name: str, scheme: str | ClassScheme | None) -> ClassScheme:
    if isinstance(scheme, ClassScheme):
        return scheme
    if scheme is None:
        known = sorted(SCHEME_OF)
        if name not in SCHEME_OF:
            raise LabelError(
                "The shares of a chart are those of a scheme of classes: name the "
                f"label one of {known}, or choose a `scheme`. Received: {name!r}."
            )
        scheme = SCHEME_OF[name]
    told = [n for n, each in SCHEMES.items() if each.field != "concentration"]
    check_choice("scheme", scheme, told)
    return SCHEMES[scheme]


def _refuse_plain(path: Path, name: str) -> None:
    """Refuses a file without the columns of a chart."""
    head = b""
    with path.open("rb") as file:
        head = file.read(4096)
    if path.suffix.lower() in (".geojson", ".json") or is_chart_file(path, head):
        return
    raise SourceError(
        f"Label {name!r} of shares needs an ice chart, with its columns CT, CA, SA, "
        f"..., or `columns` that hold the share of each class. Received: {path}."
    )


def _named(
    name: str,
    known: tuple[Sequence[str], Sequence[str]],
    classes: Sequence[str],
    colors: Sequence[str],
) -> tuple[Sequence[str], Sequence[str]]:
    """Names and colours of the classes: as told, or as the file has them."""
    if classes and len(classes) != len(known[0]):
        raise LabelError(
            f"The classes of label {name!r} must be as many as those of its shares, "
            f"{list(known[0])}. Received: {list(classes)}."
        )
    return classes or known[0], colors or known[1]


def _lay(
    scene: xr.Dataset, shapes: Callable[[Any], np.ndarray], name: str
) -> ChartGrid:
    """Polygons on the pixels of a scene, of which some lie there."""
    geobox = scene_geobox(scene)
    if geobox is not None and geobox.crs is not None:
        placed = shapes(geobox.crs)
        extent = shapely.box(*geobox.boundingbox.bbox)
        _refuse_elsewhere(placed, extent, name, scene)
        return on_geobox(placed, geobox)
    if not is_swath(scene):
        raise LabelError(
            f"Label {name!r} of polygons needs a scene with a position. Received: "
            f"{scene.attrs.get('scene_id')!r}, a plain image."
        )
    plane = _PLANES[is_north(scene)]
    placed = shapes(plane)
    lat, lon = scene["lat"].variable, scene["lon"].variable
    _refuse_elsewhere(placed, _extent(lat, lon, plane), name, scene)
    return on_swath(placed, plane, lat, lon)


def _extent(lat: xr.Variable, lon: xr.Variable, plane: str) -> Any:
    """A rectangle about some positions of a swath, in a plane."""
    some = tuple(slice(None, None, max(1, size // 64)) for size in lat.shape)
    to_plane = Transformer.from_crs("EPSG:4326", plane, always_xy=True)
    x, y = to_plane.transform(lon[some].values, lat[some].values)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return shapely.Point()
    x, y = x[known], y[known]
    return shapely.box(x.min(), y.min(), x.max(), y.max())


def _refuse_elsewhere(
    placed: np.ndarray, extent: Any, name: str, scene: xr.Dataset
) -> None:
    if not shapely.intersects(placed, extent).any():
        raise LabelError(
            f"A polygon of label {name!r} must touch the scene. Received: none that "
            f"does, of {scene.attrs.get('scene_id')!r}. Leave the scene out, or name "
            "its own chart."
        )
