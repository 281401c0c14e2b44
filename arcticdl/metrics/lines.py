"""From a map of likelihood to one line: join the pieces, thin them, take the best path.

Minimal-cost paths follow the post-processing of Mohajerani et al. (2019,
doi 10.3390/rs11010074), but need no fjord walls to start from: the ends of the line are
found, not given.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

_EIGHT = np.ones((3, 3), bool)
_HALF_EIGHT = ((0, 1), (1, -1), (1, 0), (1, 1))
# Cost of one step over a pixel that is certainly front, in units of a step over one
# that certainly is not: crossing a gap of n px costs about n.
_FLOOR = 0.02
# Likelihood at which a pixel neither earns nor costs: below it a path pays for going
# on, so a bridge is taken only if what lies beyond repays it.
_BREAK_EVEN = 0.25
# Surfaces are averaged over so many pixels along the line before it divides them.
_SMOOTH_PX = 5
# A flank along a column is where the contrast across it is the largest so far about.
_RIDGE_PX = 5
_START = 9


def thin(mask: BoolArray) -> BoolArray:
    """Thins a mask to lines of one pixel (Zhang and Suen 1984, by scikit-image)."""
    from skimage.morphology import skeletonize

    return np.asarray(skeletonize(mask), bool)


def join_pieces(field: FloatArray, pieces: BoolArray, max_gap_px: float) -> BoolArray:
    """Bridges the gaps between pieces, cheapest first, without closing rings.

    Args:
        field: Likelihood ``(y, x)`` in [0, 1].
        pieces: Boolean ``(y, x)``, the pixels to join.
        max_gap_px: Dearest bridge, where a step over a pixel costs ``1 - field``.

    Returns:
        `pieces` and the bridges, boolean ``(y, x)``.
    """
    from skimage.graph import MCP_Geometric

    labels, count = ndimage.label(pieces, _EIGHT)
    if count < 2 or max_gap_px <= 0:
        return pieces
    search = MCP_Geometric(_FLOOR + (1.0 - _FLOOR) * (1.0 - field))
    cost, _ = search.find_costs(np.argwhere(pieces))
    bridges = _bridges(cost, _owners(cost, labels))
    joined = pieces.copy()
    group = np.arange(count + 1)
    for price, (left, right), (here, there) in bridges:
        if price > max_gap_px:
            break
        if group[left] != group[right]:
            group[group == group[right]] = group[left]
            for end in (here, there):
                rows, cols = np.transpose(search.traceback(end))
                joined[rows, cols] = True
    return joined


def _owners(cost: FloatArray, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Gives each pixel to the piece from which it is cheapest to reach."""
    from skimage.segmentation import watershed

    return np.asarray(watershed(cost, labels, connectivity=_EIGHT), np.int32)


def _bridges(cost: FloatArray, owner: NDArray[np.int32]) -> list[Any]:
    """Lists the cheapest bridge of each two neighbouring territories, cheapest first.

    Returns:
        Entries ``(price, (piece, piece), ((row, column), (row, column)))``.
    """
    height, width = cost.shape
    found: dict[tuple[int, int], Any] = {}
    for down, right in _HALF_EIGHT:
        rows, cols = np.mgrid[: height - down, max(0, -right) : width - max(0, right)]
        there_rows, there_cols = rows + down, cols + right
        met = owner[rows, cols] != owner[there_rows, there_cols]
        here = np.stack([rows[met], cols[met]], 1)
        there = np.stack([there_rows[met], there_cols[met]], 1)
        price = cost[tuple(here.T)] + cost[tuple(there.T)]
        pair = np.stack([owner[tuple(here.T)], owner[tuple(there.T)]], 1)
        for i in np.argsort(price, kind="stable"):
            key = (int(pair[i].min()), int(pair[i].max()))
            if key not in found or price[i] < found[key][0]:
                found[key] = (float(price[i]), key, (tuple(here[i]), tuple(there[i])))
    return sorted(found.values())


def best_path(line: BoolArray, field: FloatArray | None = None) -> IndexArray:
    """Finds the path along a thin line whose pixels together are likeliest front.

    Each step earns its length times (likelihood - 0.25), so the path is as long as it
    pays: side branches lose against the main line, and poor bridges to lone blobs are
    not taken. Rings are opened at their least likely step.

    Args:
        line: Boolean ``(y, x)``, thin.
        field: Likelihood ``(y, x)`` in [0, 1]; ``None``: 1 everywhere, which gives the
            longest path.

    Returns:
        int64 ``(point, 2)``: row and column, from one end to the other.
    """
    points = np.argwhere(line)
    if len(points) < 2:
        return points.astype(np.int64)
    likely = np.ones(len(points)) if field is None else field[line]
    tree = csgraph.minimum_spanning_tree(_neighbour_graph(line, points, likely))
    start, end = tree.nonzero()
    length = np.linalg.norm(points[start] - points[end], axis=1)
    gain = length * ((likely[start] + likely[end]) / 2 - _BREAK_EVEN)
    return points[_best_tree_path(len(points), start, end, gain)].astype(np.int64)


