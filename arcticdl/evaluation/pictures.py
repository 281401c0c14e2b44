"""The best and the worst tiles as pictures: image, label, prediction, errors."""

import heapq
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arcticdl.plots.maps import class_rgb, composite_rgb
from arcticdl.plots.style import PALETTE

INDEX_NAME = "pictures.json"
PANELS = ("image", "label", "prediction", "errors")
CORRECT_COLOR, WRONG_COLOR = "#d9dee3", PALETTE[1]


class _Kept(NamedTuple):
    rank: float  # a heap's smallest leaves first
    number: int  # breaks ties by order of arrival; arrays cannot be compared
    image_id: str
    score: float
    picture: np.ndarray  # (y, 4 * x + gaps, 4) uint8


class TilePictures:
    """Keeps the few best and worst tiles of an evaluation, small, and writes them.

    Args:
        colors: One colour a class.
        num_best: Best tiles to keep.
        num_worst: Worst tiles to keep.
        bands: Band names, by which the colour composite is chosen.
        void_class: Code of void pixels.
        max_side_px: Larger tiles are thinned to this side.
    """

    def __init__(
        self,
        colors: Sequence[str],
        *,
        num_best: int = 4,
        num_worst: int = 8,
        bands: Sequence[str] = (),
        void_class: int = 255,
        max_side_px: int = 256,
    ) -> None:
        self._colors = tuple(colors)
        self._bands = tuple(bands)
        self._void_class = void_class
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
            y_true: Class codes ``(y, x)`` with void.
            y_pred: Class codes ``(y, x)``.
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
                Image.fromarray(tile.picture).save(folder / file, optimize=True)
                entries.append(
                    {
                        "file": file,
                        "kind": kind,
                        "image_id": tile.image_id,
                        "score": tile.score,
                    }
                )
        (folder / INDEX_NAME).write_text(json.dumps(entries, indent=1))
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
        step = max(1, -(-max(y_true.shape) // self._max_side_px))
        image, y_true, y_pred = (a[::step, ::step] for a in (image, y_true, y_pred))
        void = y_true == self._void_class
        wrong = np.where(void, 2, (y_true != y_pred).astype(int))
        panels = [
            composite_rgb(self._named(image)),
            class_rgb(y_true, self._colors, void_class=self._void_class),
            class_rgb(y_pred, self._colors, void_class=self._void_class),
            class_rgb(wrong, (CORRECT_COLOR, WRONG_COLOR), void_class=2),
        ]
        # Transparent between the panels: the page may be light or dark.
        gap = np.zeros((len(y_true), max(2, y_true.shape[1] // 32), 4), np.uint8)
        opaque = np.full((*y_true.shape, 1), 255, np.uint8)
        spaced = [
            part
            for panel in panels
            for part in (np.concatenate([panel, opaque], axis=-1), gap)
        ]
        return np.concatenate(spaced[:-1], axis=1)

    def _named(self, image: np.ndarray) -> Any:
        image = np.atleast_3d(image)
        if len(self._bands) != image.shape[-1]:
            return image
        import xarray as xr

        coords = {"band": list(self._bands)}
        return xr.DataArray(image, dims=("y", "x", "band"), coords=coords)
