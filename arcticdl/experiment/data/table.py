"""Tables of scenes: CSV, Parquet, STAC item collections; one row each."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from arcticdl.config.sources import TableConfig
from arcticdl.errors import ConfigError
from arcticdl.sources.core.remote import is_remote

Row = dict[str, str]
_STAC_TYPES = ("Feature", "FeatureCollection")


def read_table(settings: TableConfig) -> list[Row]:
    """Reads a table of scenes.

    Args:
        settings: The configured table.

    Returns:
        The rows, in order, as text; an empty cell is absent. Of a STAC item: its
        properties, ``scene_id`` (its id), ``time`` (its date and time), and the address
        of each asset under the asset's name.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It is no such table, has no row, or lacks a column with files.
    """
    path = Path(settings.file)
    if not path.is_file():
        raise FileNotFoundError(f"`data.table`: there is no file {path}.")
    try:
        rows = _read_items(path) if path.suffix.endswith("json") else _read_rows(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ConfigError(
            f"`data.table` must be CSV with a head line, Parquet, or STAC items. "
            f"Received: {path} ({error})."
        ) from error
    if not rows:
        raise ConfigError(f"`data.table` must have a row. Received: none in {path}.")
    for name in settings.paths:
        if not any(name in row for row in rows):
            known = sorted({column for row in rows for column in row})
            raise ConfigError(
                f"`data.table.path` must name columns of {path}: {known}. "
                f"Received: {name!r}."
            )
    return rows


def row_files(row: Row, columns: tuple[str, ...], table: str) -> list[str]:
    """The files that cells of a row name, relative ones seen from the table's folder.

    Raises:
        ConfigError: A cell is empty.
    """
    files = []
    for column in columns:
        if column not in row:
            raise ConfigError(
                f"`data.table` must tell a file in the column {column!r} of every "
                f"scene. Received: a row without: {row}."
            )
        file = row[column]
        local = not is_remote(file) and not Path(file).is_absolute()
        files.append(str(Path(table).parent / file) if local else file)
    return files


def _read_rows(path: Path) -> list[Row]:
    if path.suffix.lower() in (".parquet", ".pq"):
        import pandas as pd

        rows = pd.read_parquet(path).to_dict("records")
    else:
        rows = _read_csv(path)
    told = [
        {str(k): _text(v) for k, v in row.items() if not _is_empty(v)} for row in rows
    ]
    return [row for row in told if row]


def _read_csv(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV file, whose head line tells what parts its cells.

    Raises:
        ValueError: A column comes twice, or a row has more cells than the head line.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:  # Excel begins by a mark
        head = file.readline()
        file.seek(0)
        bare = re.sub('"[^"]*"', "", head)
        mark = max(",;\t|", key=bare.count)  # the comma where there is none
        reader = csv.DictReader(file, delimiter=mark, skipinitialspace=True)
        names = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise ValueError(f"columns {twice} come twice")
        rows: list[dict[str, Any]] = []
        for row in reader:
            if any(row.pop(None, ())):
                raise ValueError(
                    f"line {reader.line_num} has more cells than the head line"
                )
            rows.append(row)
    return rows


def _read_items(path: Path) -> list[Row]:
    tree = json.loads(path.read_text(encoding="utf-8"))
    if tree["type"] not in _STAC_TYPES:
        raise ValueError(f"type {tree['type']!r}")
    items = tree["features"] if tree["type"] == "FeatureCollection" else [tree]
    return [_read_item(item) for item in items]


def _read_item(item: dict[str, Any]) -> Row:
    told = {k: v for k, v in item["properties"].items() if not isinstance(v, dict)}
    time = told.pop("datetime", None) or told.get("start_datetime")
    row = {str(k): _text(v) for k, v in told.items() if not _is_empty(v)}
    row |= {"scene_id": str(item["id"]), **({"time": str(time)} if time else {})}
    return row | {name: asset["href"] for name, asset in item["assets"].items()}


def _is_empty(value: Any) -> bool:
    # NaN and NaT differ from all.
    return value is None or str(value).strip() == "" or value != value


def _text(value: Any) -> str:
    """A cell as text; whole numbers that Parquet holds as fractions stay whole."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
