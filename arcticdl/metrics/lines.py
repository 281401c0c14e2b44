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
