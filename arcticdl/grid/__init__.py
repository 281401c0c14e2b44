"""Any scenes onto one grid, and a grid's maps back onto a swath.

>>> from arcticdl.grid import align, stack
>>> sar, optical = align([sar, optical], crs="EPSG:3413", resolution_m=80.0)
... # doctest: +SKIP
>>> both = stack([sar, optical])  # doctest: +SKIP
"""

from arcticdl.grid.align import align, to_swath
from arcticdl.grid.reanalysis import align_reanalysis
from arcticdl.grid.stack import stack
from arcticdl.grid.target import DEFAULT_CRS, choose_geobox
from arcticdl.grid.vectors import axis_angle, rotate_vectors

__all__ = [
    "DEFAULT_CRS",
    "align",
    "align_reanalysis",
    "axis_angle",
    "choose_geobox",
    "rotate_vectors",
    "stack",
    "to_swath",
]
