"""Which tiles lie over, or near, which others."""

from typing import Any

import numpy as np


def shares_space(manifest: Any) -> np.ndarray:
    """Numbers of the spaces in which tiles can be compared: (tile,) int64.

    Georeferenced tiles share one space; each plain image is a space of its own.
    """
    import pandas as pd

    if manifest.crs is not None:
        known = manifest.geometry.notna().to_numpy()
    else:
        known = np.zeros(len(manifest), bool)
    codes = pd.factorize(manifest["scene_id"].astype(str))[0].astype("int64") + 1
    return np.where(known, 0, codes)


def close_pairs(
    manifest: Any, a: np.ndarray, b: np.ndarray, buffer: float = 0.0
) -> np.ndarray:
    """Pairs of a tile of `a` and one of `b` that overlap or lie nearer than `buffer`.

    Tiles that merely touch are apart. Distances are in the unit of the manifest's CRS,
    in pixels for plain images.

    Returns:
        (pair, 2) tile indices.
    """
    import shapely

    pairs = []
    space = shares_space(manifest)
    geometry = manifest.geometry.to_numpy()
    for number in np.unique(space):
        mine, theirs = a[space[a] == number], b[space[b] == number]
        theirs = theirs[~shapely.is_missing(geometry[theirs])]
        mine = mine[~shapely.is_missing(geometry[mine])]
        if not len(mine) or not len(theirs):
            continue
        tree = shapely.STRtree(_shrunk(geometry[theirs]))
        found = tree.query(_shrunk(geometry[mine]), "dwithin", distance=buffer)
        pairs.append(np.stack([mine[found[0]], theirs[found[1]]], 1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), "int64")


def same_view(manifest: Any, pairs: np.ndarray) -> np.ndarray:
    """Which pairs are of one scene, or within a day: (pair,) booleans.

    Ground seen again much later may have changed altogether, sea ice above all. Where a
    time is unknown, it may be the same.
    """
    scene = manifest["scene_id"].to_numpy()[pairs]
    time = manifest["time"].to_numpy("datetime64[ns]")[pairs]
    # NaT compares as false, so ask for "not later".
    near = ~(np.abs(time[:, 0] - time[:, 1]) > np.timedelta64(1, "D"))
    return near | (scene[:, 0] == scene[:, 1])


def smallest_distance(manifest: Any, a: np.ndarray, b: np.ndarray) -> float:
    """The smallest distance between tiles of `a` and of `b`; inf across spaces."""
    import shapely

    least, space = np.inf, shares_space(manifest)
    geometry = manifest.geometry.to_numpy()
    for number in np.unique(space):
        mine = geometry[a[space[a] == number]]
        theirs = geometry[b[space[b] == number]]
        mine, theirs = (g[~shapely.is_missing(g)] for g in (mine, theirs))
        if len(mine) and len(theirs):
            tree = shapely.STRtree(theirs)
            distance = tree.query_nearest(mine, return_distance=True)[1]
            least = min(least, float(distance.min()))
    return least


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


def _shrunk(outlines: np.ndarray) -> np.ndarray:
    """Outlines made smaller by a millionth, so that neighbours do not overlap."""
    import shapely

    bounds = shapely.bounds(outlines)
    side = np.minimum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    return shapely.buffer(outlines, -1e-6 * side, join_style="mitre")
