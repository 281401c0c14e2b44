"""The environment's makers: which interpreter, and which versions."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

STAND_IN = """#!/bin/sh
case "$*" in
*version_info*) {answer} ;;
*ensurepip*) {venv} ;;
"-m venv "*) echo "{name} made $3" > "$LOG" ;;
esac
"""


@pytest.fixture
def place(tmp_path):
    """A PATH with nothing on it but what a test puts there."""
    (tmp_path / "bin").mkdir()
    return tmp_path


def put(place, name, version=None, venv=True):
    """An interpreter that tells a version; ``None``: a shim that stands for none."""
    answer = f"echo {version}" if version else "echo not found >&2; exit 127"
    path = place / "bin" / name
    text = STAND_IN.format(
        answer=answer, venv="exit 0" if venv else "exit 1", name=name
    )
    path.write_text(text)
    path.chmod(0o755)


def put_uv(place):
    path = place / "bin" / "uv"
    path.write_text('#!/bin/sh\necho "uv $*" > "$LOG"\n')
    path.chmod(0o755)
    return str(path)


def make_env(place, project_root, **variables):
    """What the script did, or the one line that it said."""
    log = place / "log"
    found = subprocess.run(
        ["/bin/sh", str(project_root / "tools" / "make_env.sh"), "env"],
        env={"PATH": str(place / "bin"), "LOG": str(log), **variables},
        capture_output=True,
        text=True,
        cwd=place,
    )
    if found.returncode == 0:
        return log.read_text().strip()
    assert found.returncode == 1 and not log.exists()
    (line,) = found.stderr.splitlines()
    return line


def test_python3_is_taken_where_it_fits(place, project_root):
    put(place, "python3", "3.12")
    put(place, "python3.13", "3.13")
    assert make_env(place, project_root) == "python3 made env"


def test_where_python3_is_too_new_or_a_shim_the_newest_that_fits_is_taken(
    place, project_root
):
    put(place, "python3", "3.14")
    put(place, "python3.13")
    put(place, "python3.12", "3.12")
    put(place, "python3.11", "3.11")
    assert make_env(place, project_root) == "python3.12 made env"


def test_where_none_fits_one_line_says_which_to_install_and_how(place, project_root):
    put(place, "python3", "3.14")
    line = make_env(place, project_root)
    assert line.startswith("error: Python 3.11, 3.12 or 3.13 is needed")
    assert "Found: python3 is 3.14;" in line and "apt install python3.12" in line
    assert "make PYTHON=" in line
    (place / "bin" / "python3").unlink()
    assert "Found: none;" in make_env(place, project_root)


def test_the_named_interpreter_is_taken_or_refused_and_never_another(
    place, project_root
):
    put(place, "python3", "3.12")
    put(place, "mine", "3.11")
    put(place, "old", "3.9")
    assert make_env(place, project_root, PYTHON="mine") == "mine made env"
    (place / "log").unlink()
    assert "Found: old is 3.9;" in make_env(place, project_root, PYTHON="old")
    assert "Found: none;" in make_env(place, project_root, PYTHON="absent")
    uv = put_uv(place)
    assert "Found: old is 3.9;" in make_env(place, project_root, PYTHON="old", UV=uv)


def test_an_interpreter_without_venv_is_told(place, project_root):
    put(place, "python3", "3.12", venv=False)
    line = make_env(place, project_root)
    assert "python3 has no venv" in line and "apt install python3.12-venv" in line


def test_uv_makes_it_where_it_is_and_brings_an_interpreter_where_none_fits(
    place, project_root
):
    uv = put_uv(place)
    put(place, "python3", "3.12", venv=False)
    words = "uv venv --quiet --seed --python"
    assert make_env(place, project_root, UV=uv) == f"{words} python3 env"
    put(place, "python3", "3.14")
    assert make_env(place, project_root, UV=uv) == f"{words} 3.12 env"


def test_the_versions_are_those_of_the_package(project_root):
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    script = (project_root / "tools" / "make_env.sh").read_text()
    versions = re.search(r'^versions="([\d. ]+)"', script, re.M)[1].split()
    allowed = SpecifierSet(project["requires-python"])
    assert {f"3.{n}" for n in range(30) if f"3.{n}" in allowed} == set(versions)


def test_make_uses_uv_where_it_is_and_pip_elsewhere(project_root, place):
    for name in ("make", "sh"):
        (place / "bin" / name).symlink_to(shutil.which(name))
    env = {"PATH": str(place / "bin")}
    words = [shutil.which("make"), "-n", "-B", ".venv-jax/installed"]

    def shown(*more):
        found = subprocess.run(
            [*words, *more], env=env, cwd=project_root, capture_output=True, text=True
        )
        return found.stdout

    assert ".venv-jax/bin/python -m pip install" in shown()
    uv = put_uv(place)
    assert f"'{uv}' pip install --quiet --python .venv-jax/bin/python" in shown()
    assert f"UV='{uv}' tools/make_env.sh .venv-jax" in shown()
    assert ".venv-jax/bin/python -m pip install" in shown("UV=")
    assert "PYTHON='python3.12'" in shown("PYTHON=python3.12")


@pytest.fixture(scope="module")
def lowest(project_root):
    spec = importlib.util.spec_from_file_location(
        "lowest", project_root / "tools" / "lowest.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lowest_versions_are_the_bounds(lowest):
    project = {
        "dependencies": ["numpy>=2.0", "dask[array]>=2025.1", "Some_Name", "rich>=9"],
        "optional-dependencies": {"x": ["rich>=13.7", "numpy>=1.26"], "y": ["a>=1"]},
    }
    assert lowest.constraints(project) == ["dask==2025.1", "numpy==2.0", "rich==9"]
    both = ["dask==2025.1", "numpy==2.0", "rich==13.7"]
    assert lowest.constraints(project, ["x"]) == both


@pytest.mark.parametrize(
    "requirement", ["numpy<3", "numpy>=2,<3", "numpy==2.0", "a @ https://b.c/a.whl"]
)
def test_a_bound_of_another_form_is_refused(lowest, requirement):
    with pytest.raises(SystemExit, match="lower bound"):
        lowest.constraints({"dependencies": [requirement]})
    with pytest.raises(SystemExit, match="no such extra: z"):
        lowest.constraints({"dependencies": []}, ["z"])


def test_every_dependency_of_the_package_has_a_lower_bound(lowest, project_root):
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    assert len(lowest.constraints(project)) == len(project["dependencies"])
    found = subprocess.run(
        [sys.executable, project_root / "tools" / "lowest.py", "--extra", "test"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.splitlines() == lowest.constraints(project, ["test"])


def test_the_tested_versions_keep_every_bound(project_root):
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    lines = (project_root / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    for text in project["dependencies"]:
        one = Requirement(text)
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        assert name in tested, f"{name} is not in constraints.txt: make constraints"
        assert tested[name] in one.specifier, text


def test_the_tested_versions_are_those_of_the_environment(project_root):
    found = subprocess.run(
        [sys.executable, project_root / "tools" / "tested.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = found.stdout.splitlines()
    assert f"numpy=={version('numpy')}" in lines
    assert f"tensorflow=={version('tensorflow')}" in lines
    assert "make constraints" in "".join(lines[:3])
    assert not [line for line in lines if line.startswith(("arcticdl", "pip=="))]
