"""A user's error is one line that says what to change; a defect is called one."""

import errno

import numpy as np
import pytest

from arcticdl import experiment
from arcticdl.choices import check_choice
from arcticdl.cli import main
from arcticdl.cli.faults import DEFECT
from arcticdl.errors import ConfigError, MissingExtraError, TaskError

PREPARE = ["prepare", "configs/demo.yaml"]


def wrong_length():
    return len(None)


def wrong_key():
    return {}["absent"]


def wrong_attribute():
    return None.shape


def wrong_shape():
    return np.zeros(3) + np.zeros(4)


def wrong_number():
    return int("eleven")


def wrong_division():
    return 1 / 0


def own_refusal():
    check_choice("edge", "shfit", ("drop", "pad", "shift"))


def own_class():
    raise ConfigError("the key is wrong")


def own_class_from_elsewhere():
    raise TaskError("the head does not fit")


def disk_full():
    raise OSError(errno.ENOSPC, "No space left on device")


def no_extra():
    raise MissingExtraError("pip install 'arcticdl[onnx]'")


def no_backend():
    import a_backend_that_is_not_installed  # noqa: F401


@pytest.fixture
def prepare_is(monkeypatch, project_root):
    monkeypatch.chdir(project_root)
    monkeypatch.delenv("ARCTICDL_DEBUG", raising=False)

    def replace(function):
        monkeypatch.setattr(experiment, "prepare", lambda *a, **k: function())

    return replace


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (wrong_length, "TypeError: object of type 'NoneType' has no len()"),
        (wrong_key, "KeyError: 'absent'"),
        (wrong_attribute, "AttributeError: 'NoneType' object has no attribute 'shape'"),
        (wrong_shape, "ValueError: operands could not be broadcast"),
        (wrong_number, "ValueError: invalid literal for int()"),
        (wrong_division, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_defect_is_never_dressed_as_the_users_error(fault, shown, prepare_is, capsys):
    prepare_is(fault)
    assert main(PREPARE) == DEFECT == 70
    said = capsys.readouterr().err
    assert said.startswith(f"defect: {shown}")
    assert "test_cli_faults.py, line" in said
    assert "--debug" in said and "error:" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (own_refusal, "error: `edge` must be one of"),
        (own_class, "error: the key is wrong"),
        (own_class_from_elsewhere, "error: the head does not fit"),
        (disk_full, "error: [Errno 28] No space left on device"),
        (no_extra, "error: pip install"),
        (no_backend, "error: No module named 'a_backend_that_is_not_installed'"),
    ],
)
def test_what_a_user_can_mend_is_one_line_without_a_traceback(
    fault, shown, prepare_is, capsys
):
    prepare_is(fault)
    assert main(PREPARE) == 1
    said = capsys.readouterr().err
    assert said.startswith(shown)
    assert len(said.splitlines()) == 1


def test_a_value_error_of_an_operation_in_this_package_is_a_defect(
    prepare_is, capsys, tmp_path, monkeypatch
):
    """Only a ``raise`` is on purpose: unpacking too few values is a mistake."""
    source = (
        "def unpack():\n    a, b = (1,)\n\ndef refuse():\n    raise ValueError('no')\n"
    )
    import arcticdl.cli.faults as faults

    monkeypatch.setattr(faults, "_PACKAGE", tmp_path)
    code = compile(source, str(tmp_path / "part.py"), "exec")
    space = {}
    exec(code, space)
    prepare_is(space["unpack"])
    assert main(PREPARE) == 70
    assert "not enough values to unpack" in capsys.readouterr().err
    prepare_is(space["refuse"])
    assert main(PREPARE) == 1
    assert capsys.readouterr().err == "error: no\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--debug", *PREPARE],
        [*PREPARE, "--debug"],
        ["prepare", "--debug", *PREPARE[1:]],
    ],
)
@pytest.mark.parametrize(("fault", "status"), [(wrong_length, 70), (own_class, 1)])
def test_debug_shows_the_traceback_and_keeps_the_status(
    words, fault, status, prepare_is, capsys
):
    prepare_is(fault)
    assert main(words) == status
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert f"in {fault.__name__}" in said


def test_debug_is_an_environment_variable_as_well(prepare_is, capsys, monkeypatch):
    prepare_is(wrong_key)
    monkeypatch.setenv("ARCTICDL_DEBUG", "1")
    assert main(PREPARE) == 70
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("ARCTICDL_DEBUG", "0")
    assert main(PREPARE) == 70
    assert "Traceback" not in capsys.readouterr().err


def test_ctrl_c_is_status_130_and_no_error(prepare_is, capsys):
    def interrupt():
        raise KeyboardInterrupt

    prepare_is(interrupt)
    assert main(PREPARE) == 130
    assert capsys.readouterr().err.startswith("interrupted; ")
