"""The only place where a configuration becomes objects.

One function a step of the command line: ``prepare``, ``train``, ``evaluate``,
``predict``. Each takes plain paths and a checked configuration.
"""

from arcticdl.experiment.evaluate import evaluate, headline
from arcticdl.experiment.predict import predict
from arcticdl.experiment.scenes import open_scenes, prepare
from arcticdl.experiment.train import train

__all__ = ["evaluate", "headline", "open_scenes", "predict", "prepare", "train"]
