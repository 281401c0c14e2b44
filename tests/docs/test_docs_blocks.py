"""Every block of Python, YAML and shell that a page shows runs, in small."""

import os
import re
import shlex
import shutil
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from arcticdl import plugins
from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.datasets import find_dataset

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.M | re.S,
)
RUN = {"bash", "python", "toml", "yaml"}
SHOWN_ONLY = {"text"}
USE_A_RUN = {
    "howto/big-scenes",
    "howto/calibrate",
    "howto/cluster",
    "howto/ensembles",
    "howto/compare-runs",
    "howto/learning-curve",
    "howto/export",
    "howto/fine-tune",
    "howto/labelling",
    "howto/drift",
    "howto/gpu-node",
    "howto/explain",
    "howto/uncertainty",
    "howto/postprocess",
    "howto/products",
    "howto/spread",
    "reference/formats",
}
TRAIN = USE_A_RUN | {
    "howto/forecast",
    "howto/autoencoders",
    "howto/autoice",
    "howto/find-objects",
    "howto/graphs",
    "howto/image-to-image",
    "howto/instances",
    "howto/made-scenes",
    "howto/tune",
    "howto/new-task",
    "howto/own-data",
    "howto/pretrain",
    "howto/series",
    "howto/several-heads",
    "howto/slumps",
    "howto/weak-labels",
    "howto/whole-images",
    "index",
}
SMALLER = {
    "--scenes 6 --size 512": "--scenes 3 --size 128",
    "backbone: resnet18": "backbone: plain",
    "deep:model.backbone=resnet34": "deep:model.options.backbone_options.width=8",
    '"resnet18"': '"plain"',
    "epochs: 20": "epochs: 1",
    "epochs=20": "epochs=1",
    "--trials 20": "--trials 2",
    "size_px: 256": "size_px: 64",
    "size_px=512": "size_px=128",
    "tile_size_px=256": "tile_size_px=64",
}
"""What a page shows -> what runs here, so that a page takes seconds."""
PLAIN_COMMANDS = {"cd", "du", "mkdir", "rsync", "scancel", "source", "squeue", "tail"}
"""Words of the shell that are not ours to test."""


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    title: str | None
    code: str


def pages():
    return sorted(
        str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")
    )


def blocks(page):
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return [
        Block(found["language"], found["title"], textwrap.dedent(found["code"]))
        for found in FENCE.finditer(text)
    ]


def smaller(code):
    for shown, small in SMALLER.items():
        code = code.replace(shown, small)
    return code


@pytest.mark.parametrize("page", pages())
def test_every_block_has_a_language_that_is_run_or_is_output(page):
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    fences = re.findall(r"^ *```(\w*)", text, re.M)
    assert fences[1::2] == [""] * (len(fences) // 2)
    assert set(fences[::2]) <= RUN | SHOWN_ONLY
    assert len(blocks(page)) == len(fences) // 2


def _runnable():
    for page in pages():
        if any(block.language in RUN for block in blocks(page)):
            marks = [pytest.mark.docs] if page in TRAIN else []
            yield pytest.param(page, marks=marks)


@pytest.mark.parametrize("page", list(_runnable()))
def test_a_page_runs_from_top_to_bottom(page, request, tmp_path, monkeypatch):
    begin = "trained_project" if page in USE_A_RUN else "prepared_project"
    project = shutil.copytree(request.getfixturevalue(begin), tmp_path / "work")
    if page == "howto/object-stores":  # whose bucket is a folder
        shutil.copytree(project / "data" / "demo", tmp_path / "ice" / "scenes")
        request.getfixturevalue("s3_server")
    monkeypatch.chdir(project)
    namespace = {"__name__": "__main__"}
    try:
        done = [run(block, namespace, project, monkeypatch) for block in blocks(page)]
    finally:
        plugins._scan.cache_clear()
        for name in [m for m in sys.modules if m.startswith("icelab")]:
            del sys.modules[name]
    # Blocks raise where they fail; a page on which nothing ran would pass as well.
    assert any(done)


def run(block, namespace, folder, monkeypatch):
    """Runs a block; whether it was one to run."""
    code = smaller(block.code)
    if block.title and block.language in RUN:
        target = folder / block.title
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(code)
        if block.language == "python":
            compile(code, block.title, "exec")
            return True
    if block.language == "python":
        exec(compile(code, "the page", "exec"), namespace)
    elif block.language == "yaml":
        check_yaml(code, folder)
    elif block.language == "toml":
        tomllib.loads(code)
    elif block.language == "bash":
        for line in code.replace("\\\n", " ").splitlines():
            run_command(shlex.split(line, comments=True), monkeypatch)
    return block.language in RUN


def check_yaml(code, folder):
    """A whole configuration, or keys that change the demo's."""
    tree = yaml.safe_load(code)
    path = folder / "checked.yaml"
    if "name" not in tree:
        base = yaml.safe_load((folder / "configs" / "demo.yaml").read_text())
        tree = merge(base, tree)
    path.write_text(yaml.safe_dump(tree))
    load_config(path, ())


def merge(base, new):
    both = base.keys() & new.keys()
    inner = {k: merge(base[k], new[k]) for k in both
             if isinstance(base[k], dict) and isinstance(new[k], dict)}  # fmt: skip
    return {**base, **new, **inner}


def run_command(words, monkeypatch):
    if not words or words[0] in PLAIN_COMMANDS:
        return
    if words[:3] == ["arcticdl", "data", "fetch"]:  # tested without the internet
        assert find_dataset(words[3]).parts, words
    elif words[0] == "arcticdl":
        assert main(words[1:]) == 0, words
    elif words[0] == "export":
        name, _, value = words[1].partition("=")
        monkeypatch.setenv(name, os.path.expandvars(value))
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), words
    elif words[:2] == ["pip", "install"]:
        install(words[-1], monkeypatch)
    elif words[0] == "apptainer":
        check_container(words)
    elif words[0] == "sbatch":
        scripts = [word for word in words if word.endswith(".sbatch")]
        assert scripts and all((ROOT / script).is_file() for script in scripts)
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), words
    else:
        raise AssertionError(f"A page shows a command that nothing tests: {words}")


def check_container(words):
    """The definition exists, or the image runs a command with words that it knows."""
    if words[1] == "build":
        assert (ROOT / words[-1]).is_file(), words
    else:
        command = words[words.index("arcticdl.sif") + 1 :]
        assert main([command[0], "--help"]) == 0, words


def install(what, monkeypatch):
    """An extra must exist; a folder is put on the path as pip would."""
    if what == "." or what[:2] in (".[", "jupyterlab"[:2]):
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())
        known = extras["project"]["optional-dependencies"]
        names = re.findall(r"\[(.*)\]", what)
        assert all(name in known for n in names for name in n.split(",")), what
        return
    folder = Path(what).resolve()
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\n"
        f"Version: {project['version']}\n"
    )
    lines = []
    for group, points in project.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{k} = {v}" for k, v in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))
