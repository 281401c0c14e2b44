"""Lengths in the unit of a CRS, which need not be the metre."""

from typing import Any

from odc.geo.crs import CRS

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth (IUGG; Moritz 2000, Journal of Geodesy 74, 128-133)."""


def metres_per_unit(crs: Any) -> float:
    """Says how many metres one unit of a projected CRS is.

    Args:
        crs: Anything that ``odc.geo`` takes for a CRS.

    Raises:
        ValueError: The CRS is not projected, or its axes differ in unit.

    Example:
        >>> metres_per_unit("EPSG:3413")
        1.0
        >>> metres_per_unit("+proj=stere +lat_0=90 +lat_ts=70 +units=km")
        1000.0
    """
    found = CRS(crs)
    factors = {axis.unit_conversion_factor for axis in found.proj.axis_info[:2]}
    if not found.projected or len(factors) != 1:
        raise ValueError(
            "`crs` must be projected, both axes in one unit of length, such as "
            f"'EPSG:3413'. Received: crs={str(found)[:60]!r}."
        )
    return float(factors.pop())
