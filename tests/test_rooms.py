"""The house plan: no import circle, no long file, no crowded room."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

MAX_LINES, MAX_FILES = 400, 17


@pytest.fixture(scope="module")
def modules(project_root):
    """Name of every module -> its file."""
    files = sorted((project_root / "arcticdl").rglob("*.py"))
    return {
        ".".join(f.relative_to(project_root).with_suffix("").parts): f for f in files
    }


def imported(path: Path, known: set[str]) -> set[str]:
    """Modules that a file imports anywhere: at its top, in functions, for checkers."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found & known


def test_no_module_is_reached_from_itself(modules):
    known = set(modules)
    waiting = {name: imported(path, known) - {name} for name, path in modules.items()}
    while leaves := {name for name, needs in waiting.items() if not needs}:
        waiting = {
            name: needs - leaves
            for name, needs in waiting.items()
            if name not in leaves
        }
    assert not waiting, f"an import circle holds {sorted(waiting)}"


def test_no_file_is_long(modules):
    lengths = {n: len(p.read_text("utf-8").splitlines()) for n, p in modules.items()}
    assert not {n: k for n, k in lengths.items() if k > MAX_LINES}


def test_no_room_is_crowded(modules):
    counts = Counter(path.parent for path in modules.values())
    assert not {str(room): n for room, n in counts.items() if n > MAX_FILES}


def test_what_the_house_plan_names_is_there(project_root):
    plan = (project_root / "ARCHITECTURE.md").read_text("utf-8")
    named = re.findall(r"((?:[a-z_]+/)+[a-z_]+\.py)(?::(\w+))?", plan)
    assert len(named) > 40
    for path, name in named:
        found = [
            f
            for f in (project_root / path, project_root / "arcticdl" / path)
            if f.is_file()
        ]
        assert found, f"{path} is not there"
        made = {
            getattr(node, "name", None)
            for node in ast.parse(found[0].read_text("utf-8")).body
        }
        assert not name or name in made, f"{path} has no {name}"
