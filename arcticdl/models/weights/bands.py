"""Sensor band sets: names, centre wavelengths or frequencies, polarisations, kinds.

The sets are data (``data/bands.json``, each with its source). A band is written
``"sensor:name"``, or by its bare name where that leaves no doubt.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from arcticdl.choices import check_choice, choose

KINDS = ("optical", "thermal", "sar", "passive_microwave", "auxiliary")
"""What a band measures; ``auxiliary`` is a field that is not imagery."""


@dataclass(frozen=True)
class Band:
    """One named physical quantity.

    Attributes:
        name: Name of the band, for example ``"B04"`` or ``"HH"``.
        sensor: Band set it belongs to; ``"custom"`` for a band of your own.
        kind: One of ``KINDS``.
        centre: Centre wavelength (``unit="um"``) or frequency (``unit="GHz"``).
        unit: Unit of ``centre``; ``None`` where there is no centre.
        polarisation: ``"HH"``, ``"HV"``, ``"VH"``, ``"VV"`` (SAR), ``"H"`` or ``"V"``
            (radiometers), else ``None``.
    """

    name: str
    sensor: str = "custom"
    kind: str = "auxiliary"
    centre: float | None = None
    unit: str | None = None
    polarisation: str | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)

    @property
    def label(self) -> str:
        """The unambiguous name, ``"sensor:name"``."""
        return f"{self.sensor}:{self.name}"


RGB = ("rgb:R", "rgb:G", "rgb:B")
"""The bands of ImageNet weights, in their order."""


def sensors() -> tuple[str, ...]:
    """Returns the names of all band sets.

    Returns:
        Names, sorted.

    Example:
        >>> "sentinel1" in sensors()
        True
    """
    return tuple(sorted(_table()))


def sensor_bands(sensor: str) -> tuple[Band, ...]:
    """Returns all bands of one sensor, in the order of its product.

    Args:
        sensor: One of ``sensors()``.

    Returns:
        The bands.

    Raises:
        ValueError: Unknown sensor.

    Example:
        >>> [band.centre for band in sensor_bands("landsat8")][:2]
        [0.443, 0.482]
    """
    return tuple(dict.fromkeys(choose("sensor", sensor, _table()).values()))


def resolve_bands(
    bands: Sequence[str | Band], sensor: str | None = None
) -> tuple[Band, ...]:
    """Finds what each band measures.

    A bare name is looked up in ``sensor``; without one, in the common names
    (``"red"``, ``"nir"``) and then in the sensors that know every bare name of the
    list. More than one such sensor is an error, not a guess.

    Args:
        bands: Names (``"B04"``, ``"sentinel2:B04"``) or ``Band`` objects, at least one.
        sensor: Band set of the bare names.

    Returns:
        One ``Band`` for each entry, in order.

    Raises:
        ValueError: No bands; an unknown or an ambiguous name.

    Example:
        >>> [band.label for band in resolve_bands(["HH", "incidence_angle"])]
        ['sentinel1:HH', 'auxiliary:incidence_angle']
    """
    if isinstance(bands, str) or not len(bands):
        raise ValueError(
            f"`bands` must be a list of at least one name. Received: bands={bands!r}."
        )
    bare = [band for band in bands if isinstance(band, str) and ":" not in band]
    common = _common_sensors(bare) if sensor is None else (sensor,)
    return tuple(_resolve(band, common) for band in bands)


def _resolve(band: str | Band, candidates: tuple[str, ...]) -> Band:
    if isinstance(band, Band):
        return band
    if ":" in band:
        sensor, name = band.split(":", 1)
        candidates = (sensor,)
    else:
        name = band
    for fixed in ("generic", "auxiliary"):
        if name in _table()[fixed] and len(candidates) != 1:
            return _table()[fixed][name]
    found = [_known(sensor)[name] for sensor in candidates if name in _known(sensor)]
    if not found and name in _table()["auxiliary"]:
        return _table()["auxiliary"][name]
    if not found:
        found = list(
            {s[name].label: s[name] for s in _table().values() if name in s}.values()
        )
        if len(candidates) == 1 and ":" in band:
            found = []
    if len(found) == 1:
        return found[0]
    raise ValueError(_explain(band, found))


def _explain(band: str, found: list[Band]) -> str:
    if found:
        choices = sorted(item.label for item in found)
        return (
            "A band name must leave no doubt about its sensor. "
            f"Received: {band!r}, known as {choices}. Write one of these."
        )
    return (
        "A band must be known, to be matched with the bands of pretrained weights. "
        f"Received: {band!r}. Write 'sensor:name' with a sensor of {list(sensors())}, "
        "pass `Band(name, kind=..., centre=..., unit=...)`, or choose an `adapter` "
        "that needs no names, such as 'repeat' or 'mean'."
    )


def _known(sensor: str) -> dict[str, Band]:
    sensor_bands(sensor)
    return _table()[sensor]


def _common_sensors(names: list[str]) -> tuple[str, ...]:
    """Sensors that hold every bare name that is neither common nor auxiliary."""
    table = _table()
    names = [n for n in names if n not in table["generic"] | table["auxiliary"]]
    primary = _holders(names, primary=True)
    return primary if len(primary) == 1 else _holders(names, primary=False)


def _holders(names: list[str], primary: bool) -> tuple[str, ...]:
    def holds(entries: dict[str, Band], name: str) -> bool:
        return name in entries and (not primary or entries[name].name == name)

    return tuple(
        sensor
        for sensor, entries in _table().items()
        if names and all(holds(entries, name) for name in names)
    )


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, Band]]:
    """``{sensor: {name or alias: Band}}``."""
    text = (
        files("arcticdl.models.weights").joinpath("data/bands.json").read_text("utf-8")
    )
    return {
        sensor: _entries(sensor, v["bands"]) for sensor, v in json.loads(text).items()
    }


def _entries(sensor: str, rows: list[dict[str, Any]]) -> dict[str, Band]:
    entries: dict[str, Band] = {}
    for row in rows:
        aliases = row.pop("aliases", [])
        band = Band(sensor=sensor, **row)
        entries.update({name: band for name in (band.name, *aliases)})
    return entries
