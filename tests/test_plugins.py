"""A small distribution on the search path adds choices, or is refused by name."""

import sys

import pytest

from arcticdl import plugins
from arcticdl.choices import Table, check_choice, choose
from arcticdl.errors import PluginError

GROUP = "arcticdl.losses"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution on ``sys.path``, as pip would."""

    def install(name, entry_points, code="", group=GROUP):
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n")
        lines = [f"[{group}]", *(f"{k} = {v}" for k, v in entry_points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines))
        (folder / f"{name}_code.py").write_text(code)
        monkeypatch.syspath_prepend(folder)

    yield install
    plugins._scan.cache_clear()
    for module in ("icy_code", "snowy_code"):
        sys.modules.pop(module, None)


@pytest.fixture
def table():
    return Table(GROUP, {"Dice": "math:pi"})


def test_a_package_adds_a_choice(install, table):
    before = len(table)
    install("icy", {"Floe": "icy_code:Floe"}, "class Floe:\n    size_m = 30\n")
    assert choose("loss", "Floe", table).size_m == 30
    assert sorted(table)[:2] == ["Dice", "Floe"] and len(table) == before + 1
    with pytest.raises(ValueError, match="Did you mean 'Floe'"):
        check_choice("loss", "Flow", table)


def test_a_choice_is_known_before_it_is_loaded(install, table):
    install("icy", {"Floe": "icy_code:Floe"}, "raise SystemError('loaded')")
    check_choice("loss", "Floe", table)
    assert "icy (icy_code:Floe)" in plugins.installed(GROUP)["Floe"]


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("icy_code:Floe", "import no_such_package", "ModuleNotFoundError"),
        ("icy_code:Floe", "1 / 0", "ZeroDivisionError"),
        ("icy_code:Floe", "Flow = 1", "AttributeError"),
        ("no_such_code:Floe", "", "ModuleNotFoundError"),
    ],
)
def test_a_package_that_fails_to_load_is_named(install, table, target, code, reason):
    install("icy", {"Floe": target}, code)
    with pytest.raises(PluginError, match=rf"plug-in icy \({target}\).*{reason}"):
        choose("loss", "Floe", table)


def test_a_name_that_is_taken_is_refused_whatever_is_asked_for(install, table):
    install("icy", {"Dice": "icy_code:Dice"})
    for name in ("Dice", "Floe"):
        with pytest.raises(PluginError, match=r"icy \(icy_code:Dice\).*'Dice'.*losses"):
            choose("loss", name, table)


def test_two_packages_that_claim_one_name_are_both_named(install, table):
    install("icy", {"Floe": "icy_code:Floe"}, "Floe = 1")
    install("snowy", {"Floe": "snowy_code:Floe"}, "Floe = 2")
    with pytest.raises(PluginError, match=r"'Floe'.*snowy.*icy|'Floe'.*icy.*snowy"):
        choose("loss", "Floe", table)


def test_one_package_found_twice_is_no_quarrel(install, table):
    install("icy", {"Floe": "icy_code:Floe"}, "Floe = 1")
    install("icy2", {"Floe": "icy_code:Floe"})
    assert choose("loss", "Floe", table) == 1


def test_a_package_of_another_group_adds_nothing(install, table):
    install("icy", {"Floe": "icy_code:Floe"}, group="arcticdl.metrics")
    assert "Floe" not in table
    assert "Floe" not in Table(None, {"Dice": "math:pi"})
