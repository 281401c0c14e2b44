"""Detectors made ready, and the objects that they find in scenes of any size."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.boxes import box_edges, order_sides
from arcticdl.errors import TaskError
from arcticdl.inference.forward import xla_helps
from arcticdl.inference.objects.merge import (
    Found,
    Seen,
    join,
    merge_windows,
    none_seen,
)
from arcticdl.inference.predictor import (
    AnyModel,
    choose_bands,
    choose_normalizer,
    in_common,
    load_all,
    window_size,
)
from arcticdl.inference.strips import Strip, read_strips
from arcticdl.models.detection.select import DecodeBoxes
from arcticdl.progress import track
from arcticdl.scene import BandStats, check_scene, scene_band_stats
from arcticdl.tiles import Normalizer
from arcticdl.void import mark_shown

_EDGE_PX = 2.0  # a box that ends so near to its window's edge may go on beyond it


class Finder:
    """A detector, ready to find objects in any number of scenes.

    Args:
        model: A Keras model that finds objects, or the path of a ``.keras`` file.
        normalizer: Scaling of the bands; default: the one in the model's card.
        tile_size_px: Window, in px, one number or (rows, columns); default: the card's.
        overlap_px: Pixels that neighbouring windows share; default: a quarter. It
            should be as long as the longest object, so that one of them sees it whole.
        batch_size: Windows in one call of the model.
        min_score: Least score of an object, 0-1.
        max_overlap: Intersection over union that two objects of a class may have, 0-1.
        max_objects: Most objects of a window.

    Attributes:
        head: What the model answers.
        window: (rows, columns) of a window, in px.

    Raises:
        TaskError: The model answers with maps, or for whole images.
        ValueError: Several models, no normaliser, or a number out of range.
        FileNotFoundError: A path without a file.
    """

    def __init__(
        self,
        model: AnyModel,
        *,
        normalizer: Normalizer | None = None,
        tile_size_px: int | tuple[int, int] | None = None,
        overlap_px: int | None = None,
        batch_size: int = 4,
        min_score: float = 0.05,
        max_overlap: float = 0.5,
        max_objects: int = 100,
    ) -> None:
        models = load_all(model)
        if len(models) > 1:
            raise ValueError(
                "Objects are found by one model: boxes of several have no mean. "
                f"Received: {len(models)} models."
            )
        self.card, heads = in_common(models)
        kinds = {name: head.task for name, head in heads.items()}
        if len(heads) != 1 or next(iter(heads.values())).spec.kind != "boxes":
            raise TaskError(
                "`find_objects` needs a model that finds objects; `predict_scene` and "
                f"`predict_images` are for the others. Received: {kinds}."
            )
        ((self.name, self.head),) = heads.items()
        self.normalizer = choose_normalizer(normalizer, self.card)
        self.window = window_size(tile_size_px, self.card)
        self.overlap_px = min(self.window) // 4 if overlap_px is None else overlap_px
        if not 0 <= self.overlap_px < min(self.window):
            raise ValueError(
                "`overlap_px` must be at least 0 and smaller than a window. Received: "
                f"overlap_px={overlap_px}, window {self.window}."
            )
        self.batch_size, self.max_overlap = batch_size, max_overlap
        decode = DecodeBoxes(
            oriented=self.head.spec.oriented,
            max_boxes=max_objects,
            min_score=min_score,
            max_overlap=max_overlap,
            candidates=max(4 * max_objects, 400),
        )
        (whole,) = models
        self._twin = keras.Model(whole.input, decode(whole.outputs[0]))
        self._twin.compile(jit_compile=xla_helps())

    def prepare(
        self, scene: xr.Dataset, image_stats: BandStats | None = None
    ) -> tuple[xr.Dataset, BandStats | None]:
        """A checked scene with the card's bands, and its statistics where needed.

        Raises:
            SceneError: The scene breaks its contract.
            BandNotFoundError: It lacks a band of the card.
        """
        scene = choose_bands(check_scene(scene), self.card)
        if image_stats is None and self.normalizer.needs_image_stats:
            image_stats = scene_band_stats(scene)
        return scene, image_stats

    def answer(
        self, image: NDArray[Any], valid: NDArray[np.bool_], stats: BandStats | None
    ) -> NDArray[np.float32]:
        """Detections of windows, ``(n, max_objects, 7)``; see ``select_boxes``."""
        scaled = mark_shown(self.normalizer(image, valid, stats), valid)
        short = self.batch_size - len(scaled)
        filled = np.pad(scaled, [(0, short), (0, 0), (0, 0), (0, 0)])
        found = np.asarray(self._twin.predict_on_batch(filled))[: len(scaled)]
        if not np.isfinite(found).all():
            raise ValueError(
                "The network's answer must be finite: it diverged in training, or its "
                "input is of another scale."
            )
        return found


def find_objects(
    model: AnyModel | Finder,
    scene: xr.Dataset,
    *,
    image_stats: BandStats | None = None,
    progress: bool = True,
    **options: Any,
) -> Found:
    """Finds the objects of a scene of any size.

    Overlapping windows are read row by row; what two of them see is told apart by
    ``merge_windows``. Of pixels no more than three rows of windows are in memory, of
    objects those of all windows.

    Args:
        model: A detector, a ``.keras`` file, or a ``Finder`` that is ready.
        scene: A Scene.
        image_stats: Statistics of the whole scene, for a per-image normaliser.
        progress: Whether to show a progress bar.
        **options: As of ``Finder``, where `model` is none yet.

    Returns:
        The objects by falling score, in pixels of the scene.

    Raises:
        TaskError: The model finds no objects.
        ValueError: As of ``Finder``, or all pixels are nodata.

    Example:
        ``find_objects("runs/seals/fold0/model.keras", open_scene("photo.jpg"))``
    """
    finder = model if isinstance(model, Finder) else Finder(model, **options)
    scene, stats = finder.prepare(scene, image_stats)
    waiting, done = none_seen(), []
    cells = _Cells((scene.sizes["y"], scene.sizes["x"]))
    strips = _strips(finder, scene, stats)
    count = len(_starts(scene.sizes["y"], finder, 0))
    for strip, seen in track(strips, "find", count, shown=progress):
        cells.add(strip)
        waiting = join([waiting, seen])
        waiting = waiting.take(merge_windows(waiting, finder.max_overlap))
        # What lies above the rows that the next strip can see is settled.
        above = box_edges(waiting.boxes)[:, 3] < strip.top
        done.append(waiting.take(above))
        waiting = waiting.take(~above)
    if not cells.valid_px.any():
        raise ValueError("The scene holds no valid pixel, so nothing can be found.")
    seen = join([*done, waiting])
    order = np.argsort(-seen.scores, kind="stable")
    boxes, scores = seen.boxes[order], seen.scores[order]
    return Found(boxes, scores, cells.valid_px, cells.side)


class _Cells:
    """Valid pixels of a scene's cells, of which the longer side has 64 at most."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.side = -(-max(shape) // 64)
        rows, columns = (-(-length // self.side) for length in shape)
        self.valid_px = np.zeros((rows, columns), np.int64)
        self._next = 0

    def add(self, strip: Strip) -> None:
        """Counts the rows of a strip that none before it had."""
        fresh = strip.valid[max(self._next - strip.top, 0) :]
        starts = np.arange(0, fresh.shape[1], self.side)
        for number, row in enumerate(np.add.reduceat(fresh.astype(int), starts, 1)):
            self.valid_px[(self._next + number) // self.side] += row
        self._next += len(fresh)


def _strips(
    finder: Finder, scene: xr.Dataset, stats: BandStats | None
) -> Iterator[tuple[Strip, Seen]]:
    """Rows of windows, with what they see in pixels of the scene."""
    shape = (scene.sizes["y"], scene.sizes["x"])
    tops, lefts = (_starts(shape[axis], finder, axis) for axis in (0, 1))
    number = 0
    for strip in read_strips(scene, tops, finder.window[0]):
        seen = [none_seen()]
        for first in range(0, len(lefts), finder.batch_size):
            chosen = lefts[first : first + finder.batch_size]
            windows = [_window(strip, left, finder.window) for left in chosen]
            shown = [k for k, (_, valid) in enumerate(windows) if valid.any()]
            if not shown:
                continue
            image, valid = (np.stack([windows[k][i] for k in shown]) for i in (0, 1))
            for k, rows in zip(shown, finder.answer(image, valid, stats), strict=True):
                place = (strip.top, chosen[k])
                number += 1
                seen.append(_placed(rows, windows[k][1], place, shape, finder, number))
        yield strip, join(seen)


def _window(
    strip: Strip, left: int, size_px: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A window; what leaves the scene is invalid, lest mirrored objects be found."""
    image, valid = strip.window(left, size_px)
    height, width = strip.valid[:, left : left + size_px[1]].shape
    valid = valid.copy()
    valid[height:], valid[:, width:] = False, False
    return image, valid


def _placed(
    rows: NDArray[np.float32],
    valid: NDArray[np.bool_],
    place: tuple[int, int],
    shape: tuple[int, int],
    finder: Finder,
    number: int,
) -> Seen:
    """What a window found, in pixels of the scene, without what others see better."""
    rows = rows[rows[:, 5] > 0]
    boxes = np.concatenate([rows[:, :5], rows[:, 6:7]], axis=1, dtype=np.float64)
    if finder.head.spec.oriented:
        boxes = order_sides(boxes)
    size = valid.shape
    column, row = (np.clip(boxes[:, k].astype(int), 0, size[1 - k] - 1) for k in (0, 1))
    inside = valid[row, column] if len(boxes) else np.zeros(0, bool)
    low, high = np.split(box_edges(boxes), 2, axis=-1)
    cut, whole = np.zeros(len(boxes), bool), inside
    margin = finder.overlap_px / 4
    for axis, start in ((0, place[1]), (1, place[0])):
        extent, end = size[1 - axis], shape[1 - axis]
        if start > 0:
            cut |= low[:, axis] < _EDGE_PX
            whole = whole & (boxes[:, axis] >= margin)
        if start + extent < end:
            cut |= high[:, axis] > extent - _EDGE_PX
            whole = whole & (boxes[:, axis] <= extent - margin)
    boxes[:, 0] += place[1]
    boxes[:, 1] += place[0]
    window = np.full(len(boxes), number, np.int64)
    scores = np.asarray(rows[:, 5], np.float64)
    return Seen(boxes, scores, cut, window).take(whole)


def _starts(length: int, finder: Finder, axis: int) -> list[int]:
    """First pixels of windows along an axis; the last one ends with the scene."""
    size = finder.window[axis]
    step = size - finder.overlap_px
    starts = list(range(0, max(length - size, 0) + 1, step))
    if starts[-1] + size < length:
        starts.append(length - size)
    return starts
