"""Where a scene feed reads and cuts: super-tiles, and tiles inside them.

Decoding dominates when tiles come straight from compressed files, so each block should
be decoded once. A *super-tile* is a window of whole blocks that is read once an epoch;
several random tiles are cut from it while it is in memory.

What is random, and what is not:

- Every epoch shifts the grid of super-tiles by a random number of blocks and visits
  them in random order.
- Each of `passes` lays a regular grid of tiles at a random offset into the super-tile,
  and keeps the tiles that lie inside. Tiles of one pass do not overlap, so that a
  decoded pixel is used at most `passes` times before it is dropped.
- Tiles of `mix` super-tiles are shuffled together; groups of super-tiles follow each
  other. Tiles further apart than that in an epoch's order are never in one batch.

Two super-tiles away from the scene's edges every pixel is used equally often on average
where the tile is a multiple of the block. At an edge half of the grids are laid flush
with it, so that the first and last row are used too: pixels near an edge are used
between half and twice as often as others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SuperTiles:
    """How super-tiles are laid out.

    Attributes:
        tile_size_px: ``(height, width)`` of a tile.
        block_px: ``(height, width)`` of a block of the file.
        blocks: ``(down, across)``: blocks in a super-tile.
        passes: How often a decoded pixel is used at most.
        mix: Super-tiles whose tiles are shuffled together.
    """

    tile_size_px: tuple[int, int]
    block_px: tuple[int, int]
    blocks: tuple[int, int]
    passes: int = 2
    mix: int = 4

    @classmethod
    def for_tiles(
        cls,
        tile_size_px: tuple[int, int],
        block_px: tuple[int, int],
        passes: int,
        mix: int,
        side_px: int | None = None,
    ) -> "SuperTiles":
        """Super-tiles of whole blocks, four tiles a side unless told."""
        pairs = zip(tile_size_px, block_px, strict=True)
        down, across = (
            max(-(-(side_px or 4 * tile) // block), 1) for tile, block in pairs
        )
        return cls(tile_size_px, block_px, (down, across), passes, mix)

    def windows(
        self, shape_px: tuple[int, int], rng: np.random.Generator
    ) -> list[tuple[slice, slice]]:
        """The super-tiles of a scene in one epoch: they cover it exactly once."""
        axes = [
            self._spans(length, axis, int(rng.integers(self.blocks[axis])))
            for axis, length in enumerate(shape_px)
        ]
        return [(rows, cols) for rows in axes[0] for cols in axes[1]]

    def cuts(
        self,
        window: tuple[slice, slice],
        shape_px: tuple[int, int],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Tiles to cut from a super-tile: (tile, 2) row and column in the scene."""
        found = []
        for _ in range(self.passes):
            rows, cols = (
                self._starts(span, shape_px[axis], self.tile_size_px[axis], rng)
                for axis, span in enumerate(window)
            )
            grid = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1)
            found.append(grid.reshape(-1, 2))
        return np.concatenate(found)

    def _spans(self, length: int, axis: int, shift: int) -> list[slice]:
        """Cuts an axis into super-tiles; short rests join their neighbour."""
        block, size = self.block_px[axis], self.block_px[axis] * self.blocks[axis]
        edges = [*range(shift * block, length, size)]
        edges = [0, *(e for e in edges if e > 0), length]
        tile = self.tile_size_px[axis]
        kept = [0]
        for edge in edges[1:-1]:
            if edge - kept[-1] >= tile and length - edge >= tile:
                kept.append(edge)
        return [slice(a, b) for a, b in zip(kept, [*kept[1:], length], strict=True)]

    @staticmethod
    def _starts(
        span: slice, length: int, tile: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Starts of a row of tiles inside a span, at a random offset."""
        flush = []
        if span.start == 0:
            flush.append(0)
        if span.stop == length:
            flush.append((span.stop - span.start) % tile)
        # Drawn whether used or not, so that one edge does not change what follows.
        at_edge, which = rng.random() < 0.5, rng.integers(max(len(flush), 1))
        offset = int(rng.integers(tile))
        if flush and at_edge:
            offset = flush[which]
        room = span.stop - span.start
        if offset + tile > room:
            offset = int(rng.integers(room - tile + 1))
        return np.arange(span.start + offset, span.stop - tile + 1, tile)


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """One epoch of a scene feed.

    Attributes:
        window_scene: (window,) scene of each super-tile.
        windows: Super-tiles, in the order in which they are read.
        tile_window: (tile,) super-tile of each tile, in the order of the epoch.
        tile_start: (tile, 2) row and column in the scene.
    """

    window_scene: np.ndarray
    windows: list[tuple[slice, slice]]
    tile_window: np.ndarray
    tile_start: np.ndarray


def plan_epoch(
    layout: SuperTiles,
    shapes_px: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    shard: tuple[int, int] = (0, 1),
) -> EpochPlan:
    """Plans an epoch from shapes alone; hosts read different super-tiles.

    Args:
        layout: Of the super-tiles.
        shapes_px: ``(height, width)`` of each scene.
        rng: Of the epoch; the same on every host.
        shard: ``(host, num_hosts)``.
    """
    every = [
        (scene, window, layout.cuts(window, shape, rng))
        for scene, shape in enumerate(shapes_px)
        for window in layout.windows(shape, rng)
    ]
    order = rng.permutation(len(every))[shard[0] :: shard[1]]
    chosen = [every[k] for k in order]
    owner = np.repeat(np.arange(len(chosen)), [len(cuts) for _, _, cuts in chosen])
    starts = np.concatenate([cuts for _, _, cuts in chosen] or [np.empty((0, 2), int)])
    groups = np.array_split(
        np.arange(len(chosen)), max(-(-len(chosen) // layout.mix), 1)
    )
    mixed = [rng.permutation(np.flatnonzero(np.isin(owner, group))) for group in groups]
    sequence = np.concatenate(mixed)
    return EpochPlan(
        np.array([scene for scene, _, _ in chosen], "int64"),
        [window for _, window, _ in chosen],
        owner[sequence],
        starts[sequence],
    )
