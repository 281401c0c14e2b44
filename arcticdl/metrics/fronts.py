"""Calving fronts: from a probability map to one line, and the distance of two lines.

The front is one line across the glacier, so what is scored is not overlap but distance
(Mohajerani et al. 2019, doi 10.3390/rs11010074; Gourmelon et al. 2022,
doi 10.5194/essd-14-4287-2022).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from arcticdl.choices import check_choice
from arcticdl.metrics.lines import BoolArray, best_path, join_pieces, thin

_EIGHT = np.ones((3, 3), bool)
_METHODS = ("path", "skeleton")
_NUM_POINTS = 1000


def front_path(
    prob: ArrayLike,
    *,
    threshold: float = 0.5,
    max_gap_px: float = 20.0,
    min_length_px: int = 10,
) -> NDArray[np.int64]:
    """Traces the one front line of a probability map, from end to end.

    Pixels of at least `threshold` form pieces. Pieces are joined by the cheapest
    bridges over the map (cost ``1 - prob`` a pixel) that cost no more than
    `max_gap_px`, and thinned. The line is the path along them that gathers most
    probability for its length: side branches drop off, and lone blobs count only where
    they repay the bridge to them.

    Args:
        prob: Front probability ``(y, x)`` in [0, 1], or a boolean mask. NaN counts as
            0 (no data is no front).
        threshold: Probability from which a pixel is front, in (0, 1].
        max_gap_px: Dearest bridge between two pieces, in pixels of certainly no front.
        min_length_px: A shorter line is no front, and the result is empty.

    Returns:
        int64 ``(point, 2)``: row and column from one end to the other, neighbours in
        the sense of eight; ``(0, 2)`` where there is no front.

    Raises:
        ValueError: `prob` is no map of probabilities, or an option is out of range.
    """
    field = _check_prob(prob, threshold)
    pieces = field >= threshold
    if not pieces.any():
        return np.zeros((0, 2), np.int64)
    path = best_path(thin(join_pieces(field, pieces, max_gap_px)), field)
    return path if len(path) >= min_length_px else np.zeros((0, 2), np.int64)


def front_line(
    prob: ArrayLike,
    *,
    method: str = "path",
    threshold: float = 0.5,
    max_gap_px: float = 20.0,
    min_length_px: int = 10,
) -> BoolArray:
    """Draws the front of a probability map or a wide mask as a line of one pixel.

    Args:
        prob: Front probability ``(y, x)`` in [0, 1], or a boolean mask.
        method: ``"path"``: the single line of `front_path`. ``"skeleton"``: every
            piece thinned, pieces below `min_length_px` pixels dropped (keeps branches
            and gaps as they are).
        threshold: Probability from which a pixel is front.
        max_gap_px: As in `front_path`; ``"skeleton"`` bridges nothing.
        min_length_px: Shortest line or piece kept, in pixels.

    Returns:
        Boolean ``(y, x)``, all ``False`` where no front is found.

    Raises:
        ValueError: As `front_path`; or an unknown `method`.

    Example:
        >>> wide = np.zeros((9, 30))
        >>> wide[3:6] = 1.0
        >>> np.flatnonzero(front_line(wide)[:, 15]).tolist()
        [4]
    """
    check_choice("method", method, _METHODS)
    if method == "skeleton":
        line = thin(_check_prob(prob, threshold) >= threshold)
        labels, _ = ndimage.label(line, _EIGHT)
        sizes = np.bincount(labels.ravel())
        return line & (sizes[labels] >= min_length_px)
    path = front_path(
        prob, threshold=threshold, max_gap_px=max_gap_px, min_length_px=min_length_px
    )
    line = np.zeros(np.shape(prob), bool)
    line[path[:, 0], path[:, 1]] = True
    return line


def front_distance(
    pred_line: ArrayLike, true_line: ArrayLike, spacing: float = 1.0
) -> dict[str, Any]:
    """Measures how far two front lines lie apart.

    ``mean`` is the mean distance error of Gourmelon et al. (2022): each pixel of
    either line gives its distance to the nearest pixel of the other, and all these
    distances, of both directions, are averaged together. ``mean_matched`` follows
    Mohajerani et al. (2019): both lines are split into 1000 points at equal steps of
    arc length and the n-th point of one is compared with the n-th of the other; it also
    punishes a line that is too long or too short.

    Args:
        pred_line: Boolean ``(y, x)``, the predicted line, one pixel wide.
        true_line: Boolean ``(y, x)``, the true line, one pixel wide.
        spacing: Size of a pixel, so that distances come in its unit (metres); 1 gives
            pixels.

    Returns:
        ``empty`` (no predicted or no true pixel: every distance is then NaN, never 0),
        ``mean``, ``median``, ``max`` (Hausdorff distance), ``mean_pred_to_true``,
        ``mean_true_to_pred``, ``mean_matched``, ``num_pred``, ``num_true``.

    Raises:
        ValueError: The lines differ in shape, are not 2-D, or `spacing` is not above 0.

    Example:
        >>> a = np.zeros((9, 9), bool); b = a.copy(); a[2] = True; b[5] = True
        >>> front_distance(a, b, spacing=30.0)["mean"]
        90.0
    """
    pred, true = _check_lines(pred_line, true_line, spacing)
    points_pred, points_true = np.argwhere(pred), np.argwhere(true)
    result: dict[str, Any] = {
        "empty": not (len(points_pred) and len(points_true)),
        "num_pred": len(points_pred),
        "num_true": len(points_true),
    }
    if result["empty"]:
        return result | dict.fromkeys(_DISTANCES, float("nan"))
    forth = spacing * KDTree(points_true).query(points_pred)[0]
    back = spacing * KDTree(points_pred).query(points_true)[0]
    both = np.concatenate([forth, back])
    values = (
        both.mean(), np.median(both), both.max(), forth.mean(), back.mean(),
        spacing * matched_distance(pred, true),
    )  # fmt: skip
    return result | {k: float(v) for k, v in zip(_DISTANCES, values, strict=True)}


_DISTANCES = (
    "mean", "median", "max", "mean_pred_to_true", "mean_true_to_pred", "mean_matched",
)  # fmt: skip


def matched_distance(pred_line: BoolArray, true_line: BoolArray) -> float:
    """Compares two lines point by point at 1000 equal shares of their arc length.

    The order of a line's points comes from its longest path; of the two directions the
    closer one counts (Mohajerani et al. 2019).

    Args:
        pred_line: Boolean ``(y, x)``.
        true_line: Boolean ``(y, x)``.

    Returns:
        Mean distance in pixels; NaN if a line is empty.
    """
    paths = [best_path(thin(np.asarray(line, bool))) for line in (pred_line, true_line)]
    if not all(len(path) for path in paths):
        return float("nan")
    pred, true = (_resample(path) for path in paths)
    return float(
        min(np.linalg.norm(pred - other, axis=1).mean() for other in (true, true[::-1]))
    )


def pooled_front_distance(distances: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Pools the results of `front_distance` over images, as CaFFe reports them.

    Args:
        distances: Results of `front_distance`, all with the same `spacing`.

    Returns:
        ``mean_pooled``: the mean over all line pixels of all images (the mean distance
        error of Gourmelon et al. 2022); ``mean``, ``median``: over the images' means;
        ``num_images``, ``num_empty``: images in all, and those without a predicted or
        a true line, which the means leave out and which must be reported beside them.
    """
    items = list(distances)
    found = [item for item in items if not item["empty"]]
    result = {"num_images": len(items), "num_empty": len(items) - len(found)}
    if not found:
        return result | dict.fromkeys(("mean_pooled", "mean", "median"), float("nan"))
    means = np.array([item["mean"] for item in found])
    weights = np.array([item["num_pred"] + item["num_true"] for item in found])
    return result | {
        "mean_pooled": float(np.average(means, weights=weights)),
        "mean": float(means.mean()),
        "median": float(np.median(means)),
    }


