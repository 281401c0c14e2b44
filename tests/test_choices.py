"""One way to look a choice up, and one message for a choice that there is not."""

import subprocess
import sys

import pytest

from arcticdl.choices import Table, check_choice, check_choices, choose

TABLE = Table(None, {"path": "os:path", "pi": "math:pi", "absent": "no_such:module"})


def test_a_choice_is_loaded_when_it_is_asked_for():
    code = (
        "import sys; from arcticdl.choices import Table;"
        "table = Table(None, {'open': 'wave:open'});"
        "assert 'open' in table and list(table) == ['open'];"
        "assert 'wave' not in sys.modules;"
        "table['open']; assert 'wave' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_choice_is_what_its_path_names():
    import math

    assert choose("number", "pi", TABLE) == math.pi
    assert choose("number", "one", {"one": 1}) == 1
    assert len(TABLE) == 3 and "pi" in TABLE and "tau" not in TABLE
    with pytest.raises(KeyError):
        TABLE["tau"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("pth", "Did you mean 'path'?"), ("PATH", "Did you mean 'path'?"), ("zzz", "")],
)
def test_a_misspelt_choice_gets_the_nearest_one(name, hint):
    with pytest.raises(ValueError) as error:
        choose("place", name, TABLE)
    message = (
        "`place` must be one of ['absent', 'path', 'pi']. "
        f"Received: place={name!r}. {hint}".rstrip()
    )
    assert str(error.value) == message


@pytest.mark.parametrize("name", [None, 3, 1.5, ["path"], {"path": 1}])
def test_what_is_no_name_is_refused_and_not_a_defect(name):
    with pytest.raises(ValueError, match="`place` must be one of"):
        check_choice("place", name, TABLE)
    with pytest.raises(ValueError, match="`place` must be one of"):
        check_choice("place", name, ("path", "pi"))


def test_the_first_of_several_wrong_choices_is_named():
    check_choices("edges", ["drop", "pad"], ("drop", "pad", "shift"))
    with pytest.raises(ValueError, match=r"Received: edges='padd'.*'pad'"):
        check_choices("edges", ["drop", "padd", "shft"], ("drop", "pad", "shift"))


def test_a_table_names_its_choices_without_loading_them():
    assert sorted(TABLE) == ["absent", "path", "pi"]
    check_choice("place", "absent", TABLE)
    with pytest.raises(ModuleNotFoundError):
        TABLE["absent"]
