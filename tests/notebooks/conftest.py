"""Leaves the long notebooks to `pytest -m notebook`, and finds the sample data."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Deselects what is marked `notebook` unless an expression or a name asks."""
    if config.getoption("markexpr") or any("::" in arg for arg in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("notebook")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def real_or_simulated(monkeypatch, request):
    """Real data where it is present; without it, notebooks simulate and say so."""
    if request.config.rootpath.joinpath("../shared/data").is_dir():
        request.getfixturevalue("real_data")
