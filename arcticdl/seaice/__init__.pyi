# What the package offers, for its lazy loader, for mypy and for editors.
from . import cfar as cfar
from . import charts as charts
from . import colours as colours
from . import labels as labels
from . import microwave as microwave
from . import polaris as polaris
from . import sar as sar
from . import schemes as schemes
from . import speckle as speckle
from . import texture as texture
