# What the package offers, for its lazy loader, for mypy and for editors.
from .add import add_bands as add_bands
from .gaps import mark_gaps as mark_gaps
from .steps import check_steps as check_steps
from .sun import sun_position as sun_position
from .table import FORMULAS as FORMULAS
