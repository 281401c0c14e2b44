"""A split that somebody gave: by columns of the manifest, or by a list of scenes."""

import csv
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.errors import SplitError
from arcticdl.tiles.folds.base import ManifestSplitter, check_numbers
from arcticdl.tiles.folds.splits import Parts

NAME_COLUMNS = ("scene_id", "scene", "file", "filename", "image", "path", "name")
"""Head of a list's column with the scenes; without one, its first column is taken."""


class GivenSplit(ManifestSplitter):
    """One split: the test and validation parts are given, the rest trains.

    A part is given by columns of the manifest, such as ``{"region": "kara"}`` (of
    several columns all must match, of a list of values one; ``year`` is that of the
    scenes' times, where there is no such column), or by a CSV file that
    lists scenes: their identifiers, file names or paths, in the column `NAME_COLUMNS`
    names, or in the first.

    Args:
        test: What is tested.
        validation: What training is watched with; ``None``: nothing.
        buffer: As in `GroupedKFold`, around both parts.

    Raises:
        SplitError: A number out of its range.

    Example:
        ``GivenSplit({"season": ["spring", "summer"]}, "validation.csv")``
    """

    def __init__(
        self,
        test: Mapping[str, Any] | str,
        validation: Mapping[str, Any] | str | None = None,
        *,
        buffer: float = 0.0,
    ) -> None:
        check_numbers(buffer=buffer)
        self.test, self.validation, self.buffer = test, validation, buffer

    def _refuse_made(self, manifest: Any, made: np.ndarray) -> None:
        for key in ("test", "validation"):
            given = getattr(self, key)
            if not isinstance(given, str):
                continue  # by columns, which are those of the scene it was made from
            if (found := find_part(manifest, given, key) & made).any():
                scenes = sorted(set(manifest["scene_id"].astype(str).to_numpy()[found]))
                raise SplitError(
                    f"`folds.{key}` must hold observed scenes: what a generator has "
                    f"made can only train. Received: {scenes[:3]} in {given}."
                )

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Parts]:
        test = find_part(manifest, self.test, "test")
        held = np.zeros(len(manifest), bool)
        if self.validation is not None:
            held = find_part(manifest, self.validation, "validation")
        if (both := test & held).any():
            scenes = sorted(set(manifest["scene_id"].astype(str).to_numpy()[both]))
            raise SplitError(
                "A tile is tested or validates, never both. Received: `folds.test` and "
                f"`folds.validation` share {int(both.sum())} tiles, of {scenes[:3]}."
            )
        if (test | held).all():
            raise SplitError(
                f"`folds.test` and `folds.validation` take all {len(manifest)} tiles: "
                "none is left to train on."
            )
        yield Parts(*(np.flatnonzero(part) for part in (~(test | held), held, test)))


def find_part(manifest: Any, given: Mapping[str, Any] | str, key: str) -> np.ndarray:
    """Which tiles belong to a given part: (tile,) booleans.

    Args:
        manifest: Of the tiles.
        given: Columns and values, or the path of a list.
        key: ``test`` or ``validation``, for the message.

    Raises:
        SplitError: An absent column, a value or name that matches nothing, no tile.
        FileNotFoundError: There is no such list.
    """
    if isinstance(given, Mapping):
        found = np.ones(len(manifest), bool)
        for column, wanted in given.items():
            found &= _matches(manifest, column, wanted, key)
    else:
        found = _listed(manifest, given, key)
    if not found.any():
        raise SplitError(
            f"`folds.{key}` must hold a tile. Received: {given}, which matches none of "
            f"{len(manifest)}."
        )
    return found


def read_names(path: str | Path, key: str) -> list[str]:
    """Reads a list of scenes: CSV with or without a head, or one name a line.

    Raises:
        SplitError: It is empty, or no text.
        FileNotFoundError: There is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"`folds.{key}` names a list of scenes that is not there: {path}."
        )
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SplitError(f"`folds.{key}` must be a CSV file: {path}: {error}") from None
    rows = [row for row in rows if any(row)]
    head = [cell.lower() for cell in rows[0]] if rows else []
    known = [name for name in NAME_COLUMNS if name in head]
    place = head.index(known[0]) if known else 0
    names = [row[place] for row in rows[bool(known) :] if len(row) > place]
    if not any(names):
        raise SplitError(f"`folds.{key}` must list a scene. Received: none in {path}.")
    return list(dict.fromkeys(name for name in names if name))


def _matches(manifest: Any, column: str, wanted: Any, key: str) -> np.ndarray:
    if column in manifest.columns and column != "geometry":
        cells_of = manifest[column]
    elif column == "year":  # of a stack in one file, whose name tells none
        cells_of = manifest["time"].dt.year
    else:
        known = sorted(set(map(str, manifest.columns)) - {"geometry"})
        raise SplitError(
            f"`folds.{key}` must name columns of the manifest: {known}. Received: "
            f"{column!r}.{_hint(column, known)} Scenes get columns by "
            "`data.attributes` or `data.table`."
        )
    code, found = cells_of.factorize()
    cells = np.array([*map(_text, found), ""], object)[code]  # the last: none is told
    values = wanted if isinstance(wanted, list | tuple) else [wanted]
    known = sorted({*map(_text, found)} - {""})
    for value in map(_text, values):
        if value not in known:
            told = f"{known[:12]}{' and more' if len(known) > 12 else ''}"
            raise SplitError(
                f"`folds.{key}.{column}` must be a value of that column: {told}. "
                f"Received: {value!r}.{_hint(value, known)}"
            )
    return np.isin(cells, [_text(value) for value in values])


def _listed(manifest: Any, path: str, key: str) -> np.ndarray:
    cells = manifest["scene_id"].astype(str).to_numpy()
    known = set(cells)
    scenes = sorted(known)
    # An array's images, and the times of a file, are named by its stem and a number.
    whole: dict[str, list[str]] = {}
    for scene in scenes:
        if numbered := re.fullmatch(r"(.+)_\d{3,}", scene):
            whole.setdefault(numbered[1], []).append(scene)
    chosen, lost = set(), []
    for name in read_names(path, key):
        spellings = (name, Path(name).name, Path(name).stem)
        exact = [spelling for spelling in spellings if spelling in known]
        several = [scene for text in spellings for scene in whole.get(text, ())]
        chosen |= set(exact[:1] or several)
        if not exact and not several:
            lost.append(name)
    if lost:
        told = ", ".join(repr(n) + _hint(Path(n).stem, scenes) for n in lost[:3])
        raise SplitError(
            f"`folds.{key}` must list scenes of the store, which has {len(scenes)}, "
            f"such as {scenes[0]!r}. {path} has {len(lost)} unknown: {told}"
        )
    return np.isin(cells, list(chosen))


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _text(value: Any) -> str:
    """A cell as text: truth in lower case, whole numbers whole, missing ones empty."""
    if value is None or str(value) in ("<NA>", "NaT", "nan"):
        return ""
    if isinstance(value, bool | np.bool_) or str(value) in ("True", "False"):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
