"""Experiment configurations: one YAML file, checked before anything runs.

Every section is frozen and refuses unknown keys, so a typo is an error that names its
path. ``${NAME}`` in a YAML string is replaced by the environment variable, and
``key.path=value`` overrides are applied before the check.
"""

from arcticdl.config.data import DataConfig
from arcticdl.config.experiment import Experiment
from arcticdl.config.labels import LabelConfig
from arcticdl.config.read import dump_config, load_config
from arcticdl.config.section import FileRef

__all__ = [
    "DataConfig",
    "Experiment",
    "FileRef",
    "LabelConfig",
    "dump_config",
    "load_config",
]
