"""What evaluations of any kind keep of each image; which of its pixels count."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.evaluation.pictures import Painter, TilePictures
from arcticdl.evaluation.scene_pictures import ScenePictures
from arcticdl.metrics.intervals import interval_of

_INTERVAL_OF = ("mean", "median")


class ImageEvaluation:
    """Base of the evaluations: further numbers of each image, and pictures of tiles.

    Args:
        paint: Makes the panels beside a tile's image.
        bands: Band names of the images, by which their composite is chosen.
        num_pictures: How many of the worst tiles to keep as pictures, and half as many
            of the best; 0 keeps none.
        num_resamples: Bootstrap resamples of images behind the intervals.
        seed: Seed of the bootstrap.

    Attributes:
        within: The ``StrataWithin`` of whole scenes that were scored by some; else
            ``None``.
        instances: The ``InstanceScores`` of objects that were scored one by one; else
            ``None``.
    """

    def __init__(
        self,
        paint: Painter,
        *,
        bands: Sequence[str],
        num_pictures: int,
        num_resamples: int,
        seed: int,
    ) -> None:
        self.num_resamples, self.seed = num_resamples, seed
        self.within: Any = None
        self.instances: Any = None
        self._num_void = 0
        self._extras: dict[str, list[dict[str, float | None]]] = {}
        self._scenes = ScenePictures(paint, bands=tuple(bands), seed=seed)
        self._pictures = TilePictures(
            paint,
            num_worst=num_pictures,
            num_best=num_pictures // 2,
            bands=bands,
        )

    def write_pictures(self, folder: str | os.PathLike) -> list[dict[str, Any]]:
        """Writes the best and worst tiles as PNG; see `TilePictures.write`."""
        return self._pictures.write(folder)

    def write_scenes(self, folder: str | os.PathLike) -> list[dict[str, Any]]:
        """Writes the worst and the median scene as PNG; see `ScenePictures.write`."""
        return self._scenes.write(folder)

    def show(
        self,
        image_id: str,
        y_true: np.ndarray,
        prediction: np.ndarray,
        image: np.ndarray,
        valid: np.ndarray,
    ) -> None:
        """Offers a whole scene, once all of it is scored, to be shown.

        Args:
            image_id: As of `add`.
            y_true: As of `add`.
            prediction: As of `add`.
            image: ``(y, x, band)``, any units.
            valid: Boolean ``(y, x)``.
        """
        score = self._score_of(image_id)
        if not np.isnan(score):
            shown = self._shown(y_true, prediction)
            self._scenes.add(image_id, score, image, *shown, valid)

    def _score_of(self, image_id: str) -> float:
        """Score of an image, the higher the better; NaN: nothing of it is scored."""
        raise NotImplementedError

    def _shown(
        self, y_true: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Truth and answer as the pictures have them."""
        raise NotImplementedError

    def _note(
        self, image_id: str, num_void: int, extra: Mapping[str, float | None] | None
    ) -> None:
        """Counts void, and keeps further numbers of an image's tile."""
        self._num_void += num_void
        self._extras.setdefault(image_id, []).append(
            {
                str(name): float(v) if v is not None and np.isfinite(v) else None
                for name, v in (extra or {}).items()
            }
        )

    def _offer_picture(
        self,
        image_id: str,
        picture_id: str | None,
        score: float,
        *panels: np.ndarray,
    ) -> None:
        """Offers a tile's image, truth and prediction; kept among best and worst."""
        name = image_id if picture_id is None else f"{image_id}, tile {picture_id}"
        self._pictures.add(name, score, *panels)

    def _extra_of(self, image_id: str) -> dict[str, float | None]:
        """An image's further numbers, averaged over its tiles."""
        found: dict[str, list[float]] = {}
        for extra in self._extras[image_id]:
            for name, value in extra.items():
                found.setdefault(name, []).extend([] if value is None else [value])
        return {name: float(np.mean(v)) if v else None for name, v in found.items()}

    def _extra_summary(self) -> dict[str, Any]:
        """Mean and median of each further number over images, with intervals."""
        by_image = [self._extra_of(image_id) for image_id in self._extras]
        names = dict.fromkeys(name for extra in by_image for name in extra)
        return {n: self._summary([e.get(n) for e in by_image]) for n in names}

    def _summary(self, values: Sequence[float | None]) -> dict[str, Any]:
        found = np.array([v for v in values if v is not None], float)
        summary: dict[str, Any] = {
            "num_images": len(found),
            "num_missing": len(values) - len(found),
            "mean": float(found.mean()) if found.size else None,
            "median": float(np.median(found)) if found.size else None,
            "intervals": {},
        }
        if len(found) > 1:
            rng = np.random.default_rng(self.seed)
            drawn = rng.choice(found, size=(self.num_resamples, len(found)))
            for name in _INTERVAL_OF:
                resampled = getattr(np, name)(drawn, axis=1)
                summary["intervals"][name] = interval_of(resampled)
        return summary


