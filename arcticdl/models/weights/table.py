"""The table of named weights (``data/weights.csv``) and the cache they belong in."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from arcticdl.choices import choose
from arcticdl.download import cache_dir

CONVERTIBLE = ("convnext_", "resnet", "swin_", "unet_resnet")
"""Starts of the architectures that ``convert`` knows."""

SUFFIX = ".weights.h5"


@dataclass(frozen=True)
class WeightsInfo:
    """One row of the table.

    Attributes:
        name: ``"ARCHITECTURE.VARIANT"``.
        architecture: Backbone, or ``"unet_..."`` for a whole segmenter.
        bands: Input bands in order, each ``"sensor:name"``.
        offset: Number that training subtracted from each band; ``None``: see
            ``scaling``.
        scale: Number that it then divided by.
        scaling: Its own words for that.
        dataset: What the weights were trained on.
        licence: As stated by their publishers.
        sha256: First digits of the file's SHA-256; empty where none is published.
        url: Where the file is.
    """

    name: str
    architecture: str
    bands: tuple[str, ...]
    offset: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    scaling: str
    dataset: str
    licence: str
    sha256: str
    url: str

    @property
    def loadable(self) -> bool:
        """Whether ``fetch`` can convert it."""
        return self.architecture.startswith(CONVERTIBLE)

    @property
    def normalizer(self) -> dict[str, Any] | None:
        """The scaling as the JSON form of a normaliser, where it is linear."""
        if self.offset is None or self.scale is None:
            return None
        return constants(self.bands, self.offset, self.scale)

    @property
    def checkpoint_path(self) -> Path:
        """Where the published file belongs in the cache."""
        return cache_dir() / self.name / self.url.rsplit("/", 1)[-1]

    @property
    def weights_path(self) -> Path:
        """Where the converted weights are in the cache."""
        return cache_dir() / (self.name + SUFFIX)


def list_weights(
    architecture: str | None = None, *, loadable_only: bool = True
) -> tuple[WeightsInfo, ...]:
    """The named weights.

    Args:
        architecture: Only those of this network.
        loadable_only: Leave out networks that have no converter yet.

    Returns:
        Rows of the table, ImageNet first.

    Example:
        >>> [info.bands for info in list_weights("swin_v2_b")][-4][:2]
        ('sentinel2:B04', 'sentinel2:B03')
    """
    return tuple(
        info
        for info in _table().values()
        if (info.loadable or not loadable_only)
        and architecture in (None, info.architecture)
    )


def find_weights(name: str, architecture: str | None = None) -> WeightsInfo:
    """Finds a row by its name; the architecture may be left out where it is known.

    Args:
        name: ``"resnet50.sentinel2_all_moco"``; with ``architecture`` also
            ``"imagenet"`` or ``"sentinel2_all_moco"``.
        architecture: Network that the weights are for.

    Returns:
        The row.

    Raises:
        ValueError: No such weights; the message holds the choices.

    Example:
        >>> find_weights("imagenet", "resnet50").bands
        ('rgb:R', 'rgb:G', 'rgb:B')
    """
    table = _table()
    if architecture is not None:
        own = {n: i for n, i in table.items() if i.architecture == architecture}
        full = f"{architecture}.{name}"
        if name not in table:
            return choose("weights", full, own)
    return choose("weights", name, table)


def constants(
    bands: Sequence[str], offset: Sequence[float], scale: Sequence[float]
) -> dict[str, Any]:
    """Returns the JSON form of the normaliser ``(x - offset) / scale``.

    Args:
        bands: Names of the bands.
        offset: One number a band.
        scale: One number a band, not 0.

    Returns:
        A dict as ``Normalizer.from_dict`` reads it.

    Example:
        >>> constants(["HH"], [-20.0], [5.0])["method"]
        'constants'
    """
    return {
        "method": "constants",
        "bands": list(bands),
        "offset": list(offset),
        "scale": list(scale),
    }


@lru_cache(maxsize=1)
def _table() -> dict[str, WeightsInfo]:
    text = (
        files("arcticdl.models.weights").joinpath("data/weights.csv").read_text("utf-8")
    )
    rows = csv.DictReader(text.splitlines())
    return {row["name"]: _info(row) for row in rows}


def _info(row: dict[str, str]) -> WeightsInfo:
    def numbers(text: str) -> tuple[float, ...] | None:
        return tuple(float(part) for part in text.split()) or None

    return WeightsInfo(
        name=row["name"],
        architecture=row["architecture"],
        bands=tuple(row["bands"].split()),
        offset=numbers(row["offset"]),
        scale=numbers(row["scale"]),
        scaling=row["scaling"],
        dataset=row["dataset"],
        licence=row["licence"],
        sha256=row["sha256"],
        url=row["url"],
    )
