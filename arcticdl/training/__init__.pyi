# What the package offers, for its lazy loader, for mypy and for editors.
from .callbacks import CheckMonitors as CheckMonitors
from .callbacks import History as History
from .callbacks import RichProgress as RichProgress
from .callbacks import StopAtNaN as StopAtNaN
from .callbacks import check_monitor as check_monitor
from .feed import TileFeed as TileFeed
from .fit import build_optimizer as build_optimizer
from .fit import fit as fit
from .fit import save_model as save_model
from .resume import Checkpoint as Checkpoint
from .scene_feed import SceneFeed as SceneFeed
from .schedules import cosine_with_warmup as cosine_with_warmup
from .signals import Preempted as Preempted
from .signals import watch_signals as watch_signals
from .table import OPTIMIZERS as OPTIMIZERS
from .table import SCHEDULES as SCHEDULES
