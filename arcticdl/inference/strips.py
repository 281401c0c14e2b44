"""A scene's pixels for rows of windows: each row of pixels is read once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.scene import read_values
from arcticdl.tiles.writing.scan import read_valid


class Strip(NamedTuple):
    """Full rows of a scene, as high as a window or what is left of the scene.

    Attributes:
        top: First row.
        image: (y, x, band) in source units.
        valid: (y, x) bool.
    """

    top: int
    image: NDArray[Any]
    valid: NDArray[np.bool_]

    def window(
        self, left: int, size_px: tuple[int, int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window (y, x, band) and its validity, reflected where it leaves the scene.

        Args:
            left: First column.
            size_px: ``(height, width)``.
        """
        columns = slice(left, left + size_px[1])
        image, valid = self.image[:, columns], self.valid[:, columns]
        short = [(0, size_px[axis] - valid.shape[axis]) for axis in (0, 1)]
        if max(short) > (0, 0):
            image = np.pad(image, (*short, (0, 0)), mode="symmetric")
            valid = np.pad(valid, short, mode="symmetric")
        return image, valid


def read_strips(scene: xr.Dataset, tops: Sequence[int], height: int) -> Iterator[Strip]:
    """Reads strips in order, the next one while the caller works on this one.

    Rows that two strips share are read once and copied. At most three strips are in
    memory.

    Args:
        scene: A Scene.
        tops: First row of each strip, rising.
        height: Rows of a strip.
    """
    with ThreadPoolExecutor(1, "strips") as pool:
        coming = pool.submit(_read, scene, tops[0], height, None)
        for top in [*tops[1:], None]:
            strip = coming.result()
            if top is not None:
                coming = pool.submit(_read, scene, top, height, strip)
            yield strip


def _read(scene: xr.Dataset, top: int, height: int, above: Strip | None) -> Strip:
    first, last = top, min(top + height, scene.sizes["y"])
    kept = 0
    if above is not None:
        kept = above.top + len(above.valid) - top
        first += max(kept, 0)
    rows = {"y": slice(first, last)}
    image = read_values(scene["image"].isel(rows), "y", "x", "band")
    valid = read_valid(scene, rows)
    if above is None or kept <= 0:
        return Strip(top, image, valid)
    return Strip(
        top,
        np.concatenate([above.image[-kept:], image]),
        np.concatenate([above.valid[-kept:], valid]),
    )
