"""The table of metrics holds every streaming metric."""

from importlib import import_module
from pathlib import Path

import keras

from arcticdl import metrics


def test_the_table_holds_every_streaming_metric():
    folder = Path(metrics.__file__).parent
    found = {}
    for path in folder.glob("[!_]*.py"):
        module = import_module(f"arcticdl.metrics.{path.stem}")
        for name, value in vars(module).items():
            registered = isinstance(value, type) and keras.saving.get_registered_name(
                value
            )
            if registered == f"arcticdl>{name}" and value.__module__ == module.__name__:
                found[name] = value
    assert set(metrics.METRICS.entries) == set(found)
    assert all(metrics.METRICS[name] is found[name] for name in found)
