"""The best and the worst tiles as pictures: image, label, prediction, errors."""

import heapq
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arcticdl.files import atomic_path, write_json
from arcticdl.plots.maps import class_rgb, composite_rgb
from arcticdl.plots.style import PALETTE
from arcticdl.plots.values import scaled_rgb
from arcticdl.void import VOID_CLASS

INDEX_NAME = "pictures.json"
PANELS = ("image", "label", "prediction", "errors")
CORRECT_COLOR, WRONG_COLOR = "#d9dee3", PALETTE[1]


Painter = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]
"""From truth and prediction to three panels (y, x, 3) uint8: both, and the errors."""


def paint_classes(colors: Sequence[str], void_class: int = 255) -> Painter:
    """Panels of class codes ``(y, x)``, in class colours."""

    def paint(y_true: np.ndarray, y_pred: np.ndarray) -> list[np.ndarray]:
        void = y_true == void_class
        wrong = np.where(void, 2, (y_true != y_pred).astype(int))
        return [
            class_rgb(y_true, colors, void_class=void_class),
            class_rgb(y_pred, colors, void_class=void_class),
            class_rgb(wrong, (CORRECT_COLOR, WRONG_COLOR), void_class=2),
        ]

    return paint


def paint_values(y_true: np.ndarray, y_pred: np.ndarray) -> list[np.ndarray]:
    """Panels of numbers ``(y, x)``: one scale for both, errors red above, blue below.

    The scale spans the truth's 1st to 99th percentile, the errors' as far to both
    sides of zero.
    """
    low, high = value_limits(y_true)
    span = high - low
    error = np.where(np.isfinite(y_true), y_pred - y_true, np.nan)
    return [
        scaled_rgb(y_true, low, high, "viridis"),
        scaled_rgb(y_pred, low, high, "viridis"),
        scaled_rgb(error, -span, span, "RdBu_r"),
    ]


def value_limits(y_true: np.ndarray) -> tuple[float, float]:
    """Ends of a quantity's colours: the 1st and the 99th percentile of its truth."""
    known = y_true[np.isfinite(y_true)]
    low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-12))


def paint_input(
    image: np.ndarray, bands: Sequence[str], valid: np.ndarray | None = None
) -> np.ndarray:
    """A colour composite ``(y, x, 3)`` uint8 of ``(y, x, band)`` in any units."""
    image = np.atleast_3d(image)
    named: Any = image
    if len(bands) == image.shape[-1]:
        import xarray as xr

        named = xr.DataArray(
            image, dims=("y", "x", "band"), coords={"band": list(bands)}
        )
    return composite_rgb(named, valid=valid)


def paint_counts(y_true: np.ndarray, y_pred: np.ndarray) -> list[np.ndarray]:
    """Panels of labels ``(y, x, class)``: how many hold, and how many are wrong."""
    void = (y_true == VOID_CLASS).all(axis=-1)
    known = y_true != VOID_CLASS
    counts = (
        ((y_true == 1) & known).sum(-1),
        ((y_pred > 0) & known).sum(-1),
        ((y_true != y_pred) & known).sum(-1),
    )
    size = max(y_true.shape[-1], 1)
    return [
        scaled_rgb(np.where(void, np.nan, count), 0, size, name)
        for count, name in zip(counts, ("viridis", "viridis", "Reds"), strict=True)
    ]


class _Kept(NamedTuple):
    rank: float  # a heap's smallest leaves first
    number: int  # breaks ties by order of arrival; arrays cannot be compared
    image_id: str
    score: float
    picture: np.ndarray  # (y, 4 * x + gaps, 4) uint8


