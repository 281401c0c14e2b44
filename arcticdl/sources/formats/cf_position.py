"""Where the pixels of a NetCDF field lie: on a grid, along a swath, or nowhere told."""

from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from arcticdl.errors import SourceError
from arcticdl.scene import grid_coords
from arcticdl.sources.core.cf import PackedVariable
from arcticdl.sources.core.crs import find_crs, mapping_name, user_crs
from arcticdl.sources.core.geolocation import AffinePositions, swath_coords
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.units import unit_factor
from arcticdl.sources.formats.cf_axes import Layout, lines_over, role_of, upright

_UNEVEN = 0.01
"""Of a pixel: coordinates of centres that are further off are not regular."""

_ROUNDED = 0.1
"""Of a pixel: as far off may be what rounds in the type of the coordinate, as 32-bit
metres do by 0.25 m, 4000 km from the pole."""
_ROLES = frozenset(("x", "y", "lon", "lat", "rlon", "rlat"))

Position = tuple[dict[str, Any] | None, dict[str, Any]]


def find_position(
    raw: xr.Dataset,
    path: str,
    field: xr.Variable,
    layout: Layout,
    *,
    crs: Any = None,
    time_index: int | None = None,
) -> Position:
    """Coordinates and attributes that say where the pixels of a field lie.

    Args:
        raw: The file, or a group of it.
        path: Of the file, for messages.
        field: The field with its attributes.
        layout: Its rows and columns.
        crs: CRS of its coordinates, in place of what the file says.
        time_index: Which of several positions, where they change with time.

    Returns:
        Coordinates of a grid or a swath, or ``None``; and attributes of the scene.

    Raises:
        SourceError: Coordinates are uneven, of an unknown unit, or several, or the file
            names a CRS that cannot be read.
    """
    lines = _lines(raw, path, field, layout)
    planes = _planes(raw, path, field, layout, time_index)
    told = user_crs(crs) if crs is not None else find_crs(raw, field, path)
    found = None if told is None else _on_grid(path, lines, told, bool(planes))
    if found is not None:
        return found, {}
    if {"lon", "lat"} <= set(lines):
        return _geographic(path, lines, ("lon", "lat"), "EPSG:4326"), {}
    if planes:
        return planes, {}
    named = mapping_name(field)
    if crs is None and named and named not in raw.variables:
        raise SourceError(
            f"{path} must hold the grid mapping {named!r} that its field names. "
            f"Received: {sorted(map(str, raw.variables))}. Name the CRS by `crs`."
        )
    if {"x", "y"} <= set(lines):
        return None, {"georeferencing": "the file has x and y but no CRS (`crs`)"}
    return None, {}


def _on_grid(
    path: str, lines: dict[str, xr.Variable], crs: CRS, has_planes: bool
) -> dict[str, Any] | None:
    """The grid of a CRS, as far as the coordinates fit it."""
    if crs.is_derived and crs.is_geographic:
        pair = next((p for p in (("rlon", "rlat"), ("x", "y")) if set(p) <= set(lines)),
                    None)  # fmt: skip
        return None if pair is None or has_planes else _rotated(path, lines, pair, crs)
    if crs.is_geographic:
        for pair in (("lon", "lat"), ("x", "y")):
            if set(pair) <= set(lines):
                return _geographic(path, lines, pair, crs)
        return None
    if not {"x", "y"} <= set(lines):
        return None
    x, y = (_along(path, axis, lines[axis], crs) for axis in ("x", "y"))
    return grid_coords(_geobox(path, x, y, crs))


def _geographic(
    path: str, lines: dict[str, xr.Variable], pair: tuple[str, str], crs: Any
) -> dict[str, Any]:
    x, y = (_degrees(path, name, lines[name]) for name in pair)
    # Longitudes may jump from 360 to 0 within the field.
    return grid_coords(_geobox(path, np.degrees(np.unwrap(np.radians(x))), y, crs))


