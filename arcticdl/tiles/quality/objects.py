"""What is wrong with the boxes of a store, and pictures of some."""

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arcticdl.boxes import IGNORE, box_iou, inside_share, is_object
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.quality.finding import Finding

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore

TINY_PX = 4.0
"""A shorter side is less than one cell of the finest level that detectors look at."""

SAME_IOU = 0.9
"""Boxes of one class that overlap more are one object marked twice."""

_SHOWN = 8


def box_findings(store: "TileStore", name: str) -> Iterable[Finding]:
    """What the boxes of a label say of themselves.

    Args:
        store: The store.
        name: Of a label of boxes.
    """
    info = store.labels[name]
    checks = {
        "box_twice": (_twice, "warning", "are marked twice: the same class, overlapping"
                      f" by more than {SAME_IOU:g}"),
        "tiny_box": (_tiny, "warning", f"have a side below {TINY_PX:g} px"),
        "cut_box": (_cut, "note", "reach beyond their image"),
        "ignored_box": (_ignored, "note", "are ignored in their files"),
    }  # fmt: skip
    boxes = {s: store.scene_boxes(name, s, cut=False) for s in store.scenes}
    total = sum(len(rows) for rows in boxes.values())
    for check, (find, severity, says) in checks.items():
        shapes = {scene: store.scenes[scene]["shape_px"] for scene in boxes}
        found = {s: int(find(rows, shapes[s]).sum()) for s, rows in boxes.items()}
        count = sum(found.values())
        if count:
            scenes = tuple(scene for scene, number in found.items() if number)[:100]
            message = f"{count} of {total} boxes of label {name!r} {says}."
            yield Finding(check, severity, "quality", message, scenes=scenes)
    yield from _empty_findings(store, info)


def _empty_findings(store: "TileStore", info: LabelInfo) -> Iterable[Finding]:
    empty = int((store.scored_counts(info.name) == 0).sum())
    if empty:
        message = (
            f"{empty} of {len(store)} tiles hold no object of label {info.name!r}: "
            "they teach what is none."
        )
        yield Finding("no_object", "note", "quality", message)


def box_thumbnails(store: "TileStore", name: str) -> tuple[str, str] | None:
    """Some tiles with their boxes, those with most objects of each scene first.

    Returns:
        A caption, and the PNG in base64; ``None`` where nothing can be shown.
    """
    counts = store.scored_counts(name)
    if not store.keeps_pixels or not counts.any():
        return None
    from arcticdl.plots import figure_png, show_tiles

    order = np.argsort(-counts, kind="stable")
    scenes = store.manifest["scene_id"].to_numpy()[order]
    first = np.sort(np.unique(scenes, return_index=True)[1])
    rest = np.setdiff1d(np.arange(len(order)), first)
    chosen = order[np.concatenate([first, rest])][:_SHOWN]
    chosen = chosen[counts[chosen] > 0]
    figure = show_tiles(store, chosen.tolist(), label=name)
    caption = f"Tiles with boxes of {name!r}, as the network is taught them."
    return caption, base64.b64encode(figure_png(figure, dpi=90)).decode("ascii")


def _twice(boxes: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Boxes that repeat an earlier one of their class."""
    if len(boxes) < 2:
        return np.zeros(len(boxes), bool)
    same = boxes[:, 5][:, None] == boxes[:, 5]
    close = (box_iou(boxes, boxes) > SAME_IOU) & same
    return np.tril(close, -1).any(1) & is_object(boxes)


def _tiny(boxes: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(boxes[:, 2:4].min(1, initial=np.inf) < TINY_PX)


def _cut(boxes: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    return inside_share(boxes, (shape[0], shape[1])) < 1 - 1e-6


def _ignored(boxes: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(boxes[:, 5] == IGNORE)
