"""Which pixels of overlapping tiles are counted, so that each counts once."""

from collections.abc import Iterator, Sequence

import numpy as np


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
    size = np.broadcast_to(tile_size_px, 2)
    corners: dict[str, list[tuple[int, int]]] = {}
    for scene_id, row, column in zip(scene_ids, rows, columns, strict=True):
        mask = np.ones(size, bool)
        earlier = np.array(corners.get(scene_id, []), int).reshape(-1, 2)
        offsets = earlier - (int(row), int(column))
        for down, right in offsets[(np.abs(offsets) < size).all(axis=1)]:
            mask[_span(down, size[0]), _span(right, size[1])] = False
        corners.setdefault(scene_id, []).append((int(row), int(column)))
        yield mask


def _span(offset: int, size: int) -> slice:
    return slice(max(offset, 0), min(size + offset, size))
