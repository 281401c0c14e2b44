"""The wheel, in an environment that holds nothing else, goes from nothing to a page."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile

import pytest

CLEAN = ("PYTHONPATH", "KERAS_BACKEND", "ARCTICDL_CACHE", "ARCTICDL_SAMPLE_DATA")


def run(*words, **options):
    found = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, **options
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]
    return found


@pytest.fixture(scope="module")
def wheel(project_root, tmp_path_factory):
    """The wheel of this tree, built as a release is: by way of the source archive."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, project_root)
    (found,) = out.glob("*.whl")
    assert len(list(out.glob("*.tar.gz"))) == 1
    return found


@pytest.mark.wheel
def test_the_wheel_holds_what_the_package_reads(wheel, project_root):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = project_root / "arcticdl"
    here = {
        str(path.relative_to(project_root))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here <= names
    assert "arcticdl/configs/demo.yaml" in names
    assert any(name.endswith("licenses/THIRD_PARTY.md") for name in names)
    assert not [name for name in names if name.startswith(("tests", "docs"))]


@pytest.mark.wheel
@pytest.mark.timeout(3600)
def test_the_demo_runs_from_an_empty_environment(wheel, tmp_path):
    env = {key: value for key, value in os.environ.items() if key not in CLEAN}
    began = time.monotonic()
    run(sys.executable, "-m", "venv", tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    if uv := shutil.which("uv"):
        run(uv, "pip", "install", "--python", python, wheel, env=env)
    else:
        run(python, "-m", "pip", "install", "--quiet", wheel, env=env)
    installed = time.monotonic()
    arcticdl = python.with_name("arcticdl")
    doctor = run(arcticdl, "doctor", "--json", cwd=tmp_path, env=env)
    assert not [one for one in json.loads(doctor.stdout) if one["status"] == "fail"]
    shown = run(arcticdl, "demo", "ice", cwd=tmp_path, env=env)
    assert shown.stdout.splitlines()[-1] == "ice/runs/demo/report.html"
    summary = json.loads((tmp_path / "ice/runs/demo/summary.json").read_text())
    size = sum(p.stat().st_size for p in (tmp_path / "env").rglob("*") if p.is_file())
    print(f"install {installed - began:.0f} s, {size / 1e9:.1f} GB", end="; ")
    print(f"demo {time.monotonic() - installed:.0f} s")
    assert summary["scores"]["mean_iou"] > 0.6
