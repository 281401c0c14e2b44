"""Stores that are not finished: what is known of them, and what may be removed."""

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arcticdl.files import PART, write_json
from arcticdl.tiles import layout

NOTES = "unfinished"
"""Folder of `prepare`'s notes, inside the store that is being written."""

APPEND = "append"
"""Folder of `append`'s notes, inside the store."""

PLAN_JSON = "plan.json"
OWNER_JSON = "owner.json"
SCANS, SHARDS = "scans", "shards"

_KNOWN = re.compile(
    r"(ready/)?(store|scenes|stats)\.json|(ready/)?manifest\.parquet|card\.json"
    r"|quality\.(json|html)|ready|(append|unfinished)(/scans|/shards)?"
    r"|(append|unfinished)/((plan|owner)\.json|(scans|shards)/\d+\.json)"
    r"|tiles\.zarr/([^/]+/)?zarr\.json(\..*)?|tiles\.zarr(/[^/]+(/c(/\d+)*)?)?"
    r"|tiles\.zarr/[^/]+/c(/\d+)+\..*"
)
"""Paths that a store may hold, relative to it; the last are TensorStore's locks."""


def read_plan(notes: Path) -> Any:
    """The plan of work under way; ``None`` where none is."""
    try:
        return json.loads((notes / PLAN_JSON).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def is_begun(notes: Path, plan: dict[str, Any]) -> bool:
    """Whether work of this very plan is under way."""
    return read_plan(notes) == json.loads(json.dumps(plan))


def begin(notes: Path, plan: dict[str, Any]) -> None:
    """Makes the folders of the notes; the plan is written last."""
    for folder in (SCANS, SHARDS):
        (notes / folder).mkdir(parents=True, exist_ok=True)
    if not is_begun(notes, plan):
        write_json(notes / PLAN_JSON, plan)


def owner_of(notes: Path) -> str:
    """A name that no other work has, the same after an interruption."""
    path = notes / OWNER_JSON
    if not path.exists():
        write_json(path, uuid.uuid4().hex)
    return str(json.loads(path.read_text("utf-8")))


def clear(notes: Path) -> None:
    """Removes the notes of finished work; the plan goes last."""
    for folder in (SCANS, SHARDS):
        shutil.rmtree(notes / folder, ignore_errors=True)
    shutil.rmtree(notes, ignore_errors=True)


@contextmanager
def discard(folder: Path, *errors: type[Exception]) -> Iterator[None]:
    """Removes what is unfinished where the input is refused, and only then.

    A disk that fills or a file that cannot be read just now leaves all that was done,
    and the same call goes on from there.

    Args:
        folder: What to remove.
        errors: Classes of refusal.
    """
    try:
        yield
    except errors:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def check_ours(path: Path) -> None:
    """Refuses to have a folder removed that is no store, or holds anything else.

    Raises:
        FileExistsError: As said.
    """
    if path.is_symlink() or not path.is_dir():
        raise FileExistsError(
            f"Only a tile store may be replaced. Received: {path}, which is no folder."
        )
    strange = [name for entry in path.rglob("*") if (name := _strange(entry, path))]
    if not strange and any(path.iterdir()) and not _is_store(path):
        strange = [entry.name for entry in path.iterdir()]
    if strange:
        raise FileExistsError(
            "Only a folder that holds a tile store and nothing else may be replaced. "
            f"Received: {path}, which holds {sorted(strange)[:5]}. Choose another "
            "folder, or move these away."
        )


def _strange(entry: Path, path: Path) -> str:
    """The path of an entry inside its store; empty where stores have such an entry."""
    inside = entry.relative_to(path).as_posix()
    plain = re.sub(rf"(^|/){re.escape(PART)}-[^/]*-\d+-\d+\.", r"\1", inside)
    known = _KNOWN.fullmatch(plain) is not None and not entry.is_symlink()
    return "" if known else inside


def _is_store(path: Path) -> bool:
    """Whether something in a folder says that this package began or wrote it."""
    try:
        about = json.loads((path / layout.STORE_JSON).read_text("utf-8"))
        return about["format"] == layout.FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        return (path / layout.ARRAYS / "zarr.json").exists() or (path / NOTES).is_dir()
