"""The package as a whole: quick to import, layers kept, scripts in place."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import arcticdl

ROOT = Path(arcticdl.__file__).parent
STUBS = sorted(ROOT.rglob("__init__.pyi"))
LAZY = sorted(p for p in ROOT.rglob("__init__.py") if "attach_stub(" in p.read_text())


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
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


def test_importing_the_package_takes_less_than_a_fifth_of_a_second():
    code = "import time; t = time.perf_counter(); import arcticdl; "
    code += "print(time.perf_counter() - t)"
    # The fastest of three: other work on the machine is not ours.
    assert min(float(run_python(code).stdout) for _ in range(3)) < 0.2


def package_of(path):
    return ".".join(("arcticdl", *path.parent.relative_to(ROOT).parts))


def offered(stub):
    """``[(module, name)]`` of a stub, as its imports say; module None: a submodule."""
    imports = [n for n in ast.parse(stub.read_text()).body if hasattr(n, "names")]
    return [(node.module, alias.name) for node in imports for alias in node.names]


def test_every_lazy_package_has_a_stub_and_every_stub_its_package():
    assert [p.with_suffix(".pyi") for p in LAZY] == STUBS
    assert (ROOT / "py.typed").is_file()


@pytest.mark.parametrize("stub", STUBS, ids=package_of)
def test_a_stub_offers_what_its_modules_define_and_nothing_twice(stub):
    package = importlib.import_module(package_of(stub))
    names = [name for _, name in offered(stub)]
    assert sorted(names) == sorted(set(names)) == sorted(package.__all__)
    for module, name in offered(stub):
        where = f"{package.__name__}.{module or name}"
        found = importlib.import_module(where)
        if module is not None:
            found = getattr(found, name)
            # Not taken from a module that only imports it: constants know no module.
            assert getattr(found, "__module__", where) in (
                where,
                found.__class__.__module__,
            )
        assert getattr(package, name) is found


def test_every_table_of_choices_is_offered_by_its_package():
    tables = [
        (package_of(path), name)
        for path in ROOT.rglob("*.py")
        for name in re.findall(r"^([A-Z_]+) = Table\($", path.read_text(), re.MULTILINE)
    ]
    assert {"BACKBONES", "LOSSES", "SPLITTERS"} <= {name for _, name in tables}
    for package, name in tables:
        top = importlib.import_module(".".join(package.split(".")[:2]))
        assert name in dir(top), f"{package} keeps {name}, and {top.__name__} hides it"


def test_a_function_stays_above_the_module_of_its_name_in_any_order():
    code = (
        "import arcticdl.grid.align, arcticdl.experiment.train, arcticdl.training.fit\n"
        "from arcticdl.grid import align\n"
        "assert callable(align) and callable(arcticdl.experiment.train)\n"
        "assert callable(arcticdl.training.fit)"
    )
    found = run_python(code)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("name", ["errors", "experiment", "testing", "doctor", "tasks"])
def test_submodules_are_reached_without_imports_of_their_own(name):
    code = f"import arcticdl; print(arcticdl.{name}.__name__)"
    assert run_python(code).stdout.strip() == f"arcticdl.{name}"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="arcticdl attribute ice"):
        arcticdl.ice  # noqa: B018


def test_imports_go_one_way(project_root):
    lint = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command\n"
         "lint_imports_command()"],
        cwd=project_root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert lint.returncode == 0, lint.stdout
