"""What a formula may ask of a scene: its bands by role, their units, wider windows."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice
from arcticdl.errors import BandNotFoundError, SceneError
from arcticdl.scene import scene_geobox
from arcticdl.sources.core.assemble import band_units
from arcticdl.sources.core.crs import metres_per_unit

UNITS: Mapping[str, tuple[str, ...]] = {
    "dB": ("db", "decibel", "decibels"),
    "1": ("1", "reflectance", "unitless", "dimensionless"),
    "m": ("m", "metre", "metres", "meter", "meters"),
    "degree": ("degree", "degrees", "deg"),
}
"""Unit -> how files write it, in lower case."""

Read = Callable[[slice, slice], np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A derived band: its name, its units and what reads a window ``(y, x)`` of it."""

    name: str
    units: str
    read: Read


@dataclass(frozen=True)
class Source:
    """A scene and the step that is applied to it.

    Attributes:
        scene: The scene.
        step: The step, which ``check_steps`` accepted.
        names: Names of the scene's bands.
        units: Unit of each; those that no file tells as the step tells them.
    """

    scene: xr.Dataset
    step: Mapping[str, Any]
    names: tuple[str, ...] = field(init=False)
    units: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(str(band) for band in self.scene["band"].values)
        found = dict(zip(names, band_units(self.scene), strict=True))
        for band, unit in self.step.get("units", {}).items():
            _check_band(band, names)
            if found[band] and _plain(found[band]) != _plain(unit):
                raise SceneError(
                    f"`units` of a step is for bands whose file tells none. Received: "
                    f"{unit!r} for {band!r}, which is in {found[band]!r}."
                )
            found[band] = unit
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "units", tuple(_plain(found[n]) for n in names))

    @property
    def formula(self) -> str:
        """Name of the formula."""
        return str(self.step["formula"])

    def option(self, name: str, default: Any = None) -> Any:
        """An option of the step."""
        return self.step.get(name, default)

    def named(self, default: str) -> str:
        """Name of the new band."""
        return str(self.step.get("name", default))

    def unit_of(self, band: str) -> str:
        """Unit of a band, ``""`` where it is unknown."""
        _check_band(band, self.names)
        return self.units[self.names.index(band)]

    def need_unit(self, band: str, unit: str, way_out: str = "") -> None:
        """Refuses a band that is not in a unit."""
        found = self.unit_of(band)
        if found == unit:
            return
        hint = way_out
        if not found:
            hint = f"{way_out} If they are, say so: `units: {{{band}: '{unit}'}}`."
        raise SceneError(
            f"Formula {self.formula!r} needs band {band!r} in {unit!r}. Received: "
            f"{found or 'no unit'!r}.{' ' if hint else ''}{hint.strip()}"
        )

    def role(self, role: str, known: Collection[str]) -> str:
        """The band of a role: told by the step, or the one of a known name."""
        told = self.step.get("bands", {}).get(role)
        if told is not None:
            _check_band(told, self.names)
            return str(told)
        wanted = {name.lower() for name in known}
        found = [name for name in self.names if name.lower() in wanted]
        if len(found) != 1:
            raise BandNotFoundError(
                f"Formula {self.formula!r} needs one band of `{role}`. Received: "
                f"{found or 'none'} among {list(self.names)}; name it by "
                f"`bands: {{{role}: NAME}}`."
            )
        return found[0]

    def reader(self, band: str, margin: int = 0) -> Read:
        """Reads a band in float64, NaN where it is invalid.

        Args:
            band: Its name.
            margin: Pixels by which every window is wider on each side; NaN beyond the
                scene.
        """
        _check_band(band, self.names)
        valid = self.scene["valid"].variable if "valid" in self.scene else None
        image = self.scene["image"].variable
        return BandWindow(image, valid, self.names.index(band), margin).read

    def pixel_m(self) -> tuple[float, float]:
        """Metres from a column to the next, eastward, and from a row, northward."""
        geobox = scene_geobox(self.scene)
        if geobox is None or geobox.crs is None or not geobox.crs.projected:
            raise SceneError(
                f"Formula {self.formula!r} needs a grid in a projection, whose pixels "
                "are metres. Received: "
                f"{'no grid' if geobox is None else str(geobox.crs)[:60]}; bring the "
                "scene onto one by `data.grid`, or by `align(scene, crs='EPSG:3413', "
                "resolution_m=...)`."
            )
        metres = metres_per_unit(geobox.crs.proj)
        return geobox.transform.a * metres, geobox.transform.e * metres


@dataclass(frozen=True)
class BandWindow:
    """Reads windows of one band, wider by a margin, NaN beyond and where invalid."""

    image: xr.Variable
    valid: xr.Variable | None
    index: int
    margin: int

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads float64 ``(y + 2 margin, x + 2 margin)``."""
        height, width = self.image.shape[1:]
        m = self.margin
        wide = slice(max(rows.start - m, 0), min(rows.stop + m, height))
        long = slice(max(cols.start - m, 0), min(cols.stop + m, width))
        found = self.image[self.index, wide, long].values.astype("float64")
        if self.valid is not None:
            found[~self.valid[wide, long].values] = np.nan
        beyond = (
            (wide.start - (rows.start - m), rows.stop + m - wide.stop),
            (long.start - (cols.start - m), cols.stop + m - long.stop),
        )
        if any(n for side in beyond for n in side):
            found = np.pad(found, beyond, constant_values=np.nan)
        return found


def _check_band(band: str, names: tuple[str, ...]) -> None:
    try:
        check_choice("band", band, names)
    except ValueError as error:
        raise BandNotFoundError(str(error)) from None


def _plain(unit: str) -> str:
    """A unit in the one spelling that is compared."""
    low = unit.strip().lower()
    return next((name for name, ways in UNITS.items() if low in ways), unit.strip())