def _neighbour_graph(line: BoolArray, points: NDArray[Any], likely: FloatArray) -> Any:
    """Links each pixel to its eight neighbours, weighted by length and unlikelihood."""
    number = np.full(np.add(line.shape, 2), -1)
    number[1:-1, 1:-1][line] = np.arange(len(points))
    links = []
    for step in _HALF_EIGHT:
        there = number[points[:, 0] + 1 + step[0], points[:, 1] + 1 + step[1]]
        here = np.flatnonzero(there >= 0)
        there = there[here]
        unlikely = 1 + _FLOOR - (likely[here] + likely[there]) / 2
        links.append((here, there, np.hypot(*step) * unlikely))
    start, end, weight = (np.concatenate(part) for part in zip(*links, strict=True))
    shape = (len(points), len(points))
    return sparse.coo_matrix((weight, (start, end)), shape=shape).tocsr()


def _best_tree_path(
    num_nodes: int, start: IndexArray, end: IndexArray, gain: FloatArray
) -> list[int]:
    """Finds the path of greatest total gain in a forest, by one sweep from the leaves.

    For each node, the best way down and the best two ways joined through it.
    """
    parent, order, lift = _rooted(num_nodes, start, end, gain)
    down = np.zeros(num_nodes)
    into = np.full(num_nodes, -1)
    best, top, arms = -1.0, int(order[0]), (-1, -1)
    for node in order[::-1]:
        if down[node] > best:
            best, top, arms = down[node], int(node), (int(into[node]), -1)
        above = parent[node]
        if above < 0:
            continue
        offer = down[node] + lift[node]
        if offer + down[above] > best:
            best, top = offer + down[above], int(above)
            arms = (int(into[above]), int(node))
        if offer > down[above]:
            down[above], into[above] = offer, node
    sides = [_descend(arm, into) for arm in arms]
    return [*sides[0][::-1], top, *sides[1]]


