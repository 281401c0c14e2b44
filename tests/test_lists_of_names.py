"""Where a list of names is meant, a text is refused or is one name, never letters."""

import importlib
import inspect
import re
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import arcticdl
from arcticdl.choices import check_choices, check_names
from arcticdl.inference.products.ice import write_ice
from arcticdl.inference.series.snow_lines import measure_snow_lines
from arcticdl.sources import choose_bands
from arcticdl.sources.labels import named_classes

LISTS = re.compile(r"(Sequence|Iterable|Collection|list|tuple|set)\[str(, \.\.\.)?\]")
ELSEWHERE = ("str |", "collections.abc.Mapping")
"""A text is one name, or the lists are values of a mapping: tested by themselves."""

RECORDS = ("Comparison", "DatasetInfo", "Finding", "LearningCurve", "Transfer")
"""Results that are made here, and rows of our own tables."""


def offered():
    """All that the packages offer, each under its path."""
    top = Path(arcticdl.__file__).parent
    for stub in sorted(top.rglob("__init__.pyi")):
        name = ".".join(stub.parent.relative_to(top.parent).parts)
        face = importlib.import_module(name)
        for each in face.__all__:
            found = getattr(face, each)
            if getattr(found, "__module__", "").startswith("arcticdl."):
                yield f"{name}.{each}", found


def lists_of_names():
    """(path, callable, argument) of each list of names that a caller gives."""
    for path, found in offered():
        if not callable(found) or path.endswith(RECORDS):
            continue
        try:
            arguments = inspect.signature(found).parameters.values()
        except ValueError:  # of a base class in C
            continue
        for argument in arguments:
            told = str(argument.annotation)
            if LISTS.search(told) and not told.startswith(
                ("str |", "collections.abc.M")
            ):
                yield path, found, argument.name


def test_every_list_of_names_that_is_offered_refuses_a_text():
    read = []
    for path, found, name in lists_of_names():
        given = {
            each.name: MagicMock()
            for each in inspect.signature(found).parameters.values()
            if each.default is each.empty and each.kind not in (2, 4)
        }
        try:
            with pytest.raises(ValueError, match=f"`{name}` must be a list of names"):
                begun = found(**{**given, name: "wi"})
                next(begun)  # a generator looks no earlier
        except BaseException as error:  # the list of all is worth more than the first
            read.append(f"{path}({name}): {type(error).__name__} {error}"[:300])
    assert not read, "\n".join(read)


def test_lists_of_files_tables_and_products_refuse_a_text():
    with pytest.raises(ValueError, match="`ice` must be a list of names"):
        write_ice(MagicMock(), None, Path("map"), ice="ice")
    with pytest.raises(ValueError, match="`snow` must be a list of names"):
        measure_snow_lines([], "dem.tif", "lines.csv", snow="snow", no_snow=["ice"])
    with pytest.raises(ValueError, match="`classes` must be a list of names"):
        named_classes("wi")
    with pytest.raises(ValueError, match="`ice` must be a list of names"):
        arcticdl.tiles.prepare([], "out", tile_size_px=8, require_classes={"ice": "wi"})
    with pytest.raises(ValueError, match=r"columns='wi', a text; .* is \['wi'\]"):
        check_choices("columns", "wi", {"w", "i"})


def test_a_band_by_itself_is_one_name():
    assert choose_bands(["w", "i", "wi"], "wi") == ([2], ["wi"])
    assert choose_bands(["a"], band_names="wi") == ([0], ["wi"])


def test_lists_and_none_pass():
    check_names(classes=("water", "ice"), bands=None, colors=[], keys={"a": 1})
