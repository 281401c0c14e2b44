# What the package offers, for its lazy loader, for mypy and for editors.
from .fetch import fetch_dataset as fetch_dataset
from .table import Archive as Archive
from .table import DatasetInfo as DatasetInfo
from .table import Part as Part
from .table import data_dir as data_dir
from .table import find_dataset as find_dataset
from .table import list_datasets as list_datasets
from .unpack import unpack as unpack

__all__ = [
    "Archive",
    "DatasetInfo",
    "Part",
    "data_dir",
    "fetch_dataset",
    "find_dataset",
    "list_datasets",
    "unpack",
]