def _rotated(
    path: str, lines: dict[str, xr.Variable], pair: tuple[str, str], crs: CRS
) -> dict[str, Any]:
    """A grid about another pole, as a swath: GDAL and odc-geo know no such grid."""
    x, y = (_degrees(path, name, lines[name]) for name in pair)
    grid = _geobox(path, x, y, None)
    return dict(swath_coords(AffinePositions(grid.transform, crs), grid.shape))


def _degrees(path: str, name: str, line: xr.Variable) -> np.ndarray:
    return _numbers(path, name, line) * degrees_factor(name, line)


def degrees_factor(name: str, variable: xr.Variable) -> float:
    """Degrees in the unit of a latitude or longitude; without a unit they are that."""
    unit = str(variable.attrs.get("units", "")).strip()
    # HDF-EOS5 writes "deg", others "degrees north", none of which UDUNITS knows.
    if not unit or unit.lower().startswith(("deg", "decimal deg")):
        return 1.0
    return unit_factor(unit, "degrees", f"Coordinate {name!r}")


def _along(path: str, name: str, line: xr.Variable, crs: CRS) -> np.ndarray:
    """Coordinates along an axis in the CRS's own unit."""
    unit = str(line.attrs.get("units", "")).strip()
    numbers = _numbers(path, name, line)
    what = f"Coordinate {name!r} of {path}"
    height = _height_m(crs)
    if height is not None and unit and _is_angle(unit):
        # PROJ's geostationary plane is the scan angle times the satellite's height.
        return numbers * unit_factor(unit, "radian", what) * height
    if not unit:
        return numbers
    metres = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    return numbers * (unit_factor(unit, "m", what) / (metres or 1.0))


def _height_m(crs: CRS) -> float | None:
    """Height of the satellite of a geostationary CRS."""
    operation = crs.coordinate_operation
    if operation is None or "geostationary" not in operation.method_name.lower():
        return None
    heights = [p.value for p in operation.params if "height" in p.name.lower()]
    return float(heights[0]) if heights else None


def _is_angle(unit: str) -> bool:
    try:
        unit_factor(unit, "radian", "")
    except SourceError:
        return False
    return True


def _numbers(path: str, name: str, line: xr.Variable) -> np.ndarray:
    """A 1-D coordinate as float64, its packing undone."""
    row = xr.Variable(("one", "place"), np.asarray(line.values)[None], line.attrs)
    packed = PackedVariable(name, row, typed=True)
    every = slice(0, 1), slice(0, line.size)
    stored = packed.read_stored(*every).astype("float64")
    if not packed.read_valid(*every).all():
        raise SourceError(
            f"{path} must give finite {name} coordinates throughout. "
            "Received: some are missing."
        )
    found = np.asarray(stored[0] * packed.scale + packed.offset)
    return _unrounded(found, line.dtype) if line.dtype.kind == "f" else found


