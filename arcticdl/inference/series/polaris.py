"""Risk index outcomes (POLARIS) of cells of a map of ice types. Not for navigation."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from arcticdl.files import refuse_existing, refuse_sources, write_json
from arcticdl.inference.output import MapFile
from arcticdl.seaice.polaris import (
    OPERATIONS,
    RISK_VALUES,
    TYPES,
    Outcome,
    operation_of,
    risk_outcome,
    types_of,
)

WARNING = "NOT FOR NAVIGATION"
DEFINITION = (
    "Lowest and highest risk index outcome that the classes of the map allow, of each "
    "cell: partial concentrations in tenths times the risk index values of the ship's "
    "class, added up (MSC.1/Circ.1519, table 1.3: ice that is not decayed, a ship "
    "without escort). A class that holds several kinds of ice counts once as the worst "
    "and once as the best of them for the ship. Concentrations are shares of the "
    "cell's scored pixels, times the concentration of each pixel where a map of it is "
    "given; what is no ice is ice free. Cells of which less than half is scored have "
    "no outcome. What the map does not tell, such as bergs, ridges and pressure, is "
    "not in it."
)
_LEAST_SCORED = 0.5


def measure_polaris(
    path: str | Path,
    out: str | Path,
    *,
    ship: str,
    cell_km: float = 5.0,
    concentration: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes the lowest and the highest risk index outcome of each cell as a GeoTIFF.

    Not for navigation: the file says so in its tags. Rows are read as they are needed.

    Args:
        path: GeoTIFF of ice types, as ``predict`` writes it (tags ``class_0``, ...), on
            a grid in metres.
        out: ``NAME.tif`` with the bands lowest and highest; ``NAME.json`` beside it
            has the share of the cells of each operation, and what the numbers mean.
        ship: A key of ``arcticdl.seaice.polaris.RISK_VALUES``; ``"none"``: no ice
            class.
        cell_km: Side of a cell, the regime of ice that is judged together.
        concentration: GeoTIFF of the concentration on the same grid, fraction 0-1;
            ``None``: pixels of ice are all ice.
        overwrite: Whether files may be replaced.

    Returns:
        The GeoTIFF.

    Raises:
        ValueError: Another ship, a class without a kind of ice, a grid without metres,
            or a concentration on another grid or beyond 0 to 1.
        FileExistsError: A file is there and ``overwrite`` is false, or is read here.
    """
    target = Path(out)
    if target.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"`out` (--out) must end in .tif. Received: {target}")
    told = target.with_suffix(".json")
    refuse_existing(target, told, overwrite=overwrite)
    refuse_sources([target], [path] if concentration is None else [path, concentration])
    with rasterio.open(path) as types:
        classes = _classes(types)
        kinds = types_of(list(classes))
        risk_outcome(ship, np.full(len(classes), 10.0 / len(classes)), list(classes))
        cell = _cell_px(types, cell_km)
        if concentration is None:
            outcome = _outcomes(types, None, classes, ship, cell)
        else:
            with rasterio.open(concentration) as sic:
                _check_grid(types, sic)
                outcome = _outcomes(types, sic, classes, ship, cell)
        sides = [n * km for n, km in zip(cell, _pixel_km(types), strict=True)]
        about = {
            "warning": WARNING,
            "definition": DEFINITION,
            "ship": ship,
            "cell_km": " x ".join(dict.fromkeys(f"{side:g}" for side in sides)),
        }
        grid = {
            "crs": types.crs,
            "transform": types.transform * rasterio.Affine.scale(cell[1], cell[0]),
        }
    _write(target, outcome, grid, about)
    allowed = {name: [TYPES[k] for k in kinds[name]] for name in classes}
    write_json(told, about | {"kinds": allowed} | _shares(ship, outcome))
    return target


def _classes(file: Any) -> dict[str, int]:
    named = {v: int(k[6:]) for k, v in file.tags().items() if k.startswith("class_")}
    if not named:
        raise ValueError(
            "A map must name its classes (tags class_0, class_1, ...). Received: "
            f"{file.name} without."
        )
    water = [name for name, kinds in types_of(list(named)).items() if kinds == (0,)]
    if len(water) != 1:
        raise ValueError(
            "A map must have one class of open water, to which all belongs that is no "
            f"ice. Received: {water} of {sorted(named)} in {file.name}."
        )
    return {water[0]: named.pop(water[0]), **named}


