# What the package offers, for its lazy loader, for mypy and for editors.
from .batch import Augmentation as Augmentation
from .batch import Batch as Batch
from .batch import WholeBatch as WholeBatch
from .device.layer import DeviceAugment as DeviceAugment
from .policy import Policy as Policy
from .policy import build_policy as build_policy
from .table import AUGMENTATIONS as AUGMENTATIONS