def _unrounded(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The regular line that numbers are, but for rounding in their type; else they."""
    if len(numbers) < 2:
        return numbers
    even = np.linspace(numbers[0], numbers[-1], len(numbers))
    rounding = np.abs(numbers).max() * float(np.finfo(dtype).eps)
    slack = min(rounding, _ROUNDED * abs(even[1] - even[0]))
    return even if np.abs(numbers - even).max() <= slack else numbers


def _geobox(path: str, x: np.ndarray, y: np.ndarray, crs: Any) -> GeoBox:
    steps = []
    for name, centres in (("x", x), ("y", y)):
        if len(centres) < 2 or not np.isfinite(centres).all():
            raise SourceError(
                f"{path} must give at least two finite {name} coordinates. "
                f"Received: {len(centres)}."
            )
        step = (centres[-1] - centres[0]) / (len(centres) - 1)
        gap = np.abs(centres - (centres[0] + step * np.arange(len(centres)))).max()
        if step == 0 or gap > abs(step) * _UNEVEN:
            raise SourceError(
                f"{path} must have regular {name} coordinates. Received: mean step "
                f"{step:.9g}, off by up to {gap:.9g}; correct them in the opened "
                "dataset and pass that to `open_scene`, or give 2-D `lat` and `lon`."
            )
        steps.append(step)
    transform = Affine(
        steps[0], 0, x[0] - steps[0] / 2, 0, steps[1], y[0] - steps[1] / 2
    )
    return GeoBox((len(y), len(x)), transform, crs)


def _lines(
    raw: xr.Dataset, path: str, field: xr.Variable, layout: Layout
) -> dict[str, xr.Variable]:
    """1-D coordinates of a field by what they hold."""
    found: dict[str, dict[str, xr.Variable]] = {}
    for dim in layout.dims:
        for name, line in lines_over(raw, dim).items():
            if line.dtype.kind in "iuf":
                found.setdefault(role_of(name, line), {})[name] = line
    return {
        role: _one_of(path, role, named, field, layout)
        for role, named in found.items()
        if role in _ROLES
    }


def _one_of(
    path: str,
    role: str,
    named: dict[str, xr.Variable],
    field: xr.Variable,
    layout: Layout,
) -> xr.Variable:
    """The coordinate that a field names, or the only one, or that of its dimension."""
    text = field.attrs.get("coordinates", field.encoding.get("coordinates", ""))
    told = [name for name in str(text).split() if name in named]
    own = [name for name in named if name in layout.dims]
    usual = [n for n in named if n.lower() in (role, "latitude", "longitude")]
    for names in (told, own, list(named), usual):
        if len(names) == 1:
            return named[names[0]]
    raise SourceError(
        f"{path} must tell by the field's attribute `coordinates` which {role} is its "
        f"own. Received: {sorted(named)}."
    )


def _planes(
    raw: xr.Dataset,
    path: str,
    field: xr.Variable,
    layout: Layout,
    time_index: int | None,
) -> dict[str, xr.Variable]:
    """Lazy 2-D ``lat`` and ``lon`` of a field, both or none."""
    found: dict[str, dict[str, xr.Variable]] = {"lat": {}, "lon": {}}
    for name, variable in raw.variables.items():
        role = role_of(str(name), variable) if variable.ndim >= 2 else ""
        if role in found and set(layout.dims) <= set(variable.dims):
            found[role][str(name)] = variable
    if not all(found.values()):
        return {}
    planes = {role: _one_of(path, role, named, field, layout)
              for role, named in found.items()}  # fmt: skip
    return {
        role: plane_of(role, upright(_at_time(plane, layout, time_index), layout))
        for role, plane in planes.items()
    }


def _at_time(plane: xr.Variable, layout: Layout, time_index: int | None) -> xr.Variable:
    rest = [dim for dim in plane.dims if dim not in layout.dims]
    return plane.isel({d: (time_index or 0) if plane.sizes[d] > 1 else 0 for d in rest})


def plane_of(name: str, variable: xr.Variable) -> xr.Variable:
    """Latitude or longitude of a swath as a lazy coordinate ``(y, x)`` in degrees.

    Args:
        name: ``"lat"`` or ``"lon"``.
        variable: Stored numbers, rows and columns last; of further dimensions the first
            layer is taken.
    """
    layer = variable.isel({d: 0 for d in variable.dims[:-2]})
    packed = PackedVariable(name, layer, typed=True)
    dtype = packed.dtype if packed.dtype.kind == "f" else np.dtype("float64")
    factor = degrees_factor(name, layer)

    lazy = WindowArray(tuple(layer.shape), dtype, _PlaneReader(packed, factor, dtype))
    side = "north" if name == "lat" else "east"
    return lazy.variable(("y", "x"), {"units": f"degrees_{side}"})


class _PlaneReader:
    """Reads windows of a position; missing ones are NaN."""

    def __init__(self, packed: PackedVariable, factor: float, dtype: np.dtype) -> None:
        self.packed, self.factor, self.dtype = packed, factor, dtype

    def __call__(self, rows: slice, cols: slice) -> np.ndarray:
        values = self.packed.read(rows, cols).astype(self.dtype)
        if self.packed.dtype.kind != "f":
            values[~self.packed.read_valid(rows, cols)] = np.nan
        return values if self.factor == 1.0 else values * self.dtype.type(self.factor)
