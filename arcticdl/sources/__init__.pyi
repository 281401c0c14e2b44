# What the package offers, for its lazy loader, for mypy and for editors.
from .bands import choose_bands as choose_bands
from .boxes.coco import read_coco_boxes as read_coco_boxes
from .boxes.read import add_boxes as add_boxes
from .boxes.table import BOX_FORMATS as BOX_FORMATS
from .charts.shares import add_shares as add_shares
from .formats.coco_table import coco_table as coco_table
from .formats.reanalysis import open_reanalysis as open_reanalysis
from .open import open_scene as open_scene
from .reader import READERS as READERS
from .reader import LabelContext as LabelContext
from .reader import Reader as Reader
