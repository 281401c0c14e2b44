"""The package as a whole: quick to import, layers kept, scripts in place."""

import subprocess
import sys

import pytest

import arcticdl


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("heavy", ["keras", "tensorflow", "rasterio", "xarray"])
def test_importing_the_package_loads_nothing_heavy(heavy):
    code = f"import sys, arcticdl; sys.exit({heavy!r} in sys.modules)"
    assert run_python(code).returncode == 0


def test_the_command_line_s_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom arcticdl.cli import main\nstatus = main(['--help'])\n"
        "heavy = {'keras', 'tensorflow', 'rasterio', 'xarray', 'pydantic'}\n"
        "sys.exit(status or len(heavy & set(sys.modules)))"
    )
    found = run_python(code)
    assert found.returncode == 0, found.stderr
    assert "prepare" in found.stdout


def test_every_name_that_is_offered_is_there():
    assert set(arcticdl.__all__) <= set(dir(arcticdl))
    for name in arcticdl.__all__:
        assert getattr(arcticdl, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'ice'"):
        arcticdl.ice  # noqa: B018


def test_imports_go_one_way(project_root):
    lint = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command\n"
         "lint_imports_command()"],
        cwd=project_root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert lint.returncode == 0, lint.stdout
