"""Bringing a public data set into the cache: resumed, verified, unpacked, recorded."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from arcticdl.datasets.table import DatasetInfo, Part, find_dataset
from arcticdl.datasets.unpack import unpack
from arcticdl.download import download, verify_file
from arcticdl.errors import FetchError
from arcticdl.files import (
    flush,
    remove_orphans,
    replace_folder,
    restore_folder,
    temporary_path,
    write_json,
)

Record = dict[str, Any]


def fetch_dataset(name: str, *, say: Callable[[str], None] = print) -> Path:
    """Brings a public data set into the cache.

    Files come one after the other; a call that was interrupted goes on where it ended.
    Each is compared with the size and the checksum that its publishers told. Where they
    told none, that is said, the SHA-256 that came is written down, and every later
    fetch is compared with it. The folder appears when all of it is there.

    Args:
        name: A name of ``list_datasets()``.
        say: Takes each line about what is done.

    Returns:
        The folder, ``data/NAME`` in the cache; ``data/NAME.json`` beside it is the
        record of what came from where.

    Raises:
        ValueError: No such data set.
        FetchError: The set must be fetched by hand; no internet; a file or an archive
            that is not the expected one; a folder that another program made.
        OSError: The disk is full.

    Example:
        >>> fetch_dataset("melt_pond")
        Traceback (most recent call last):
        ValueError: `name` must be one of ... Did you mean 'meltpond_tir'?
    """
    info = find_dataset(name)
    if info.by_hand:
        raise FetchError(
            "A data set must be one that can be fetched by its address. Received: "
            f"name={name!r}. {info.by_hand} See {info.page}."
        )
    info.path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(info):
        restore_folder(info.path)
        before = _read_record(info)
        if info.path.exists():
            _check_there(info, before)
            say(f"{name} is there already, and whole")
            return info.path
        _check_room(info)
        say(f"{name}: {info.licence}. Cite: {info.citation}")
        staging = info.path.with_name(f".fetching-{name}")
        staged = {
            part: staging / f"{number:03d}-{Path(part.name).name}"
            for number, part in enumerate(info.parts, 1)
        }
        sums: dict[Part, str] = {}
        for part, path in staged.items():
            known = before.get("downloads", {}).get(part.url, "")
            sums[part] = _bring(info, part, path=path, known=known)
            state = _state(part, known)
            say(f"[{len(sums)}/{len(staged)}] {part.name} {sums[part]} ({state})")
        _build(info, staged, sums)
        shutil.rmtree(staging)
    return info.path


@contextmanager
def _lock(info: DatasetInfo) -> Iterator[None]:
    lock = FileLock(info.path.with_name(f".{info.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise FetchError(
            "A data set must be fetched by one process at a time. Received: "
            f"{info.path}, which another process is fetching. Wait for it to end."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _record_path(info: DatasetInfo) -> Path:
    return info.path.with_name(f"{info.name}.json")


def _read_record(info: DatasetInfo) -> Record:
    path = _record_path(info)
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text("utf-8"))
        return {"downloads": dict(record["downloads"]), "files": dict(record["files"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FetchError(
            "A record of what was fetched must be the JSON that fetch wrote. Received: "
            f"{path}. Remove it, and {info.path} with it, and fetch again."
        ) from error


def _check_there(info: DatasetInfo, record: Record) -> None:
    """Refuses a folder of other origin, and one that has lost or changed files."""
    if not record:
        raise FetchError(
            "A data set's folder must have been written by fetch. Received: "
            f"{info.path}, without {_record_path(info).name} beside it. Move it away, "
            "or use it as it is."
        )
    for name, size in record["files"].items():
        path = info.path / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes, not {size}"
            raise FetchError(
                "A fetched data set must be whole. Received: "
                f"{info.path}, of which {name} {state}. Remove the folder and fetch "
                "it again."
            )


def _check_room(info: DatasetInfo) -> None:
    # An archive lies beside what is unpacked from it until all of that is there.
    need = (info.about_bytes or 0) * (2 if info.archives else 1)
    free = shutil.disk_usage(info.path.parent).free
    if free < need:
        raise OSError(
            f"A disk must have room for the data set {info.name!r}, about "
            f"{need / 1e9:.1f} GB. Received: {free / 1e9:.1f} GB free in "
            f"{info.path.parent}. ARCTICDL_CACHE names another cache folder."
        )


def _bring(info: DatasetInfo, part: Part, *, path: Path, known: str) -> str:
    """Downloads one file, unless it is there; returns its SHA-256."""
    way_out = (
        "What has come is kept: call again when there is internet. Or call `arcticdl "
        f"data fetch {info.name}` on a machine that has it, and copy {info.path} here, "
        f"with {_record_path(info).name} beside it."
    )
    if path.exists():
        found = verify_file(path, part.checksum, part.num_bytes)
    else:
        found = download(
            part.url,
            path,
            checksum=part.checksum,
            num_bytes=part.num_bytes,
            way_out=way_out,
        )
    if known and known != found:
        path.unlink()
        raise FetchError(
            "A file must be the one that was fetched before. Received: "
            f"{part.url} with the SHA-256 {found}, which was {known}. Remove "
            f"{_record_path(info)} to accept it as it is now."
        )
    return found


def _state(part: Part, known: str) -> str:
    if part.checksum:
        kind = "MD5" if part.checksum.startswith("md5:") else "SHA-256"
        return f"{kind} as published"
    return "SHA-256 as before" if known else "SHA-256 kept: none is published"


def _build(
    info: DatasetInfo, staged: Mapping[Part, Path], sums: Mapping[Part, str]
) -> None:
    """Makes the folder of what was downloaded, whole or not at all."""
    remove_orphans(info.path)
    new = temporary_path(info.path)
    new.mkdir()
    try:
        for archive in info.archives:
            unpack([staged[part] for part in archive.parts], new, keep=archive.keep)
        for part in info.files:
            target = new / part.name
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(staged[part], target)
        paths = sorted(path for path in new.rglob("*") if path.is_file())
        for path in paths:
            flush(path)
        record = {
            "name": info.name,
            "page": info.page,
            "licence": info.licence,
            "citation": info.citation,
            "downloads": {part.url: found for part, found in sums.items()},
            "files": {str(p.relative_to(new)): p.stat().st_size for p in paths},
        }
        write_json(_record_path(info), record)
        replace_folder(new, info.path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, so that an interrupted call loses neither."""
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
