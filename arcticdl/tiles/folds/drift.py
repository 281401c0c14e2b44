"""Ice that drifts: its pass is the unit, for blocks of ground do not separate it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from arcticdl.errors import SplitError
from arcticdl.tiles.folds.passes import Passes, near_passes

MAX_DAYS = 10.0
"""Days after which ice seen again counts as other ice."""

_YES, _NO = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0", "")


@dataclass(frozen=True)
class DriftLeak:
    """Two passes so near in place and time that they may show the same ice.

    Attributes:
        train: The pass or chart that is trained on.
        test: The one that is tested on.
        distance_km: Between their tiles.
        days: Between their times.
    """

    train: str
    test: str
    distance_km: float
    days: float


def mark_drift(manifest: Any, drifts: bool | None) -> Any:
    """The manifest with the column ``drifts`` set; as it is where that is ``None``."""
    return manifest if drifts is None else manifest.assign(drifts=drifts)


def drifting(manifest: Any) -> np.ndarray:
    """Which tiles show drifting ice, by the column ``drifts``: (tile,) booleans.

    Raises:
        SplitError: A cell is neither true nor false.
    """
    if "drifts" not in manifest.columns:
        return np.zeros(len(manifest), bool)
    cells = manifest["drifts"].astype("string").fillna("").str.lower()
    odd = sorted(set(cells.unique()) - {*_YES, *_NO})
    if odd:
        raise SplitError(
            "The manifest's column 'drifts' must say true or false of every scene. "
            f"Received: {odd}."
        )
    return np.asarray(cells.isin(_YES), bool)


def pass_names(manifest: Any) -> np.ndarray:
    """The satellite pass or chart of each tile: column ``pass``, else its scene."""
    scene = manifest["scene_id"].astype(str)
    if "pass" not in manifest.columns:
        return scene.to_numpy(object)
    told = manifest["pass"].astype("string").astype(object)
    return told.where(told.notna(), scene).to_numpy(object)


def keep_passes(manifest: Any, codes: np.ndarray) -> np.ndarray:
    """Group numbers in which the tiles of a drifting pass share one group.

    Groups that a pass has in common become one; without drifting tiles nothing changes.

    Args:
        manifest: Of the tiles.
        codes: (tile,) group numbers from 0.

    Returns:
        (tile,) int64 group numbers from 0.
    """
    moves = drifting(manifest)
    if not moves.any():
        return codes
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    passes = _numbered(pass_names(manifest)[moves])
    first = int(codes.max()) + 1
    size = first + int(passes.max()) + 1
    edges = (np.ones(len(passes)), (codes[moves], first + passes))
    joined = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    return np.unique(joined[1][codes], return_inverse=True)[1]


def _numbered(names: np.ndarray) -> np.ndarray:
    """Numbers of names, in the order of the alphabet, by one table and not a sort."""
    import pandas as pd

    return pd.factorize(names.astype(str), sort=True)[0]


def as_passes(manifest: Any, codes: np.ndarray) -> np.ndarray:
    """Group numbers in which each drifting pass is a group of its own.

    Args:
        manifest: Of the tiles.
        codes: (tile,) group numbers from 0, kept where the tiles do not drift.

    Returns:
        (tile,) int64 group numbers from 0.
    """
    moves = drifting(manifest)
    passes = _numbered(pass_names(manifest))
    mixed = np.where(moves, int(codes.max()) + 1 + passes, codes)
    return np.unique(mixed, return_inverse=True)[1]


def drift_leaks(
    manifest: Any, train: np.ndarray, test: np.ndarray, km_per_day: float
) -> tuple[DriftLeak, ...]:
    """Lists drifting passes of both sides that may show the same ice.

    They do where one pass is on both sides, and where two lie at most `MAX_DAYS` apart
    and nearer to each other than the ice drifts in that time. Passes without a time or
    a place cannot be compared.

    Args:
        manifest: Of the tiles.
        train: Tile indices.
        test: Tile indices.
        km_per_day: How far the ice may drift in a day.

    Returns:
        The pairs, the nearest in time first.
    """
    moves = drifting(manifest)
    train, test = train[moves[train]], test[moves[test]]
    if not len(train) or not len(test):
        return ()
    mine, theirs = _passes(manifest, train), _passes(manifest, test)
    both = sorted({*mine.names} & {*theirs.names})
    found = [DriftLeak(name, name, 0.0, 0.0) for name in both]
    for here, there, km, days in near_passes(mine, theirs, km_per_day, MAX_DAYS):
        pair = mine.names[here], theirs.names[there]
        if pair[0] != pair[1]:
            found.append(DriftLeak(*pair, km, days))
    return tuple(sorted(found, key=lambda leak: (leak.days, leak.distance_km)))


def unseen_passes(
    manifest: Any, train: np.ndarray, test: np.ndarray
) -> tuple[str, ...]:
    """Names the drifting passes that `drift_leaks` cannot compare, sorted.

    Args:
        manifest: Of the tiles.
        train: Tile indices.
        test: Tile indices.

    Returns:
        Those without a time or a place, where ice drifts on both sides; else none.
    """
    moves = drifting(manifest)
    sides = [rows[moves[rows]] for rows in (train, test)]
    if not all(len(rows) for rows in sides):
        return ()
    found = _passes(manifest, np.concatenate(sides))
    lost = np.isnan(found.begin) | np.isnan(found.bounds[:, 0])
    return tuple(found.names[number] for number in np.flatnonzero(lost))


def _passes(manifest: Any, rows: np.ndarray) -> Passes:
    times = manifest["time"].to_numpy("datetime64[ns]")
    return Passes(pass_names(manifest), times, _in_metres(manifest), rows)


def _in_metres(manifest: Any) -> np.ndarray | None:
    """Footprints in metres; ``None`` for plain images, which are nowhere."""
    import shapely

    if manifest.crs is None:
        return None
    geometry = manifest.geometry
    if manifest.crs.is_geographic:
        # Degrees are no distance, and meet at the pole and at the date line. On
        # these planes, polewards of 60 degrees, kilometres are true to 4 %.
        north = geometry.bounds["miny"].mean() >= 0
        return geometry.to_crs("EPSG:3413" if north else "EPSG:3976").to_numpy()
    factor = manifest.crs.axis_info[0].unit_conversion_factor
    shapes = geometry.to_numpy()
    return shapes if factor == 1 else shapely.transform(shapes, lambda xy: xy * factor)
