"""Ice extent, area and edge: how much ice a map has, and where it ends.

Areas come from true cell areas: on the polar stereographic 25 km grid a cell holds
from about 380 to 664 km2, so counting cells is wrong by up to a third.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from arcticdl.metrics.boundary import class_boundary
from arcticdl.void import VOID_CLASS, is_scored

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

EXTENT_THRESHOLD = 0.15
"""Concentration from which a cell counts as ice (NSIDC, EUMETSAT OSI SAF)."""


def cell_areas_km2(x: ArrayLike, y: ArrayLike, crs: Any) -> FloatArray:
    """Computes the true area on the ellipsoid of each cell of a projected grid.

    The map area of a cell is divided by the projection's areal scale at its centre
    (Snyder 1987, USGS Professional Paper 1395, by PROJ).

    Args:
        x: Cell centres ``(x,)`` in the unit of `crs`, such as metres, evenly spaced.
        y: Cell centres ``(y,)`` likewise.
        crs: Projected coordinate system, whatever ``pyproj.CRS`` understands.

    Returns:
        float64 ``(y, x)`` in km2.

    Raises:
        ValueError: The axes are too short or uneven, or `crs` is not projected.
    """
    import pyproj

    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    step_x, step_y = _even_step("x", x), _even_step("y", y)
    crs = pyproj.CRS.from_user_input(crs)
    if not crs.is_projected:
        raise ValueError(f"`crs` must be projected. Received: {crs.name!r}.")
    metres = crs.axis_info[0].unit_conversion_factor
    projection = pyproj.Proj(crs)
    grid_x, grid_y = np.meshgrid(x, y)
    lon, lat = projection(grid_x, grid_y, inverse=True)
    scale = np.asarray(projection.get_factors(lon, lat).areal_scale)
    return np.abs(step_x * step_y) * metres**2 / 1e6 / scale


def sea_ice_extent_km2(
    sic: ArrayLike, cell_area_km2: ArrayLike, threshold: float = EXTENT_THRESHOLD
) -> float:
    """Adds the areas of all cells with at least `threshold` ice.

    Args:
        sic: Concentration ``(y, x)``, fraction 0-1, NaN for void.
        cell_area_km2: Areas ``(y, x)``, or one number.
        threshold: Least concentration that counts.

    Returns:
        Extent in km2.

    Raises:
        ValueError: `sic` leaves 0-1, or the shapes do not fit.
    """
    fraction, area = _check_sic(sic, cell_area_km2)
    return float(area[fraction >= threshold].sum())


def sea_ice_area_km2(
    sic: ArrayLike, cell_area_km2: ArrayLike, threshold: float = EXTENT_THRESHOLD
) -> float:
    """Adds concentration times area over all cells with at least `threshold` ice.

    Args:
        sic: Concentration ``(y, x)``, fraction 0-1, NaN for void.
        cell_area_km2: Areas ``(y, x)``, or one number.
        threshold: Least concentration that counts.

    Returns:
        Ice area in km2.

    Raises:
        ValueError: `sic` leaves 0-1, or the shapes do not fit.
    """
    fraction, area = _check_sic(sic, cell_area_km2)
    ice = fraction >= threshold
    return float((fraction[ice] * area[ice]).sum())


def ice_edge_error(
    sic_true: ArrayLike,
    sic_pred: ArrayLike,
    cell_area_km2: ArrayLike,
    threshold: float = EXTENT_THRESHOLD,
) -> dict[str, float]:
    """Measures the area on which two maps disagree whether there is ice.

    The integrated ice-edge error of Goessling et al. (2016, doi
    10.1002/2015GL067232): over- plus underestimated area, which also splits into the
    error of the extent and twice the area that is merely misplaced. Cells void in
    either map count in neither.

    Args:
        sic_true: Concentration ``(y, x)``, fraction 0-1, NaN for void.
        sic_pred: Prediction in the same form.
        cell_area_km2: Areas ``(y, x)``, or one number.
        threshold: Least concentration that counts as ice.

    Returns:
        In km2: ``iiee = over + under``; ``over`` (predicted, not true), ``under``;
        ``extent_error = over - under`` (signed); ``misplacement =
        iiee - |extent_error|``; ``extent_true``, ``extent_pred``, and ``area_error``,
        the signed error of the ice area.

    Raises:
        ValueError: A map leaves 0-1, or the shapes do not fit.

    Example:
        >>> ice_edge_error([[1.0, 0.0, 1.0]], [[1.0, 1.0, 0.0]], 625.0)["iiee"]
        1250.0
    """
    true, area = _check_sic(sic_true, cell_area_km2)
    pred, _ = _check_sic(sic_pred, cell_area_km2)
    if true.shape != pred.shape:
        raise ValueError(
            "`sic_true` and `sic_pred` must share one grid. "
            f"Received: {true.shape} and {pred.shape}."
        )
    scored = ~(np.isnan(true) | np.isnan(pred))
    true, pred = np.where(scored, true, np.nan), np.where(scored, pred, np.nan)
    ice_true, ice_pred = true >= threshold, pred >= threshold
    over = float(area[ice_pred & ~ice_true].sum())
    under = float(area[ice_true & ~ice_pred].sum())
    return {
        "iiee": over + under,
        "over": over,
        "under": under,
        "extent_error": over - under,
        "misplacement": 2 * min(over, under),
        "extent_true": float(area[ice_true].sum()),
        "extent_pred": float(area[ice_pred].sum()),
        "area_error": sea_ice_area_km2(pred, area, threshold)
        - sea_ice_area_km2(true, area, threshold),
    }


def ice_edge(sic: ArrayLike, threshold: float = EXTENT_THRESHOLD) -> BoolArray:
    """Marks the ice edge: ice cells with a water cell on one of their four sides.

    Land and other void cells are neither, so a coast is no ice edge (Melsom et al.
    2019, doi 10.5194/os-15-615-2019).

    Args:
        sic: Concentration ``(y, x)``, fraction 0-1, NaN for void.
        threshold: Least concentration that counts as ice.

    Returns:
        Boolean ``(y, x)``.
    """
    fraction, _ = _check_sic(sic, 1.0)
    return class_boundary(fraction >= threshold, ~np.isnan(fraction))


def ice_edge_distance(
    sic_true: ArrayLike,
    sic_pred: ArrayLike,
    spacing: float = 1.0,
    threshold: float = EXTENT_THRESHOLD,
) -> dict[str, Any]:
    """Measures how far two ice edges lie apart (Melsom et al. 2019).

    Args:
        sic_true: Concentration ``(y, x)``, fraction 0-1, NaN for void.
        sic_pred: Prediction in the same form.
        spacing: Size of a cell; distances come in its unit.
        threshold: Least concentration that counts as ice.

    Returns:
        ``average``: the mean of both edges' mean distance to the other; ``rms``: the
        mean of both edges' root mean square distance; ``hausdorff``: the greatest
        distance; ``bias``: mean distance from the true edge to the predicted one,
        counted positive where the prediction has ice at the true edge (it reaches too
        far out); ``num_true``, ``num_pred``: edge cells; ``empty``: one of the maps has
        no edge, and all distances are NaN.

    Raises:
        ValueError: A map leaves 0-1, the shapes differ, or `spacing` is not above 0.
    """
    true, _ = _check_sic(sic_true, 1.0)
    pred, _ = _check_sic(sic_pred, 1.0)
    if true.shape != pred.shape or not spacing > 0:
        raise ValueError(
            "`sic_true` and `sic_pred` must share one grid, with `spacing` above 0. "
            f"Received: {true.shape}, {pred.shape}, spacing={spacing}."
        )
    void = np.isnan(true) | np.isnan(pred)
    true, pred = np.where(void, np.nan, true), np.where(void, np.nan, pred)
    edges = [np.argwhere(ice_edge(sic, threshold)) for sic in (true, pred)]
    counts = {"num_true": len(edges[0]), "num_pred": len(edges[1])}
    if not all(counts.values()):
        return {**counts, "empty": True, **dict.fromkeys(_DISTANCES, np.nan)}
    to_pred = spacing * KDTree(edges[1]).query(edges[0])[0]
    to_true = spacing * KDTree(edges[0]).query(edges[1])[0]
    # Where the prediction has ice on the cell of a true edge, its edge lies outside.
    outside = np.where(pred[tuple(edges[0].T)] >= threshold, 1.0, -1.0)
    values = (
        (to_pred.mean() + to_true.mean()) / 2,
        (np.sqrt((to_pred**2).mean()) + np.sqrt((to_true**2).mean())) / 2,
        max(to_pred.max(), to_true.max()),
        (outside * to_pred).mean(),
    )
    distances = {k: float(v) for k, v in zip(_DISTANCES, values, strict=True)}
    return {**counts, "empty": False, **distances}


_DISTANCES = ("average", "rms", "hausdorff", "bias")


def melt_pond_fraction(
    label: ArrayLike,
    *,
    pond_class: int = 0,
    ice_class: int = 1,
    void_class: int | None = VOID_CLASS,
    min_sic: float = EXTENT_THRESHOLD,
) -> dict[str, float]:
    """Computes the share of the ice that is covered by melt ponds.

    Ponds lie on ice: ``mpf = pond / (pond + ice)`` and ``sic = (pond + ice) / all
    scored pixels``. Below `min_sic` there is too little ice for a fraction.

    Args:
        label: Class map of any shape, void 255 or NaN.
        pond_class: Code of melt ponds.
        ice_class: Code of bare or snow-covered ice.
        void_class: Code of void pixels.
        min_sic: Concentration below which ``mpf`` is NaN.

    Returns:
        ``mpf`` and ``sic``, fractions 0-1; NaN where undefined.
    """
    codes = np.asarray(label)
    scored = int(is_scored(codes, void_class).sum())
    pond, ice = int((codes == pond_class).sum()), int((codes == ice_class).sum())
    sic = (pond + ice) / scored if scored else float("nan")
    enough = scored and sic >= min_sic and pond + ice
    return {"mpf": pond / (pond + ice) if enough else float("nan"), "sic": sic}


def _check_sic(
    sic: ArrayLike, cell_area_km2: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    fraction = np.asarray(sic, np.float64)
    area = np.asarray(cell_area_km2, np.float64)
    if fraction.ndim != 2 or area.shape not in ((), fraction.shape):
        raise ValueError(
            "`sic` must be a map (y, x), and `cell_area_km2` a number or of its shape. "
            f"Received: {fraction.shape} and {area.shape}."
        )
    outside = (fraction < 0) | (fraction > 1 + 1e-6)
    if outside.any():
        raise ValueError(
            "`sic` must be a fraction from 0 to 1, NaN for void. Received: "
            f"{np.nanmin(fraction):g} to {np.nanmax(fraction):g}. Divide percent by "
            "100; set flags such as land to NaN."
        )
    return fraction, np.broadcast_to(area, fraction.shape)


def _even_step(name: str, axis: FloatArray) -> float:
    steps = np.diff(axis)
    if axis.ndim != 1 or not steps.size or not np.allclose(steps, steps[0], rtol=1e-6):
        raise ValueError(
            f"`{name}` must hold at least two evenly spaced cell centres. "
            f"Received: shape {axis.shape}."
        )
    return float(steps[0])
