# What the package offers, for its lazy loader, for mypy and for editors.
from .baselines import pixel_baselines as pixel_baselines
from .calibration import Calibration as Calibration
from .classification import ClassificationEvaluation as ClassificationEvaluation
from .compare.comparison import Comparison as Comparison
from .compare.comparison import compare_results as compare_results
from .compare.page import write_comparison as write_comparison
from .compare.runs import compare_runs as compare_runs
from .constant import constant_baseline as constant_baseline
from .evaluate import SegmentationEvaluation as SegmentationEvaluation
from .images import counted_pixels as counted_pixels
from .labels import LabelEvaluation as LabelEvaluation
from .pool import pool_folds as pool_folds
from .report import write_report as write_report
from .scenes import evaluate_scenes as evaluate_scenes
from .strata import scene_strata as scene_strata
from .strata import scores_by_stratum as scores_by_stratum
from .values import ValueEvaluation as ValueEvaluation
