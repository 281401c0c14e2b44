"""Tests of what is released, which take minutes, run when they are asked for."""

import pytest

ASKED = ("wheel",)


def pytest_collection_modifyitems(config, items):
    """Leaves out what installs packages, unless asked for: ``-m wheel``."""
    for name in ASKED:
        if name in (config.option.markexpr or ""):
            continue
        skip = pytest.mark.skip(reason=f"installs packages: `make test-{name}` runs it")
        for item in items:
            if item.get_closest_marker(name):
                item.add_marker(skip)
