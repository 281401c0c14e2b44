"""Which tiles lie over, or near, which others."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_DAY = np.timedelta64(1, "D")
_AT_ONCE = 16_384
"""Tiles whose neighbours are looked up at once."""

CIRCLE = 360.0
"""Degrees of longitude after which a place comes again: 182 east is 178 west."""


def on_circle(manifest: Any) -> bool:
    """Whether footprints are in degrees of longitude, which run in a circle."""
    return manifest.crs is not None and bool(manifest.crs.is_geographic)


def shares_space(manifest: Any) -> np.ndarray:
    """Numbers of the spaces in which tiles can be compared: (tile,) int64.

    Georeferenced tiles share one space; each plain image is a space of its own.
    """
    import pandas as pd

    if manifest.crs is not None:
        known = manifest.geometry.notna().to_numpy()
    else:
        known = np.zeros(len(manifest), bool)
    if known.all():
        return np.zeros(len(manifest), "int64")
    codes = pd.factorize(manifest["scene_id"].astype(str))[0].astype("int64") + 1
    return np.where(known, 0, codes)


def close_blocks(
    manifest: Any, a: np.ndarray, b: np.ndarray, buffer: float = 0.0
) -> Iterator[np.ndarray]:
    """Pairs of a tile of `a` and one of `b` that overlap or lie nearer than `buffer`.

    Tiles that merely touch are apart. Distances are in the unit of the manifest's CRS,
    in pixels for plain images.

    Yields:
        (pair, 2) tile indices, some at a time: memory holds few of many.
    """
    import shapely

    shapes = manifest.geometry.to_numpy()
    for mine, theirs in _by_space(manifest, shapes, a, b):
        there = _Outlines(shapes[theirs])
        tree = shapely.STRtree(there.outlines)  # by their bounds
        for rows in np.split(mine, range(_AT_ONCE, len(mine), _AT_ONCE)):
            found = []
            for turned in _turned(manifest, shapes[rows]):
                here = _Outlines(turned)
                wide = here.bounds + np.array([-1, -1, 1, 1]) * buffer
                about = shapely.box(*wide.T) if buffer else here.outlines
                left, right = tree.query(about)
                near = _within(here, there, left, right, buffer)
                found.append(np.stack([rows[left[near]], theirs[right[near]]], 1))
            yield (
                found[0]
                if len(found) == 1
                else np.unique(np.concatenate(found), axis=0)
            )


def near_tiles(
    manifest: Any, a: np.ndarray, b: np.ndarray, buffer: float = 0.0
) -> np.ndarray:
    """Tiles of `a` that a tile of `b` tells too much of: sorted indices.

    Those that overlap one of the same scene, or of one within a day; with a buffer, all
    within it, whatever their time.
    """
    near, together = np.zeros(len(manifest), bool), same_view(manifest)
    if not buffer:
        a = a[_seen_with(manifest, a, b)]
        b = b[_seen_with(manifest, b, a)]
    for pairs in close_blocks(manifest, a, b, buffer):
        near[pairs[:, 0] if buffer else pairs[together(pairs), 0]] = True
    return np.flatnonzero(near)


def same_view(manifest: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Tells which pairs of tiles are of one scene, or within a day.

    Ground seen again much later may have changed altogether, sea ice above all. Where a
    time is unknown, it may be the same.

    Args:
        manifest: Of the tiles.

    Returns:
        A function from (pair, 2) tile indices to (pair,) booleans.
    """
    import pandas as pd

    scenes = pd.factorize(manifest["scene_id"])[0]
    times = manifest["time"].to_numpy("datetime64[ns]")

    def told(pairs: np.ndarray) -> np.ndarray:
        scene, time = scenes[pairs], times[pairs]
        # NaT compares as false, so ask for "not later".
        near = ~(np.abs(time[:, 0] - time[:, 1]) > _DAY)
        return np.asarray(near | (scene[:, 0] == scene[:, 1]))

    return told


