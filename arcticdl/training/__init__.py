"""Feeds, callbacks and the fit of one fold."""

from arcticdl.training.callbacks import History, RichProgress, check_monitor
from arcticdl.training.feed import TileFeed
from arcticdl.training.fit import build_optimizer, fit, save_model
from arcticdl.training.resume import Checkpoint, Preempted
from arcticdl.training.scene_feed import SceneFeed
from arcticdl.training.schedules import cosine_with_warmup

__all__ = [
    "Checkpoint",
    "History",
    "Preempted",
    "RichProgress",
    "SceneFeed",
    "TileFeed",
    "build_optimizer",
    "check_monitor",
    "cosine_with_warmup",
    "fit",
    "save_model",
]
