"""What is decided on: extent, area, edge, leads, ponds and floes, each defined."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.choices import check_choices, check_names
from arcticdl.files import atomic_path, write_features, write_json
from arcticdl.inference.output import pixel_area_m2, scene_georeference
from arcticdl.inference.products.product import Product, class_maps
from arcticdl.inference.products.provenance import now, tags_of
from arcticdl.metrics.floes import floe_sizes, lead_fraction
from arcticdl.metrics.ice_cover import (
    EXTENT_THRESHOLD,
    cell_areas_km2,
    melt_pond_fraction,
)
from arcticdl.seaice.sigrid import scheme_of
from arcticdl.void import VOID_CLASS

_ENDINGS = ("_ice.json", "_ice_edge.gpkg")
_CONCENTRATION = "sea_ice_area_fraction"
_ROWS = 256
_LEAST_SCORED = 0.5
_PERCENT = f"{EXTENT_THRESHOLD:.0%}"


class Cells(NamedTuple):
    """The concentration of cells, and how large they are.

    Attributes:
        sic: Fraction (row, column), float64, NaN where less than half is scored.
        area_km2: True area of what is scored in each cell.
        cell_px: Pixels a side.
    """

    sic: NDArray[np.float64]
    area_km2: NDArray[np.float64]
    cell_px: int


def write_ice(
    maps: xr.Dataset,
    scene: xr.Dataset | None,
    stem: Path,
    *,
    ice: Sequence[str] = (),
    pond: Sequence[str] = (),
    lead: Sequence[str] = (),
    floes: bool = False,
    cell_km: float | None = None,
) -> None:
    """Writes ``NAME_ice.json``, each number with its definition, and the ice edge.

    Extent, area and edge (``NAME_ice_edge.gpkg``) are told of the concentration: of a
    map with the standard name ``sea_ice_area_fraction``, else of the share of ice in
    cells of a map of classes. They depend on the size of the cells and are never
    compared across sizes. The map is held in memory whole.

    Args:
        maps: Finished maps.
        scene: Not needed.
        stem: Path without an ending.
        ice: Classes that are ice; default: of an ice chart all but water.
        pond: Classes that are melt ponds, which lie on ice and count as ice.
        lead: Classes that are leads, told from the open sea.
        floes: Whether floes of the classes ``ice`` are measured.
        cell_km: Side of a cell; default: that of a pixel.
    """
    check_names(ice=ice, pond=pond, lead=lead)
    found: dict[str, Any] = {}
    if _concentration(maps) is not None:
        cells = _cells_of_values(maps)
    else:
        name, codes = _codes(maps, ice, pond, lead)
        label = maps[name].values
        cells = _cells_of_classes(maps, label, codes["ice"] + codes["pond"], cell_km)
        found |= _of_classes(label, codes, floes, _side_m(maps), cells)
    lines = edge_lines(maps, cells)
    length = _write_edge(maps, lines, stem.with_name(f"{stem.name}{_ENDINGS[1]}"))
    told = tags_of(maps)
    told["software"] = told.pop("TIFFTAG_SOFTWARE")
    write_json(
        stem.with_name(f"{stem.name}{_ENDINGS[0]}"),
        {
            **{key: str(value) for key, value in told.items()},
            "written": now().isoformat(),
            "cell_km": cells.cell_px * _side_m(maps) / 1000,
            "note": "Extent, area and edge depend on the size of the cells. Never "
            "compare them with those of another size.",
            "quantities": _of_cells(cells, length) | found,
        },
    )


def _quantity(value: float, units: str, definition: str, **more: Any) -> dict[str, Any]:
    known = None if math.isnan(value) else value
    return {"value": known, "units": units, "definition": definition, **more}


def _of_cells(cells: Cells, edge_km: float) -> dict[str, Any]:
    ice = cells.sic >= EXTENT_THRESHOLD
    area = cells.area_km2
    return {
        "extent": _quantity(
            float(area[ice].sum()), "km2",
            f"Area on the ellipsoid of all cells with a concentration of at least "
            f"{_PERCENT}, void left out.",
        ),
        "area": _quantity(
            float((cells.sic * area)[ice].sum()), "km2",
            "Concentration times area on the ellipsoid, added over all cells with a "
            f"concentration of at least {_PERCENT}.",
        ),
        "scored_area": _quantity(
            float(area[np.isfinite(cells.sic)].sum()), "km2",
            "Area on the ellipsoid of all that is not void, in cells of which at least "
            "half is not.",
        ),
        "edge_length": _quantity(
            edge_km, "km",
            f"Geodesic length of the line on which the concentration, interpolated "
            f"between the centres of cells, is {_PERCENT}. It ends at void and at the "
            "frame, so that a coast is no edge.",
        ),
    }  # fmt: skip


def _of_classes(
    label: NDArray[Any],
    codes: Mapping[str, list[int]],
    floes: bool,
    pixel_m: float,
    cells: Cells,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if codes["lead"]:
        found["lead_fraction"] = _quantity(
            lead_fraction(label, codes["lead"], codes["ice"] + codes["pond"]), "1",
            "Pixels of leads over pixels of leads and ice.",
        )  # fmt: skip
    if codes["pond"]:
        merged = np.full(label.shape, 2, np.uint8)
        merged[label == VOID_CLASS] = VOID_CLASS
        merged[np.isin(label, codes["pond"])] = 0
        merged[np.isin(label, codes["ice"])] = 1
        each = [melt_pond_fraction(cell)["mpf"] for cell in _blocks(merged, cells)]
        known = [value for value in each if not math.isnan(value)]
        found["melt_pond_fraction"] = _quantity(
            melt_pond_fraction(merged)["mpf"], "1",
            "Pixels of ponds over pixels of ponds and ice; undefined where ponds and "
            f"ice cover less than {_PERCENT} of what is scored.",
            num_cells=len(known), num_cells_undefined=len(each) - len(known),
        )  # fmt: skip
    if floes:
        found["floe_diameter"] = _floes(label, codes["ice"] + codes["pond"], pixel_m)
    return found


def _blocks(label: NDArray[Any], cells: Cells) -> list[NDArray[Any]]:
    """Cells of several pixels; of single ones the map is one cell."""
    size = cells.cell_px if cells.cell_px > 1 else max(label.shape)
    rows, cols = (range(0, side, size) for side in label.shape)
    return [label[r : r + size, c : c + size] for r in rows for c in cols]


def _floes(label: NDArray[Any], ice: list[int], pixel_m: float) -> dict[str, Any]:
    found = floe_sizes(label, ice, pixel_m=pixel_m)
    sizes = found["diameter_m"]
    shares = (5, 25, 50, 75, 95)
    more = {f"percentile_{p}": float(np.percentile(sizes, p)) for p in shares}
    return _quantity(
        float(sizes.mean()) if sizes.size else math.nan, "m",
        "Mean over floes of the mean caliper diameter: perimeter of the convex hull of "
        "a floe's pixels over pi, in the plane of the projection. A floe is ice joined "
        "by the sides of its pixels, so that floes that touch are one. Those that "
        "reach the frame or void, and those below 5 pixels, are left out.",
        num_floes=int(sizes.size), num_cut=found["num_cut"],
        num_small=found["num_small"], **(more if sizes.size else {}),
    )  # fmt: skip


def _concentration(maps: xr.Dataset) -> xr.DataArray | None:
    for variable in maps.data_vars.values():
        named = variable.attrs.get("standard_name") == _CONCENTRATION
        if named and variable.dims == ("y", "x"):
            return variable
    return None


def _codes(
    maps: xr.Dataset, ice: Sequence[str], pond: Sequence[str], lead: Sequence[str]
) -> tuple[str, dict[str, list[int]]]:
    """The first map of classes, and the codes of what is ice, pond and lead.

    Raises:
        ValueError: An unknown class, one named twice, or nothing tells what is ice.
    """
    name, legend = next(iter(class_maps(maps).items()))
    numbers = dict(zip(legend.names, legend.codes, strict=True))
    if not ice and (scheme := scheme_of(legend.names)) is not None:
        water = scheme.classes[0].replace("_", " ")
        others = {water, *(one.replace("_", " ") for one in (*pond, *lead))}
        ice = [one for one in legend.names if one.lower() not in others]
    asked = {"ice": ice, "pond": pond, "lead": lead}
    plain = {k: [str(one).replace("_", " ") for one in v] for k, v in asked.items()}
    for key, names in plain.items():
        check_choices(key, names, numbers)
    every = [one for names in plain.values() for one in names]
    if len(set(every)) < len(every):
        raise ValueError(f"`ice`, `pond` and `lead` must differ. Received: {plain}.")
    if not plain["ice"]:
        raise ValueError(
            f"`ice` must name the classes that are ice, of {sorted(numbers)}. "
            "Received: none."
        )
    return name, {k: [numbers[one] for one in v] for k, v in plain.items()}


def _side_m(maps: xr.Dataset) -> float:
    area = pixel_area_m2(scene_georeference(maps))
    assert area is not None  # `_check` has seen to it
    return math.sqrt(area)


def _areas(maps: xr.Dataset, rows: slice) -> NDArray[np.float64]:
    """True areas of the pixels of some rows, km2."""
    y, wkt = maps["y"].values, maps["spatial_ref"].attrs["crs_wkt"]
    first = min(rows.start, len(y) - 2)  # of one row alone no step is known
    found = cell_areas_km2(maps["x"].values, y[first : rows.stop], wkt)
    return found[rows.start - first :]


def _cells_of_values(maps: xr.Dataset) -> Cells:
    variable = _concentration(maps)
    assert variable is not None
    percent = variable.attrs.get("units", "1") in ("%", "percent")
    sic = variable.values.astype(np.float64) / (100.0 if percent else 1.0)
    # A network that answers with numbers leaves 0 to 1 by a little.
    sic = np.clip(sic, 0.0, 1.0)
    parts = [_areas(maps, rows) for rows in _row_blocks(len(sic), _ROWS)]
    return Cells(sic, np.concatenate(parts), 1)


def _cells_of_classes(
    maps: xr.Dataset, label: NDArray[Any], ice: list[int], cell_km: float | None
) -> Cells:
    size = 1 if cell_km is None else max(round(cell_km * 1000 / _side_m(maps)), 1)
    columns = np.arange(0, label.shape[1], size)
    sic, areas = [], []
    step = max(size, _ROWS // size * size)
    for block in _row_blocks(len(label), step):
        codes, area = label[block], _areas(maps, block)
        scored = codes != VOID_CLASS
        rows = np.arange(0, len(codes), size)

        def added(values: NDArray[Any], rows: Any = rows) -> NDArray[np.float64]:
            whole = np.add.reduceat(values.astype(np.float64), rows, axis=0)
            return np.asarray(np.add.reduceat(whole, columns, axis=1))

        known, total = added(scored * area), added(area)
        covered = added(np.isin(codes, ice) * area)
        enough = known >= _LEAST_SCORED * total
        share = np.divide(covered, known, out=np.zeros_like(known), where=known > 0)
        sic.append(np.where(enough & (known > 0), share, np.nan))
        areas.append(known)
    return Cells(np.concatenate(sic), np.concatenate(areas), size)


def _row_blocks(rows: int, step: int) -> list[slice]:
    return [slice(row, min(row + step, rows)) for row in range(0, rows, step)]


def edge_lines(maps: xr.Dataset, cells: Cells) -> list[NDArray[np.float64]]:
    """The lines of 15 % concentration, each (point, 2) x and y of the maps' CRS."""
    from skimage.measure import find_contours

    known = np.isfinite(cells.sic)
    if min(cells.sic.shape) < 2 or not known.any():
        return []
    filled = np.where(known, cells.sic, 0.0)
    found = find_contours(filled, EXTENT_THRESHOLD, mask=known)
    move = scene_georeference(maps)["transform"]
    size = cells.cell_px
    lines = []
    for line in found:
        row, col = (line.T + 0.5) * size
        x, y = (
            move.a * col + move.b * row + move.c,
            move.d * col + move.e * row + move.f,
        )
        lines.append(np.stack([x, y], axis=-1))
    return lines