def _seen_with(manifest: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which tiles of `a` are of one view with any of `b`, wherever they lie."""
    import pandas as pd

    scenes = pd.factorize(manifest["scene_id"])[0]
    times = manifest["time"].to_numpy("datetime64[ns]")
    mine, theirs = times[a], np.sort(times[b])  # NaT comes last
    known = theirs[~np.isnat(theirs)]
    if len(known) < len(theirs):
        return np.ones(len(a), bool)
    first = np.searchsorted(known, mine - _DAY, "left")
    seen = np.searchsorted(known, mine + _DAY, "right") > first
    has_test = np.zeros(scenes.max(initial=-1) + 2, bool)  # one more for no name: -1
    has_test[scenes[b]] = True
    return np.asarray((seen | np.isnat(mine) | has_test[scenes[a]]) & bool(len(b)))


def smallest_distance(manifest: Any, a: np.ndarray, b: np.ndarray) -> float:
    """The smallest distance between tiles of `a` and of `b`; inf across spaces."""
    import shapely

    least, shapes = np.inf, manifest.geometry.to_numpy()
    for mine, theirs in _by_space(manifest, shapes, a, b):
        tree = shapely.STRtree(shapes[theirs])
        # What is nearer than the nearest so far is all that the later ones look for.
        for rows in np.array_split(mine, np.geomspace(1, len(mine), 12).astype(int)):
            for turned in _turned(manifest, shapes[rows]):
                if least == 0:
                    return least
                found = tree.query_nearest(
                    turned,
                    max_distance=least if np.isfinite(least) else None,
                    return_distance=True,
                    all_matches=False,
                )[1]
                least = min(least, float(found.min(initial=np.inf)))
    return least


def _turned(manifest: Any, shapes: np.ndarray) -> Iterator[np.ndarray]:
    """Outlines as they are, and wherever else on the circle they may be met."""
    from shapely import transform

    yield shapes
    if on_circle(manifest):
        east = np.array([CIRCLE, 0.0])
        yield transform(shapes, lambda places: places - east)
        yield transform(shapes, lambda places: places + east)


def smallest_gap(manifest: Any, a: np.ndarray, b: np.ndarray) -> float:
    """The smallest time between tiles of `a` and of `b` in days; NaN if unknown."""
    times = manifest["time"].to_numpy("datetime64[ns]")
    mine, theirs = (
        np.unique(t[~np.isnat(t)]).astype("int64") for t in (times[a], times[b])
    )
    if not len(mine) or not len(theirs):
        return float("nan")
    right = np.searchsorted(theirs, mine)
    gaps = [
        np.abs(mine - theirs[np.clip(right + shift, 0, len(theirs) - 1)]).min()
        for shift in (-1, 0)
    ]
    return float(min(gaps)) / 86_400e9


class _Outlines:
    """Outlines made smaller by a millionth, so that neighbours do not overlap.

    Of upright boxes, which tiles of regular grids are, the bounds say it all.
    """

    def __init__(self, outlines: np.ndarray) -> None:
        import shapely

        self.outlines, whole = outlines, shapely.bounds(outlines)
        sides = whole[:, 2:] - whole[:, :2]
        area = sides.prod(1)
        self.is_box = np.abs(shapely.area(outlines) - area) <= 1e-9 * area
        self.cut = 1e-6 * sides.min(1)
        self.bounds = whole + self.cut[:, None] * np.array([1, 1, -1, -1])

    def shrunk(self, rows: np.ndarray) -> np.ndarray:
        """Some of the outlines themselves."""
        import shapely

        return shapely.buffer(self.outlines[rows], -self.cut[rows], join_style="mitre")


def box_gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances between boxes, 0 where they overlap: (pair,).

    Args:
        a: (pair, 4) left, bottom, right, top.
        b: The same of the other boxes.
    """
    gaps = np.maximum(a[:, :2] - b[:, 2:], b[:, :2] - a[:, 2:])
    return np.asarray(np.hypot(*np.maximum(gaps, 0).T))


def _within(
    a: _Outlines, b: _Outlines, left: np.ndarray, right: np.ndarray, distance: float
) -> np.ndarray:
    """Which pairs of outlines lie at most so far apart: (pair,) booleans."""
    import shapely

    near = box_gaps(a.bounds[left], b.bounds[right]) <= distance
    odd = np.flatnonzero(near & ~(a.is_box[left] & b.is_box[right]))
    shapes = a.shrunk(left[odd]), b.shrunk(right[odd])
    near[odd] = shapely.dwithin(*shapes, distance)
    return near


def _by_space(
    manifest: Any, shapes: np.ndarray, a: np.ndarray, b: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tiles of `a` and of `b` that can be compared, without those that lie nowhere."""
    import shapely

    space = shares_space(manifest)
    a, b = (rows[~shapely.is_missing(shapes[rows])] for rows in (a, b))
    a, b = (rows[np.argsort(space[rows], kind="stable")] for rows in (a, b))
    met = [
        np.bincount(space[rows], minlength=space.max(initial=0) + 1) for rows in (a, b)
    ]
    numbers = np.flatnonzero(np.logical_and(*met))
    bounds = [
        np.searchsorted(space[rows], [numbers, numbers + 1]).T.tolist()
        for rows in (a, b)
    ]
    for (begin, end), (start, stop) in zip(*bounds, strict=True):
        yield a[begin:end], b[start:stop]
