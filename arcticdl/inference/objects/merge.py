"""What several windows have found, made one: by where they see whole, and overlap."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from arcticdl.boxes import box_edges, box_iou

COVERED = 0.7
"""Share of a box cut by its window's edge which, inside a better one, makes it a part
of that."""


class Found(NamedTuple):
    """Objects of a scene.

    Attributes:
        boxes: float64 ``(n, 6)`` in pixels of the scene; see ``arcticdl.boxes``.
        scores: float64 ``(n,)`` in 0-1.
        valid_px: int64 ``(row, column)``, valid pixels of each cell of the scene.
        cell_px: Side of such a cell, in px.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    valid_px: NDArray[np.int64]
    cell_px: int

    def above(self, score: float) -> "Found":
        """Those of at least a score."""
        kept = self.scores >= score
        return self._replace(boxes=self.boxes[kept], scores=self.scores[kept])


class Seen(NamedTuple):
    """Objects as windows saw them.

    Attributes:
        boxes: As of ``Found``.
        scores: As of ``Found``.
        cut: bool ``(n,)``, whether the box reaches an edge of its window inside the
            scene, so that the object may go on beyond it.
        window: int64 ``(n,)``, number of the window.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    cut: NDArray[np.bool_]
    window: NDArray[np.int64]

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Seen":
        """The chosen ones."""
        chosen: Any = (values[index] for values in self)
        return Seen(*chosen)


def none_seen() -> Seen:
    """Nothing at all."""
    return Seen(np.zeros((0, 6)), np.zeros(0), np.zeros(0, bool), np.zeros(0, np.int64))


def join(parts: list[Seen]) -> Seen:
    """Puts the objects of several windows together."""
    joined: Any = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Seen(*joined)


def merge_windows(seen: Seen, max_overlap: float) -> NDArray[np.bool_]:
    """Says which objects stay, of those that overlapping windows have seen.

    Objects are taken by falling score, those that no window's edge cuts first. One goes
    if a box of its class from another window that stays overlaps it by more than
    ``max_overlap`` of their union; or if it is cut, and one that stays covers most of
    it. Within a window the network's own suppression has decided already.

    Args:
        seen: Objects in pixels of the scene.
        max_overlap: Intersection over union that two objects of a class may have.

    Returns:
        bool ``(n,)``.

    Example:
        >>> box = np.array([[8, 8, 4, 4, 0, 0], [9, 8, 4, 4, 0, 0]], float)
        >>> both = Seen(box, np.array([0.6, 0.9]), np.zeros(2, bool), np.array([0, 1]))
        >>> merge_windows(both, 0.5).tolist()
        [False, True]
    """
    count = len(seen.boxes)
    stays = np.ones(count, bool)
    if count < 2:
        return stays
    rivals = _rivals(seen)
    for one in np.lexsort((-seen.scores, seen.cut)).tolist():
        better = [k for k in rivals.get(one, ()) if k[1] and stays[k[0]]]
        if not better:
            continue
        others = seen.boxes[[k for k, _ in better]]
        box = seen.boxes[one : one + 1]
        same = (box_iou(box, others) > max_overlap).any()
        part = seen.cut[one] and (box_iou(box, others, over_first=True) > COVERED).any()
        stays[one] = not (same or part)
    return stays


def _rivals(seen: Seen) -> dict[int, list[tuple[int, bool]]]:
    """Near objects of the same class from other windows, and whether each is better."""
    low, high = np.split(box_edges(seen.boxes), 2, axis=-1)
    reach = 0.5 * np.hypot(*(high - low).T)
    tree = cKDTree(seen.boxes[:, :2])
    pairs = tree.query_pairs(2 * reach.max(), output_type="ndarray")
    one, other = pairs.T
    near = (low[one] < high[other]).all(-1) & (low[other] < high[one]).all(-1)
    near &= seen.boxes[one, 5] == seen.boxes[other, 5]
    near &= seen.window[one] != seen.window[other]
    place = np.empty(len(seen.boxes), np.int64)
    place[np.lexsort((-seen.scores, seen.cut))] = np.arange(len(place))
    found: dict[int, list[tuple[int, bool]]] = {}
    for a, b in pairs[near].tolist():
        found.setdefault(a, []).append((b, bool(place[b] < place[a])))
        found.setdefault(b, []).append((a, bool(place[a] < place[b])))
    return found
