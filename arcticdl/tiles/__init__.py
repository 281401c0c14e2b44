"""AI-ready tiles: plan, store, quality, splits, statistics. NumPy only, never Keras."""

from arcticdl.tiles import sampling
from arcticdl.tiles.class_weights import class_weights, one_hot
from arcticdl.tiles.folds import splitters
from arcticdl.tiles.folds.audit import LeakageReport, audit_folds, correlation_ranges
from arcticdl.tiles.folds.splits import Fold, group_kfold, read_folds, write_folds
from arcticdl.tiles.folds.splitters import SPLITTERS
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.normalize import NORMALIZERS, Normalizer
from arcticdl.tiles.plan import TilePlan, plan_tiles
from arcticdl.tiles.prepare import append, prepare
from arcticdl.tiles.quality.card import write_card
from arcticdl.tiles.quality.checks import Finding, QualityReport, assess
from arcticdl.tiles.quality.store_check import CheckReport, check_store
from arcticdl.tiles.statistics import FoldStats, compute_stats
from arcticdl.tiles.store import TileStore, open_store

__all__ = [
    "NORMALIZERS",
    "SPLITTERS",
    "CheckReport",
    "Finding",
    "Fold",
    "FoldStats",
    "LabelInfo",
    "LeakageReport",
    "Normalizer",
    "QualityReport",
    "TilePlan",
    "TileStore",
    "append",
    "assess",
    "audit_folds",
    "check_store",
    "class_weights",
    "compute_stats",
    "correlation_ranges",
    "group_kfold",
    "one_hot",
    "open_store",
    "plan_tiles",
    "prepare",
    "read_folds",
    "sampling",
    "splitters",
    "write_card",
    "write_folds",
]
