"""What the files of a store must be: signed when written, compared when opened.

``store.json`` holds the sha-256 of every other file that decides what is learnt, and
one of itself; each tile's own stands in the manifest. Files that belong together are
replaced together: they are written to the folder ``ready``, which appears whole, and
moved from there. Whoever finds a file in ``ready`` takes it from there.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from arcticdl.errors import StoreError
from arcticdl.files import atomic_folder, flush, write_json
from arcticdl.tiles import layout

SIGNED = (layout.MANIFEST, layout.SCENES_JSON, layout.STATS_JSON)
"""Files whose sha-256 stands in ``store.json``."""

READY = "ready"
"""Folder of files that are complete but not yet moved to their place."""

_ATTEMPTS = 5


class Identity(NamedTuple):
    """What changes when a store is written anew.

    Attributes:
        about: Number, time in ns and size of the file ``store.json``.
        arrays: Device and number of the arrays' folder.
    """

    about: tuple[int, int, int]
    arrays: tuple[int, int]


def identify(root: Path) -> Identity | None:
    """The identity of a store's files; ``None`` where there are none just now."""
    for folder in (root / READY, root):
        try:
            about = (folder / layout.STORE_JSON).stat()
            arrays = (root / layout.ARRAYS).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return Identity(
            (about.st_ino, about.st_mtime_ns, about.st_size),
            (arrays.st_dev, arrays.st_ino),
        )
    return None


def commit(
    root: Path,
    about: dict[str, Any],
    write: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Replaces files of a store together, signed.

    A process that is killed meanwhile leaves the store as it was, or as it shall be.

    Args:
        root: The store.
        about: The new description; its signatures are made here.
        write: Called with a folder, to which it writes the other new files.
    """
    finish(root)
    with atomic_folder(root / READY) as folder:
        write(folder)
        files = {}
        for name in SIGNED:
            file = folder / name if (folder / name).exists() else root / name
            if file.exists():
                files[name] = _sha256(file.read_bytes())
        signed = {k: v for k, v in about.items() if k != "seal"} | {"files": files}
        write_json(folder / layout.STORE_JSON, signed | {"seal": _seal(signed)})
    finish(root)


def finish(root: Path) -> None:
    """Moves files that are ready to their place; also what a killed process left."""
    ready = root / READY
    if not ready.is_dir():
        return
    for path in sorted(ready.iterdir()):
        os.replace(path, root / path.name)
    flush(root)
    ready.rmdir()


def read_about(root: Path) -> dict[str, Any]:
    """Reads a store's description.

    Raises:
        FileNotFoundError: There is no such folder.
        StoreError: It is no finished store, of another format, or damaged.
    """
    if root.is_file():
        raise StoreError(
            f"A tile store is a folder. Received: {root}, a file. Where it joins "
            "several, name one of them; `tiles.open_store` reads them together."
        )
    if not root.is_dir():
        raise FileNotFoundError(f"There is no tile store at {root}.")
    try:
        about = json.loads(_read(root, layout.STORE_JSON))
        kind, version = about["format"], about["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"A tile store must hold a readable {layout.STORE_JSON}. Received: {root}, "
            "which is no finished store. Prepare it (again) with `tiles.prepare`."
        ) from error
    known = (layout.FORMAT_VERSION, layout.FORMAT_WITH_ROWS)
    if kind != layout.FORMAT or version not in known:
        raise StoreError(
            f"A tile store must be of format {layout.FORMAT}, version 1 or 2. "
            f"Received: {kind} {version} in {root}."
        )
    # Stores of earlier releases carry no signatures.
    if "seal" in about and about["seal"] != _seal(about):
        raise _damaged(root, layout.STORE_JSON)
    return about


def read_signed(root: Path, about: dict[str, Any], name: str) -> bytes:
    """Reads a file of a store, which must be the one that was signed.

    Raises:
        StoreError: It is absent or another.
    """
    try:
        content = _read(root, name)
    except OSError as error:
        raise StoreError(
            f"A tile store must hold a readable {name}. Received: {root} ({error})."
        ) from error
    expected = about.get("files", {}).get(name)
    if expected is not None and _sha256(content) != expected:
        raise _damaged(root, name)
    return content


def open_signed(root: Path) -> dict[str, Any]:
    """Reads a store's description and compares every signed file with it.

    Raises:
        FileNotFoundError: There is no such folder.
        StoreError: A file is not the one that was signed.
    """
    for _ in range(_ATTEMPTS):
        about = read_about(root)
        try:
            for name in about.get("files", ()):
                read_signed(root, about, name)
            return about
        except StoreError:
            if read_about(root).get("seal") == about["seal"]:
                raise
    raise StoreError(
        f"A tile store must stay as it is while it is opened. Received: {root}, which "
        "another process keeps writing. Wait for it to end."
    )


def goes_on(about: dict[str, Any], fingerprint: str) -> bool:
    """Whether a store holds the tiles that had this fingerprint, in their places."""
    return fingerprint in (about["fingerprint"], *about.get("grown_from", ()))


def _read(root: Path, name: str) -> bytes:
    try:
        return (root / READY / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return (root / name).read_bytes()


def _seal(about: dict[str, Any]) -> str:
    rest = {k: v for k, v in about.items() if k != "seal"}
    return _sha256(json.dumps(rest, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _damaged(root: Path, name: str) -> StoreError:
    return StoreError(
        f"The files of a tile store must be as they were written. Received: {name} in "
        f"{root}, which was edited or damaged, or written anew since the store was "
        "opened. Open it again; if that fails, restore the file or prepare the store "
        "anew. To leave tiles out, pass their indices instead."
    )
