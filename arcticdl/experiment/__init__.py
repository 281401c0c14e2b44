"""The only place where a configuration becomes objects.

One function a step of the command line: ``prepare``, ``train``, ``evaluate``,
``predict``, ``export``. Each takes plain paths and a checked configuration.
"""

from arcticdl.experiment.evaluate import evaluate, headline
from arcticdl.experiment.export import export
from arcticdl.experiment.predict import predict
from arcticdl.experiment.scenes import open_scenes, prepare
from arcticdl.experiment.split import open_prepared
from arcticdl.experiment.train import folds_to_train, train

__all__ = [
    "evaluate",
    "export",
    "folds_to_train",
    "headline",
    "open_prepared",
    "open_scenes",
    "predict",
    "prepare",
    "train",
]