def check_same(result: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses to pool evaluations of different things.

    Raises:
        ValueError: A value differs.
    """
    for key, value in wanted.items():
        if result.get(key) != value:
            raise ValueError(
                f"Evaluations must share their {key} to be pooled. "
                f"Received: {result.get(key)!r} and {value!r}."
            )


def counted_pixels(
    scene_ids: Sequence[str],
    rows: Sequence[int],
    columns: Sequence[int],
    tile_size_px: int | tuple[int, int],
) -> Iterator[np.ndarray]:
    """Yields for each tile the pixels that no earlier tile of its scene holds.

    Tiles overlap where a plan asks for it, and at a scene's far edges, where the last
    tile is shifted back. Counting such pixels twice would weigh edges double.

    Args:
        scene_ids: The scene of each tile.
        rows: First row of each tile in its scene, in px.
        columns: First column of each tile in its scene, in px.
        tile_size_px: Side of a tile, or its (rows, columns), in px.

    Yields:
        Boolean ``(y, x)``, ``True`` where the pixel counts; one a tile, in order.

    Example:
        >>> masks = list(counted_pixels(["a", "a"], [0, 0], [0, 3], tile_size_px=4))
        >>> [int(mask.sum()) for mask in masks]
        [16, 12]
    """
    check_names(scene_ids=scene_ids)
    size = np.broadcast_to(tile_size_px, 2)
    # Corners by scene and cell: who overlaps begins in the same or the next cell.
    corners: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
    for scene_id, row, column in zip(scene_ids, rows, columns, strict=True):
        mask = np.ones(size, bool)
        corner, cell = (int(row), int(column)), (row // size[0], column // size[1])
        near = [(cell[0] + i, cell[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        earlier = [c for place in near for c in corners.get((scene_id, *place), ())]
        offsets = np.array(earlier, int).reshape(-1, 2) - corner
        for down, right in offsets[(np.abs(offsets) < size).all(axis=1)]:
            mask[_span(down, size[0]), _span(right, size[1])] = False
        corners.setdefault((scene_id, *cell), []).append(corner)
        yield mask


def num_counted(shape: Sequence[int], counted: np.ndarray | None) -> int:
    """How many pixels of a tile count, void ones among them.

    Args:
        shape: Of the tile's label, ``(y, x, ...)``.
        counted: Boolean ``(y, x)``, ``False`` where another tile has counted the pixel;
            ``None``: all count.
    """
    return shape[0] * shape[1] if counted is None else int(np.sum(counted))


def rows_by_name(names: Sequence[str] | np.ndarray) -> dict[str, np.ndarray]:
    """Positions at which each name stands, names sorted.

    Example:
        >>> {n: rows.tolist() for n, rows in rows_by_name(["b", "a", "b"]).items()}
        {'a': [1], 'b': [0, 2]}
    """
    known, code = np.unique(np.asarray(names, str), return_inverse=True)
    order = np.argsort(code, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(code, minlength=len(known)))[:-1])
    return {str(name): rows for name, rows in zip(known, parts, strict=False)}


def _span(offset: int, size: int) -> slice:
    return slice(max(offset, 0), min(size + offset, size))