def _rooted(
    num_nodes: int, start: IndexArray, end: IndexArray, gain: FloatArray
) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Hangs every tree of a forest from one of its nodes.

    Returns:
        The parent of each node (-1: a root), the nodes with parents before children,
        and the gain of each node's link to its parent.
    """
    around: list[list[tuple[int, float]]] = [[] for _ in range(num_nodes)]
    for a, b, value in zip(start.tolist(), end.tolist(), gain.tolist(), strict=True):
        around[a].append((b, value))
        around[b].append((a, value))
    parent, lift = np.full(num_nodes, -2), np.zeros(num_nodes)
    order: list[int] = []
    for root in range(num_nodes):
        if parent[root] != -2:
            continue
        parent[root] = -1
        waiting = [root]
        while waiting:
            node = waiting.pop()
            order.append(node)
            for other, value in around[node]:
                if parent[other] == -2:
                    parent[other], lift[other] = node, value
                    waiting.append(other)
    return parent, np.array(order), lift


def _descend(node: int, into: IndexArray) -> list[int]:
    path = []
    while node >= 0:
        path.append(node)
        node = int(into[node])
    return path


def dividing_path(
    likely: NDArray[Any],
    upper: NDArray[Any],
    lower: NDArray[Any],
    *,
    width_px: int,
    toll: float,
) -> tuple[IndexArray, float]:
    """Finds the line that divides two surfaces of a map, from any column to any other.

    Each pixel has a contrast: the geometric mean of how much of the `width_px` pixels
    before it is the one surface and of how much behind it is the other, less the same
    with both exchanged. A line earns contrast and likelihood, which counts up to the
    contrast, less `toll`, in every column that it enters; a step along a column earns
    the contrast across it, less `toll`, where that is a ridge, and only costs
    elsewhere. The line that earns most of all that visit each column once, in one
    direction, is found by dynamic programming (of all columns at once: Li et al. 2006,
    doi 10.1109/TPAMI.2006.19).

    Args:
        likely: Likelihood of the line ``(y, x)`` in [0, 1], of the float type in which
            maps of the same size are to be held on the way.
        upper: That of the surface above it.
        lower: That of the surface below it.
        width_px: How far to either side is looked.
        toll: What each column costs, 0-2.

    Returns:
        ``(path, contrast)``: int64 ``(point, 2)``, row and column from left to right,
        neighbours in the sense of eight, and the mean contrast along it, 0-1; an empty
        path and 0 where no line earns anything.
    """
    down, across = _contrasts(upper, lower, width_px)
    flank = across - toll
    along = np.where(_ridges(across), flank, np.minimum(flank, 0.0))
    path = _best_crossing(down + np.minimum(likely, down) - toll, along)
    at = tuple(path.T)
    if not len(path):
        return path, 0.0
    return path, float(np.maximum(down[at], across[at]).mean(dtype=np.float64))


def _ridges(across: NDArray[Any]) -> BoolArray:
    """Where a row is largest about; of pixels that are equally large the first."""
    largest = across >= ndimage.maximum_filter1d(across, 2 * _RIDGE_PX + 1, 1)
    before = ndimage.maximum_filter1d(
        across, _RIDGE_PX, 1, origin=(_RIDGE_PX - 1) // 2, mode="constant"
    )
    largest[:, 1:] &= across[:, 1:] > before[:, :-1]
    return np.asarray(largest, bool)


def _contrasts(
    upper: NDArray[Any], lower: NDArray[Any], width_px: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """How well each pixel divides two surfaces: along columns, and along rows."""
    found = []
    for axis in (0, 1):
        above, below = (
            _sides(
                ndimage.uniform_filter1d(field, _SMOOTH_PX, 1 - axis), axis, width_px
            )
            for field in (upper, lower)
        )
        right = np.sqrt(above[0] * below[1])
        right -= np.sqrt(below[0] * above[1])
        found.append(right)
    return np.maximum(found[0], 0.0), np.abs(found[1])


def _sides(
    field: NDArray[Any], axis: int, width_px: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Means of the `width_px` pixels before and behind each; outside the map is 0."""
    lines = np.moveaxis(field, axis, 0)
    sides = []
    # A filter's window holds its own pixel: the means that end and begin there, one on.
    for origin, shift in (((width_px - 1) // 2, 1), (-(width_px // 2), -1)):
        mean = ndimage.uniform_filter1d(
            lines, width_px, 0, mode="constant", origin=origin
        )
        side = np.zeros_like(lines)
        into, of = side[::shift][1:], mean[::shift][:-1]
        np.clip(of, 0.0, 1.0, out=into)
        sides.append(np.moveaxis(side, 0, axis))
    return sides[0], sides[1]


def _best_crossing(gain: NDArray[Any], along: NDArray[Any]) -> IndexArray:
    """The path of most gain that visits each column once, within free ends.

    Args:
        gain: Of entering a pixel from the column before, ``(y, x)``.
        along: Of a step onto a pixel along its column.

    Returns:
        Row and column of its pixels from left to right; none where nothing gains.
    """
    height, width = gain.shape
    rows = np.arange(height)
    came = np.empty((width, height), np.int32)  # row in which the column was entered
    step = np.empty((width, height), np.int8)  # in rows, into it; _START: begun there
    reached, best, end = np.full(height, -np.inf), 0.0, None
    for col in range(width):
        offers = np.full((4, height), -np.inf)
        offers[0], offers[1] = 0.0, reached
        offers[2, 1:], offers[3, :-1] = reached[:-1], reached[1:]
        choice = offers.argmax(0)
        step[col] = np.array([_START, 0, 1, -1])[choice]
        entered = offers[choice, rows] + gain[:, col]
        own = along[:, col].astype(np.float64)
        toll = np.cumsum(own)
        to_here = toll - own
        down, above = _running_best(entered - toll)
        up, below = _running_best((entered + to_here)[::-1])
        down, up = down + toll, up[::-1] - to_here
        reached = np.maximum(down, up)
        came[col] = np.where(up > down, height - 1 - below[::-1], above)
        row = int(reached.argmax())
        if reached[row] > best:
            best, end = float(reached[row]), (row, col)
    return _walked_back(end, came, step)


def _running_best(values: FloatArray) -> tuple[FloatArray, IndexArray]:
    """The largest value up to each place, and where it stands."""
    best = np.maximum.accumulate(values)
    at = np.where(values >= best, np.arange(len(values)), 0)
    return best, np.maximum.accumulate(at)


def _walked_back(
    end: tuple[int, int] | None, came: NDArray[np.int32], step: NDArray[np.int8]
) -> IndexArray:
    """The way to a pixel, from the column where each column was entered."""
    if end is None:
        return np.zeros((0, 2), np.int64)
    (row, col), path = end, []
    while True:
        first = int(came[col, row])
        turn = 1 if first >= row else -1
        path += [(there, col) for there in range(row, first + turn, turn)]
        if step[col, first] == _START:
            return np.array(path[::-1], np.int64)
        row, col = first - int(step[col, first]), col - 1
