"""The table of public data sets (``data/datasets.json``) and where they are kept."""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from arcticdl.choices import choose
from arcticdl.download import cache_dir


@dataclass(frozen=True)
class Part:
    """One file to download.

    Attributes:
        url: Where it is.
        name: Path in the data set's folder; of an archive, the name it is kept under
            until it is unpacked.
        checksum: As ``arcticdl.download.download`` takes it; empty where nobody
            published one.
        num_bytes: Its exact size; ``None`` where it is not known.
    """

    url: str
    name: str
    checksum: str = ""
    num_bytes: int | None = None


@dataclass(frozen=True)
class Archive:
    """One archive, or one that was cut into several files.

    Attributes:
        parts: Its files, in order.
        keep: Folder or file in the archive -> path in the data set's folder; empty: all
            of it. A folder that alone stands at the archive's top is left out of both.
    """

    parts: tuple[Part, ...]
    keep: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DatasetInfo:
    """One record of the table.

    Attributes:
        name: Its name, and that of its folder.
        title: What it is.
        holds: What is in it, and how it is labelled.
        page: Where its authors describe it.
        doi: DOIs of the data, or of the paper that describes them.
        licence: As stated by its publishers.
        citation: How its authors ask to be cited.
        about_bytes: Size of the download, about; ``None`` where it is not known.
        used_by: Files of this project that read it.
        files: Files that are kept as they come.
        archives: Archives that are unpacked.
        by_hand: Why it cannot be fetched by a command, and what to do; empty where it
            can.
    """

    name: str
    title: str
    holds: str
    page: str
    doi: tuple[str, ...]
    licence: str
    citation: str
    about_bytes: int | None
    used_by: tuple[str, ...]
    files: tuple[Part, ...]
    archives: tuple[Archive, ...]
    by_hand: str

    @property
    def path(self) -> Path:
        """Folder that it is fetched to."""
        return data_dir() / self.name

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything that is downloaded."""
        inside = (part for archive in self.archives for part in archive.parts)
        return (*self.files, *inside)

    @property
    def checksums(self) -> str:
        """Which kind of checksum its publishers told: ``none``, ``MD5``, ``SHA-256``.

        Example:
            >>> find_dataset("caffe").checksums
            'MD5'
        """
        kinds = {part.checksum.rpartition(":")[0] or "sha256" for part in self.parts}
        if not self.parts or not all(part.checksum for part in self.parts):
            return "none"
        return " and ".join(sorted({"md5": "MD5"}.get(k, "SHA-256") for k in kinds))


def data_dir() -> Path:
    """Returns the folder of fetched data sets.

    Returns:
        ``data`` in the cache folder (``ARCTICDL_CACHE``, else ``~/.cache/arcticdl``).
        ``ARCTICDL_SAMPLE_DATA``, which configurations read, may point at it.
    """
    return cache_dir() / "data"


def list_datasets() -> tuple[DatasetInfo, ...]:
    """The public data sets, by name.

    Returns:
        Records of the table.

    Example:
        >>> "meltpond_tir" in [info.name for info in list_datasets()]
        True
    """
    return tuple(_table().values())


def find_dataset(name: str) -> DatasetInfo:
    """Finds a data set by its name.

    Args:
        name: A name of ``list_datasets()``.

    Returns:
        The record.

    Raises:
        ValueError: No such data set; the message holds the choices.

    Example:
        >>> find_dataset("calving_front").licence
        'MIT'
    """
    return choose("name", name, _table())


@lru_cache(maxsize=1)
def _table() -> dict[str, DatasetInfo]:
    path = files("arcticdl.datasets").joinpath("data/datasets.json")
    records = json.loads(path.read_text("utf-8"))
    return {name: read_record(name, records[name]) for name in sorted(records)}


def read_record(name: str, record: dict[str, Any]) -> DatasetInfo:
    """Reads one record of the table's JSON.

    Args:
        name: Name of the data set.
        record: Its keys; ``files`` and the parts of ``archives`` give ``url`` relative
            to ``base``.

    Returns:
        The record.
    """
    base = record.get("base", "")

    def part(file: dict[str, Any]) -> Part:
        url = urljoin(base, file["url"])
        return Part(
            url=url,
            name=file.get("name", url.rsplit("/", 1)[-1]),
            checksum=file.get("checksum", ""),
            num_bytes=file.get("num_bytes"),
        )

    return DatasetInfo(
        name=name,
        title=record["title"],
        holds=record["holds"],
        page=record["page"],
        doi=tuple(record.get("doi", ())),
        licence=record["licence"],
        citation=record["citation"],
        about_bytes=record.get("about_bytes"),
        used_by=tuple(record.get("used_by", ())),
        files=tuple(part(file) for file in record.get("files", ())),
        archives=tuple(
            Archive(tuple(map(part, one["parts"])), tuple(one.get("keep", {}).items()))
            for one in record.get("archives", ())
        ),
        by_hand=record.get("by_hand", ""),
    )
