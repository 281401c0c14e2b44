import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))
SOLUTIONS = sorted(FOLDER.glob("solutions/*.ipynb"))
ALWAYS = (  # quick ones; 05 walks through tables that grow elsewhere
    "01_quickstart",
    "03_sea_ice_classification",
    "04_layers_and_activations",
    "05_losses_and_optimisers",
)


def to_run(paths):
    """The quick lessons in every run of the tests, the others under their marker."""
    quick = [FOLDER / f"{name}.ipynb" for name in ALWAYS]
    return [
        pytest.param(
            path,
            id=str(path.relative_to(FOLDER).with_suffix("")),
            marks=() if path in quick else pytest.mark.notebook,
        )
        for path in paths
    ]


def text_of(path):
    return "\n".join(c.source for c in nbformat.read(path, as_version=4).cells)


@pytest.mark.timeout(1200)  # a busy machine is slow, not wrong
@pytest.mark.parametrize("path", to_run(LESSONS + SOLUTIONS))
def test_notebook_runs_to_its_end(path, tmp_path, monkeypatch, real_or_simulated):
    monkeypatch.setenv("ARCTICDL_FAST", "1")
    # Nobody's settings, and nothing left behind.
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # Threads that wait for each other on a busy machine take more than they give.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    pictures = sum("image/png" in o.get("data", {}) for o in outputs)
    assert pictures >= (3 if path in LESSONS else 0)
    warned = [
        o["text"]
        for o in outputs
        if o.get("name") == "stderr" and "Warning" in o["text"]
    ]
    assert warned == []
    if keep := os.environ.get("ARCTICDL_KEEP_NOTEBOOKS"):
        nbformat.write(notebook, Path(keep) / path.name)


def test_there_are_notebooks_and_they_are_kept_without_outputs():
    assert LESSONS and SOLUTIONS
    for path in LESSONS + SOLUTIONS:
        cells = nbformat.read(path, as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert all(not c.outputs and c.execution_count is None for c in code)
        assert len(cells) - len(code) >= len(code) / 2


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_says_its_aim_its_minutes_its_data_and_its_solutions(path):
    text = text_of(path)
    for said in ("**You will learn**", "*Time:*", "ARCTICDL_FAST", "imulated"):
        assert said in text
    exercises = text.partition("Try it yourself")[2]
    assert re.findall(r"(?m)^(\d)\. ", exercises) == ["1", "2", "3"]
    assert f"](solutions/{path.name})" in exercises
    solved = text_of(FOLDER / "solutions" / path.name)
    assert re.findall(r"(?m)^## (\d)\. ", solved) == ["1", "2", "3"]


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=lambda path: path.stem)
def test_links_to_other_notebooks_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#]+\.ipynb)\)", text_of(path)):
        assert (path.parent / link).is_file(), link
