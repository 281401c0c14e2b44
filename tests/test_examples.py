"""Every example in a docstring runs, and gives what stands below it."""

import doctest
import importlib
from pathlib import Path

import pytest

import arcticdl

ROOT = Path(arcticdl.__file__).parent
MODULES = sorted(
    ".".join(("arcticdl", *path.relative_to(ROOT).with_suffix("").parts))
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name.removesuffix(".__init__"))
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testmod(module, optionflags=options)
    assert found.attempted and not found.failed, "see the output above"
