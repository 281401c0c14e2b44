"""Maps of bands whose gaps are filled: all else to the bit, and which is which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.derived.gaps import GAP, mark_gaps
from arcticdl.inference.forward import Answers
from arcticdl.inference.maps import MapLayer
from arcticdl.scene import read_values
from arcticdl.tasks import Output

OBSERVED = "observed"
"""Key of answers under which pixels as they were observed ride, before the gap band."""

FILLED = Output(
    lambda gap, head: gap.astype(np.uint8),
    "whether the value was observed or filled in",
    dtype="uint8",
    limits=None,
)
"""What is written beside filled bands, asked for or not."""


@dataclass(frozen=True)
class _KeptLayer(MapLayer):
    """A map of a head that fills gaps: its answers count in gaps alone."""

    places: tuple[int, ...] = ()
    """The bands that are filled, among those observed."""

    def read(self, answers: Answers, valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Rows (band, y, x): values as observed, answers in gaps alone."""
        rows = super().read(answers, valid)
        seen = answers[OBSERVED]
        gap = seen[..., -1] > 0.5
        if self.kind != "value":
            return np.where(gap, rows, np.array(self.output.nodata, rows.dtype))
        kept = np.moveaxis(seen[..., self.places], -1, 0).astype(rows.dtype)
        return np.where(valid & ~gap, kept, rows)


@dataclass(frozen=True)
class _FilledLayer(MapLayer):
    """The map that says which values were filled in."""

    @property
    def output(self) -> Output:
        """How it is written."""
        return FILLED

    def read(self, answers: Answers, valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Rows (1, y, x): 0 observed, 1 filled in, 255 neither."""
        gap = answers[OBSERVED][..., -1] > 0.5
        return np.where(valid, gap, FILLED.nodata).astype(FILLED.dtype)[None]

    def attrs(self) -> dict[str, Any]:
        """CF attributes of the variable."""
        return super().attrs() | {"flag_meanings": "observed filled"}


def gap_starts(card: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """The heads that fill gaps, and what a card says of the bands that have them."""
    starts = (card or {}).get("starts", {})
    return {name: start for name, start in starts.items() if "gap" in start}


def keep_observed(
    layers: Sequence[MapLayer], card: Mapping[str, Any] | None
) -> list[MapLayer]:
    """Layers of which those that fill gaps leave all else as observed, and say so."""
    starts = gap_starts(card)
    found: list[MapLayer] = []
    for layer in layers:
        name = layer.head_name
        if name not in starts:
            found.append(layer)
            continue
        bands = [band for band in (card or {})["bands"] if band != GAP]
        places = tuple(bands.index(band) for band in starts[name]["band"])
        found.append(_KeptLayer(**vars(layer), places=places))
    for name in starts:
        (first, *_) = [layer for layer in layers if layer.head_name == name]
        prefix = first.name.removesuffix(first.kind)
        beside = (f"{prefix}filled", name, first.head, "filled", first.dim)
        found.append(_FilledLayer(*beside))
    return found


def with_gaps(scene: xr.Dataset, card: Mapping[str, Any] | None) -> xr.Dataset:
    """A scene with its gaps marked, where a model fills them and nobody has yet.

    Raises:
        ValueError: The scene lacks a band that has gaps.
    """
    starts = gap_starts(card)
    if not starts or GAP in scene["band"].values:
        return scene
    bands = sorted({band for start in starts.values() for band in start["band"]})
    reach_px = min(start["gap"]["reach_px"] for start in starts.values())
    return mark_gaps(scene, bands, reach_px=reach_px)


def read_observed(scene: xr.Dataset, row: int, num_rows: int) -> NDArray[Any]:
    """Rows of a scene as they were observed, and where they were not.

    Args:
        scene: With the card's bands.
        row: The first one.
        num_rows: How many.

    Returns:
        (y, x, band), the band ``gap`` last.
    """
    rows = scene["image"].isel(y=slice(row, row + num_rows))
    bands = [str(band) for band in scene["band"].values if band != GAP] + [GAP]
    return read_values(rows.sel(band=bands), "y", "x", "band")
