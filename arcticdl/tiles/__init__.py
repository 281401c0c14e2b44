"""AI-ready tiles: plan, store, splits, statistics. NumPy only, never Keras."""

from arcticdl.tiles import stats
from arcticdl.tiles.normalize import NORMALIZERS, Normalizer
from arcticdl.tiles.plan import TilePlan, plan_tiles
from arcticdl.tiles.prepare import prepare
from arcticdl.tiles.splits import Fold, group_kfold
from arcticdl.tiles.stats import BandStats, FoldStats, compute_stats
from arcticdl.tiles.store import LabelInfo, TileStore, open_store

__all__ = [
    "NORMALIZERS",
    "BandStats",
    "Fold",
    "FoldStats",
    "LabelInfo",
    "Normalizer",
    "TilePlan",
    "TileStore",
    "compute_stats",
    "group_kfold",
    "open_store",
    "plan_tiles",
    "prepare",
    "stats",
]
