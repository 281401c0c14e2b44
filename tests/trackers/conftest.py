"""Tests of trackers by their own packages run when they are asked for."""

import pytest


def pytest_collection_modifyitems(config, items):
    """Leaves out what needs MLflow and wandb, unless asked for: ``-m trackers``."""
    if "trackers" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="needs two extras: `make test-trackers` runs it")
    for item in items:
        if item.get_closest_marker("trackers"):
            item.add_marker(skip)
