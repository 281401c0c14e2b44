"""Where the tiles of a scene lie: a plan made from shapes alone."""

from dataclasses import dataclass

import numpy as np

from arcticdl.choices import check_choice

EDGES = ("drop", "pad", "shift")
"""What happens where tiles do not divide the scene.

``shift`` moves the last tile back inside, so that it overlaps its neighbour; ``pad``
lets it reach out, the outside being void; ``drop`` leaves the rest out.
"""


@dataclass(frozen=True, eq=False)
class TilePlan:
    """The tiles of one scene, row by row.

    Attributes:
        shape_px: ``(height, width)`` of the scene.
        tile_size_px: ``(height, width)`` of every tile.
        edge: One of `EDGES`.
        starts: ``(tile, 2)`` int64, row and column of each tile's first pixel.
    """

    shape_px: tuple[int, int]
    tile_size_px: tuple[int, int]
    edge: str
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def inside(self, tile: int) -> tuple[slice, slice]:
        """The part of a tile that lies inside its scene, in scene pixels."""
        row, col = (int(v) for v in self.starts[tile])
        return (
            slice(row, min(row + self.tile_size_px[0], self.shape_px[0])),
            slice(col, min(col + self.tile_size_px[1], self.shape_px[1])),
        )

    def coverage(self) -> np.ndarray:
        """How often each pixel of the scene is covered: (y, x) int32."""
        count = np.zeros(self.shape_px, "int32")
        for tile in range(len(self)):
            count[self.inside(tile)] += 1
        return count

    def select(self, keep: np.ndarray) -> "TilePlan":
        """The plan with only some of its tiles.

        Args:
            keep: ``(tile,)`` booleans, or the indices to keep.
        """
        return TilePlan(
            self.shape_px, self.tile_size_px, self.edge, self.starts[np.asarray(keep)]
        )

    def cut(self, array: np.ndarray, fill: float = 0) -> np.ndarray:
        """Cuts a scene into this plan's tiles.

        Args:
            array: ``(y, x, ...)`` of the scene's shape.
            fill: Value outside the scene (``edge="pad"``).

        Returns:
            ``(tile, y, x, ...)`` of the same dtype.
        """
        shape = (len(self), *self.tile_size_px, *array.shape[2:])
        tiles = np.full(shape, fill, array.dtype)
        for tile in range(len(self)):
            part = array[self.inside(tile)]
            tiles[tile, : part.shape[0], : part.shape[1]] = part
        return tiles

    def reassemble(self, tiles: np.ndarray, fill: float = 0) -> np.ndarray:
        """Puts tiles back where they came from: the inverse of `cut`.

        Args:
            tiles: ``(tile, y, x, ...)`` in this plan's order.
            fill: Value of pixels that no tile covers.

        Returns:
            ``(y, x, ...)`` of the scene. Where tiles overlap the later one wins.

        Raises:
            ValueError: The number or the size of the tiles is not the plan's.
        """
        if tiles.shape[:3] != (len(self), *self.tile_size_px):
            raise ValueError(
                "`tiles` must be (tile, y, x, ...) of this plan: "
                f"{(len(self), *self.tile_size_px)}. Received: {tiles.shape}."
            )
        scene = np.full((*self.shape_px, *tiles.shape[3:]), fill, tiles.dtype)
        for tile, pixels in enumerate(tiles):
            rows, cols = self.inside(tile)
            scene[rows, cols] = pixels[
                : rows.stop - rows.start, : cols.stop - cols.start
            ]
        return scene


def plan_tiles(
    shape_px: tuple[int, int],
    tile_size_px: int | tuple[int, int] = 256,
    *,
    overlap_px: int = 0,
    edge: str = "shift",
    name: str = "the scene",
) -> TilePlan:
    """Plans the tiles of a scene from its shape alone.

    Args:
        shape_px: ``(height, width)`` of the scene.
        tile_size_px: Side of a tile, or its ``(height, width)``.
        overlap_px: Pixels that neighbours share, in both directions.
        edge: One of `EDGES`. With ``"pad"`` and no overlap every pixel is covered
            exactly once.
        name: What the error calls the scene.

    Returns:
        The plan, its tiles row by row.

    Raises:
        ValueError: The scene is smaller than a tile (unless ``edge="pad"``), or an
            argument is out of range.

    Example:
        >>> plan_tiles((5, 4), 2).starts.tolist()
        [[0, 0], [0, 2], [2, 0], [2, 2], [3, 0], [3, 2]]
    """
    size = parse_tile_size(tile_size_px)
    check_overlap(overlap_px, size)
    check_choice("edge", edge, EDGES)
    height, width = (int(v) for v in shape_px)
    if edge != "pad" and (height < size[0] or width < size[1]):
        raise ValueError(
            f"A tile must fit into its scene. Received: tiles of {size[0]} x {size[1]} "
            f"px and {name} of {height} x {width} px. Use smaller tiles, or "
            "`edge='pad'`."
        )
    rows = _axis_starts(height, size[0], size[0] - overlap_px, edge)
    cols = _axis_starts(width, size[1], size[1] - overlap_px, edge)
    starts = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)
    return TilePlan((height, width), size, edge, starts)


def parse_tile_size(tile_size_px: int | tuple[int, int]) -> tuple[int, int]:
    """Reads a tile size: one side, or height and width.

    Raises:
        ValueError: Not one or two positive whole numbers.
    """
    sides = np.atleast_1d(np.asarray(tile_size_px))
    if sides.size not in (1, 2) or sides.dtype.kind not in "iu" or (sides < 1).any():
        raise ValueError(
            "`tile_size_px` must be a positive whole number, or two: (height, width). "
            f"Received: {tile_size_px!r}."
        )
    return int(sides[0]), int(sides[-1])


def check_overlap(overlap_px: int, tile_size_px: tuple[int, int]) -> None:
    """Refuses an overlap that would leave no step from tile to tile.

    Raises:
        ValueError: The overlap is negative, or not smaller than a tile's side.
    """
    if not 0 <= overlap_px < min(tile_size_px):
        raise ValueError(
            "`overlap_px` must be at least 0 and smaller than `tile_size_px`. "
            f"Received: overlap_px={overlap_px}, tile_size_px={tile_size_px}."
        )


def _axis_starts(length: int, size: int, step: int, edge: str) -> np.ndarray:
    if edge == "pad":
        count = max(1, -(-(length - size) // step) + 1)
        return np.arange(count, dtype="int64") * step
    starts = np.arange(0, length - size + 1, step, dtype="int64")
    if edge == "shift" and starts[-1] + size < length:
        starts = np.append(starts, length - size)
    return starts
