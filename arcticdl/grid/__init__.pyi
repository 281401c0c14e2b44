# What the package offers, for its lazy loader, for mypy and for editors.
from .align import align as align
from .align import to_swath as to_swath
from .dates import stack_dates as stack_dates
from .reanalysis import align_reanalysis as align_reanalysis
from .stack import stack as stack
from .target import DEFAULT_CRS as DEFAULT_CRS
from .target import choose_geobox as choose_geobox
from .vectors import axis_angle as axis_angle
from .vectors import rotate_vectors as rotate_vectors