def _write_edge(maps: xr.Dataset, lines: list[NDArray[Any]], path: Path) -> float:
    """Writes the edge, and tells its length in km."""
    import geopandas
    from pyproj import CRS, Transformer
    from shapely import LineString

    crs = CRS.from_wkt(maps["spatial_ref"].attrs["crs_wkt"])
    geod = crs.get_geod()
    assert geod is not None
    to_lonlat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    lengths = [geod.line_length(*to_lonlat.transform(*line.T)) / 1e3 for line in lines]
    columns = {
        "concentration": [EXTENT_THRESHOLD] * len(lines),
        "length_km": lengths,
        "scene_id": [str(maps.attrs.get("scene_id", ""))] * len(lines),
    }
    frame = geopandas.GeoDataFrame(
        columns, geometry=list(map(LineString, lines)), crs=crs
    )
    with atomic_path(path) as part:
        write_features(frame, part, "ice_edge", geometry_type="LineString")
    return float(sum(lengths))


def _check(
    maps: xr.Dataset,
    *,
    ice: Sequence[str] = (),
    pond: Sequence[str] = (),
    lead: Sequence[str] = (),
    floes: bool = False,
    cell_km: float | None = None,
) -> None:
    area = pixel_area_m2(scene_georeference(maps))
    if area is None or min(maps.sizes["y"], maps.sizes["x"]) < 2:
        raise ValueError(
            "The product 'ice' needs maps of at least 2 x 2 px with a projected CRS. "
            f"Received: maps of {maps.attrs.get('scene_id', 'a scene')!r}."
        )
    if _concentration(maps) is not None:
        if ice or pond or lead or floes or cell_km is not None:
            raise ValueError(
                "A map of concentration has no classes and the cells that it comes on: "
                "leave `ice`, `pond`, `lead`, `floes` and `cell_km` out."
            )
        return
    if not class_maps(maps):
        raise ValueError(
            "The product 'ice' needs a map of classes, or one of concentration "
            f"(standard name {_CONCENTRATION}). Received: {list(maps.data_vars)}."
        )
    for name, given in (("ice", ice), ("pond", pond), ("lead", lead)):
        if isinstance(given, str):
            raise ValueError(f"`{name}` must be a list. Received: {name}={given!r}.")
    _codes(maps, ice, pond, lead)
    if cell_km is not None and not cell_km * 1000 >= math.sqrt(area):
        raise ValueError(
            f"`cell_km` must be at least the side of a pixel, {math.sqrt(area):g} m. "
            f"Received: cell_km={cell_km!r}."
        )


def _files(maps: xr.Dataset, stem: Path) -> list[Path]:
    return [stem.with_name(f"{stem.name}{ending}") for ending in _ENDINGS]


PRODUCT = Product(write_ice, _files, needs=("grid", "crs"), check=_check)
