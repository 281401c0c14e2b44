"""What a bundle holds, and how it is opened from a folder or a zip file."""

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from arcticdl.errors import BundleError

MANIFEST = "bundle.json"
MODEL = "model.keras"
CONFIG = "config.yaml"
CARD = "card.json"
README = "README.md"
SAMPLE = "sample.npz"
ANSWER = "answer.npz"
FORMAT, VERSION = "arcticdl-bundle", 1
_MOST_BYTES = 8 << 30
"""A larger file within a zip is taken for a bomb, not for a network."""


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle, by its name in a zip file or its manifest."""
    return path.suffix == ".zip" or (path / MANIFEST).is_file()


def open_bundle(path: str | Path) -> Path:
    """The folder of a bundle; a zip file is unpacked for as long as the process lives.

    Raises:
        FileNotFoundError: There is nothing.
        BundleError: It is no bundle, or a file that its manifest does not name or
            that has another name than a plain one.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No such bundle: {path}")
    folder = _unpacked(path.resolve()) if path.suffix == ".zip" else path
    if not (folder / MANIFEST).is_file():
        raise BundleError(
            f"A bundle must hold {MANIFEST}, as `arcticdl bundle RUN` writes it. "
            f"Received: {path} without."
        )
    return folder


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an opened bundle.

    Raises:
        BundleError: It cannot be read, or is of another format.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        kind, version = manifest["format"], manifest["version"]
        files = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"A bundle must hold a readable {MANIFEST}. Received: {folder} ({error})."
        ) from error
    if (kind, version) != (FORMAT, VERSION) or MODEL not in files:
        raise BundleError(
            f"A bundle must be of format {FORMAT} {VERSION} and name {MODEL}. "
            f"Received: {kind} {version} with {sorted(files)} in {folder}."
        )
    return manifest


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Refuses files that are absent, or not those that the manifest's sha-256 is of.

    Raises:
        BundleError: As said.
    """
    wrong = []
    for name, digest in manifest["files"].items():
        file = folder / name
        if Path(name).name != name or not file.is_file() or sha256(file) != digest:
            wrong.append(name)
    if wrong:
        raise BundleError(
            f"The files of a bundle must be those that it names. Received: {folder}, "
            f"in which {sorted(wrong)} are absent or another."
        )


def sha256(path: Path) -> str:
    """sha-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _unpacked(path: Path) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="arcticdl-bundle-")
    _OPENED.append(folder)  # removed when the process ends
    try:
        with zipfile.ZipFile(path) as archive:
            for entry, name in _entries(archive, path):
                with (
                    archive.open(entry) as source,
                    (Path(folder.name) / name).open("wb") as target,
                ):
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise BundleError(
            f"A bundle must be a whole zip file. Received: {path} ({error})."
        ) from error
    return Path(folder.name)


_OPENED: list[tempfile.TemporaryDirectory[str]] = []


def _entries(
    archive: zipfile.ZipFile, path: Path
) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    for entry in archive.infolist():
        name = entry.filename
        if Path(name).name != name or entry.file_size > _MOST_BYTES:
            raise BundleError(
                "A bundle must hold files with plain names, none larger than "
                f"{_MOST_BYTES >> 30} GiB. Received: {name!r} of {entry.file_size} "
                f"bytes in {path}."
            )
        yield entry, name