class TilePictures:
    """Keeps the few best and worst tiles of an evaluation, small, and writes them.

    Args:
        paint: Makes the panels beside the image.
        num_best: Best tiles to keep.
        num_worst: Worst tiles to keep.
        bands: Band names, by which the colour composite is chosen.
        max_side_px: Larger tiles are thinned to this side.
    """

    def __init__(
        self,
        paint: Painter,
        *,
        num_best: int = 4,
        num_worst: int = 8,
        bands: Sequence[str] = (),
        max_side_px: int = 256,
    ) -> None:
        self._paint_panels = paint
        self._bands = tuple(bands)
        self._max_side_px = max_side_px
        self._room = {"worst": num_worst, "best": num_best}
        self._kept: dict[str, list[_Kept]] = {"worst": [], "best": []}
        self._number = 0

    def add(
        self,
        image_id: str,
        score: float,
        image: np.ndarray,
        y_true: np.ndarray,
        y_pred: np.ndarray,
    ) -> None:
        """Offers a tile, which is kept while it is among the best or the worst.

        Args:
            image_id: Shown with the picture.
            score: The higher the better, e.g. the tile's mean IoU.
            image: ``(y, x, band)``, any units.
            y_true: As the painter takes it, such as class codes ``(y, x)`` with void.
            y_pred: Likewise.
        """
        self._number += 1
        picture = None
        for kind, rank in (("worst", -score), ("best", score)):
            heap, room = self._kept[kind], self._room[kind]
            if room < 1 or (len(heap) == room and rank <= heap[0].rank):
                continue
            if picture is None:
                picture = self._paint(image, y_true, y_pred)
            entry = _Kept(rank, -self._number, image_id, score, picture)
            if len(heap) < room:
                heapq.heappush(heap, entry)
            else:
                heapq.heapreplace(heap, entry)

    def write(self, folder: str | os.PathLike) -> list[dict[str, Any]]:
        """Writes the pictures as PNG, and ``pictures.json`` that lists them.

        Args:
            folder: Folder of the pictures; those of an earlier evaluation go.

        Returns:
            One entry a picture, worst first, then best: ``file``, ``kind``,
            ``image_id``, ``score``.
        """
        from PIL import Image

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for stale in (*folder.glob("worst_*.png"), *folder.glob("best_*.png")):
            stale.unlink()
        entries = []
        for kind, tiles in self._ordered().items():
            for place, tile in enumerate(tiles, start=1):
                name = re.sub(r"[^\w.-]+", "_", tile.image_id)[:60]
                file = f"{kind}_{place:02d}_{name}.png"
                with atomic_path(folder / file) as part:
                    Image.fromarray(tile.picture).save(part, optimize=True)
                entries.append(
                    {
                        "file": file,
                        "kind": kind,
                        "image_id": tile.image_id,
                        "score": tile.score,
                    }
                )
        write_json(folder / INDEX_NAME, entries)
        return entries

    def _ordered(self) -> dict[str, list[_Kept]]:
        """Orders both groups; of few tiles, each stands under one heading only."""
        half = -(-self._number // 2)
        worst = sorted(self._kept["worst"], reverse=True)[:half]
        shown = {tile.number for tile in worst}
        best = sorted(self._kept["best"], reverse=True)
        return {"worst": worst, "best": [t for t in best if t.number not in shown]}

    def _paint(
        self, image: np.ndarray, y_true: np.ndarray, y_pred: np.ndarray
    ) -> np.ndarray:
        step = max(1, -(-max(y_true.shape[:2]) // self._max_side_px))
        image, y_true, y_pred = (a[::step, ::step] for a in (image, y_true, y_pred))
        panels = [
            paint_input(image, self._bands),
            *self._paint_panels(y_true, y_pred),
        ]
        # Transparent between the panels: the page may be light or dark.
        gap = np.zeros((len(y_true), max(2, y_true.shape[1] // 32), 4), np.uint8)
        opaque = np.full((*y_true.shape[:2], 1), 255, np.uint8)
        spaced = [
            part
            for panel in panels
            for part in (np.concatenate([panel, opaque], axis=-1), gap)
        ]
        return np.concatenate(spaced[:-1], axis=1)
