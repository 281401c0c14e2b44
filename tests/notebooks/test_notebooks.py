import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.timeout(1200)  # a busy machine is slow, not wrong
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCTICDL_NOTEBOOK_FAST", "1")
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
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 5
    warned = [
        o["text"]
        for o in outputs
        if o.get("name") == "stderr" and "Warning" in o["text"]
    ]
    assert warned == []
    if keep := os.environ.get("ARCTICDL_KEEP_NOTEBOOKS"):
        nbformat.write(notebook, Path(keep) / path.name)


def test_there_are_notebooks_and_they_are_kept_without_outputs():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert all(not c.outputs and c.execution_count is None for c in code)
        assert len(cells) - len(code) >= len(code) / 2