def _pixel_km(file: Any) -> tuple[float, float]:
    """Height and width of a pixel."""
    km = file.crs.linear_units_factor[1] / 1000
    return abs(file.transform.e) * km, abs(file.transform.a) * km


def _cell_px(file: Any, cell_km: float) -> tuple[int, int]:
    """Rows and columns of a cell."""
    if file.crs is None or not file.crs.is_projected or cell_km <= 0:
        raise ValueError(
            "Cells need a positive side and a grid in metres. Received: "
            f"cell_km={cell_km} for {file.name} on {file.crs}."
        )
    rows, columns = (max(1, round(cell_km / size)) for size in _pixel_km(file))
    return rows, columns


def _check_grid(types: Any, sic: Any) -> None:
    same = (
        types.crs == sic.crs
        and types.shape == sic.shape
        and types.transform.almost_equals(sic.transform)
    )
    if not same:
        raise ValueError(
            "The concentration must lie on the grid of the ice types. Received: "
            f"{sic.name} on another than {types.name}."
        )


def _outcomes(
    types: Any, sic: Any, classes: dict[str, int], ship: str, cell: tuple[int, int]
) -> Outcome:
    """One row of cells after the other."""
    rows, (height, width) = [], cell
    for row in range(0, types.height, height):
        window = rasterio.windows.Window(
            0, row, types.width, min(height, types.height - row)
        )
        codes = types.read(1, window=window)
        share = None if sic is None else _fractions(sic, window)
        rows.append(_tenths(codes, share, list(classes.values()), width))
    return risk_outcome(ship, np.stack(rows, axis=1), list(classes))


def _fractions(sic: Any, window: Any) -> NDArray[np.float64]:
    values = sic.read(1, window=window, masked=True).astype(np.float64).filled(np.nan)
    known = values[np.isfinite(values)]
    if known.size and (known.min() < 0 or known.max() > 1):
        raise ValueError(
            "The concentration must be a fraction, 0 to 1. Received: values from "
            f"{known.min():g} to {known.max():g} in {sic.name}."
        )
    return np.asarray(values)


def _tenths(
    codes: NDArray[Any], share: NDArray[np.float64] | None, order: list[int], width: int
) -> NDArray[np.float64]:
    """``(class, cell)``: tenths of each class, NaN where too little is known."""
    parts = [codes == code for code in order]
    ice = np.ones(codes.shape) if share is None else share
    parts = [np.where(part, ice, 0.0) for part in parts]
    known = np.isin(codes, order) & np.isfinite(ice)
    starts = np.arange(0, codes.shape[1], width)

    def added(values: NDArray[Any]) -> NDArray[np.float64]:
        of_known = np.where(known, values, 0.0).sum(axis=0)
        return np.asarray(np.add.reduceat(of_known, starts))

    count = added(np.ones(codes.shape))
    full = np.add.reduceat(np.full(codes.shape[1], codes.shape[0]), starts)
    enough = count >= np.maximum(_LEAST_SCORED * full, 1)
    tenths = np.stack([added(part) for part in parts])
    tenths = np.where(enough, 10 * tenths / np.maximum(count, 1), np.nan)
    # What is no ice is water, the first class; rounding makes no less than none of it.
    tenths[0] = np.maximum(tenths[0] + 10 - tenths.sum(axis=0), 0)
    return tenths


def _write(
    target: Path, outcome: Outcome, grid: dict[str, Any], about: dict[str, str]
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    file = MapFile(
        target,
        outcome.low.shape,
        count=2,
        dtype="float32",
        nodata=float("nan"),
        georeference=grid,
        tags=about,
        band_names=("lowest outcome", "highest outcome"),
        units="1",
    )
    try:
        file.write_rows(0, np.stack([outcome.low, outcome.high]).astype(np.float32))
        file.commit()
    except BaseException:
        file.discard()
        raise


def _shares(ship: str, outcome: Outcome) -> dict[str, Any]:
    """Share of the cells of each operation, if the worst and if the best is there."""
    values_of = dict(zip(TYPES, RISK_VALUES[ship], strict=True))
    found: dict[str, Any] = {"risk_values": values_of}
    for name, values in outcome._asdict().items():
        place = operation_of(ship, values)
        known = place[place >= 0]
        found[f"operations_at_{name}"] = {
            what: float((known == k).mean()) if known.size else None
            for k, what in enumerate(OPERATIONS)
        }
    return found