def _resample(path: NDArray[np.int64]) -> NDArray[np.float64]:
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0.0, arc[-1], _NUM_POINTS)
    return np.stack([np.interp(at, arc, path[:, axis]) for axis in (0, 1)], axis=1)


def _check_prob(prob: ArrayLike, threshold: float) -> NDArray[np.float64]:
    field = np.nan_to_num(np.asarray(prob, np.float64))
    if field.ndim != 2 or not field.size:
        raise ValueError(f"`prob` must be a map (y, x). Received: shape {field.shape}.")
    if field.min() < 0 or field.max() > 1 + 1e-6:
        raise ValueError(
            "`prob` must hold probabilities from 0 to 1. Received: "
            f"{field.min():g} to {field.max():g}. Apply softmax to logits first."
        )
    if not 0 < threshold <= 1:
        raise ValueError(
            f"`threshold` must be above 0 and at most 1. Received: {threshold}."
        )
    return field


def _check_lines(
    pred_line: ArrayLike, true_line: ArrayLike, spacing: float
) -> tuple[BoolArray, BoolArray]:
    pred, true = np.asarray(pred_line, bool), np.asarray(true_line, bool)
    if pred.shape != true.shape or pred.ndim != 2:
        raise ValueError(
            "`pred_line` and `true_line` must be maps (y, x) of one shape. "
            f"Received: {pred.shape} and {true.shape}."
        )
    if not spacing > 0:
        raise ValueError(f"`spacing` must be above 0. Received: spacing={spacing}.")
    return pred, true
