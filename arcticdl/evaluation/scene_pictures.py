"""The worst and the median whole scene as pictures: map beside truth and input."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arcticdl.evaluation.pictures import PANELS, Painter, paint_input, value_limits
from arcticdl.files import atomic_path, write_json

SCENES_NAME = "scenes.json"
_ROOM = 48  # scenes; more of them are drawn from by chance, so that memory stays


class _Scene(NamedTuple):
    score: float
    panels: list[np.ndarray]  # (y, x, 3) uint8
    limits: tuple[float, float] | None  # of the colours, where truth is a quantity
    step: int  # of the pixels shown


class ScenePictures:
    """Keeps whole scenes, small, and writes the worst and the median one.

    Args:
        paint: Makes the panels beside the input.
        bands: Band names, by which the colour composite is chosen.
        max_side_px: Larger scenes are thinned to this side, never smoothed.
        room: Scenes kept. Of more the worst stays, and the others by chance.
        seed: Of that chance.
    """

    def __init__(
        self,
        paint: Painter,
        *,
        bands: tuple[str, ...] = (),
        max_side_px: int = 480,
        room: int = _ROOM,
        seed: int = 0,
    ) -> None:
        self._paint, self._bands = paint, bands
        self._max_side_px, self._room = max_side_px, room
        self._rng = np.random.default_rng(seed)
        self._scores: list[float] = []
        self._kept: dict[str, _Scene] = {}

    def add(
        self,
        scene_id: str,
        score: float,
        image: np.ndarray,
        y_true: np.ndarray,
        y_pred: np.ndarray,
        valid: np.ndarray,
    ) -> None:
        """Offers a scene.

        Args:
            scene_id: Its name.
            score: The higher the better.
            image: ``(y, x, band)``, any units.
            y_true: As the painter takes it.
            y_pred: Likewise.
            valid: Boolean ``(y, x)``; what is not is shown as void.
        """
        self._scores.append(score)
        step = max(1, -(-max(valid.shape) // self._max_side_px))
        image, y_true, y_pred, valid = (
            part[::step, ::step] for part in (image, y_true, y_pred, valid)
        )
        panels = [paint_input(image, self._bands, valid), *self._paint(y_true, y_pred)]
        is_quantity = np.issubdtype(y_true.dtype, np.floating)
        limits = value_limits(y_true) if is_quantity else None
        self._kept[scene_id] = _Scene(score, panels, limits, step)
        if len(self._kept) > self._room:
            others = sorted(self._kept.keys() - {self._worst()})
            del self._kept[others[self._rng.integers(len(others))]]

    def write(self, folder: str | os.PathLike) -> list[dict[str, Any]]:
        """Writes the panels of the worst and the median scene as PNG.

        Args:
            folder: Folder of the pictures; those of an earlier evaluation go.

        Returns:
            One entry a scene, as in ``scenes.json``: ``kind`` (``worst`` or
            ``median``), ``image_id``, ``score``, ``median`` (of all scenes), ``limits``
            of a quantity's colours, ``step`` (every how manieth pixel is shown) and
            ``files`` by panel. The median scene is the one nearest to the median score;
            it is left out where that is the worst.
        """
        from PIL import Image

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("scene_*.png"):
            stale.unlink()
        entries = []
        for kind, name in self._chosen().items():
            scene = self._kept[name]
            files = {}
            for panel, pixels in zip(PANELS, scene.panels, strict=True):
                clean = re.sub(r"[^\w.-]+", "_", name)[:60]
                files[panel] = f"scene_{kind}_{clean}_{panel}.png"
                with atomic_path(folder / files[panel]) as part:
                    Image.fromarray(pixels).save(part, optimize=True)
            told = {"kind": kind, "image_id": name, "score": scene.score}
            told |= {"median": float(np.median(self._scores)), "limits": scene.limits}
            entries.append(told | {"step": scene.step, "files": files})
        write_json(folder / SCENES_NAME, entries)
        return entries

    def _worst(self) -> str:
        return min(self._kept, key=lambda name: (self._kept[name].score, name))

    def _chosen(self) -> dict[str, str]:
        if not self._kept:
            return {}
        worst, middle = self._worst(), float(np.median(self._scores))
        median = min(
            self._kept, key=lambda n: (abs(self._kept[n].score - middle), n == worst, n)
        )
        return {"worst": worst} | ({} if median == worst else {"median": median})
