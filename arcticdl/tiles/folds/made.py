"""Tiles of scenes that a generator has made: they train, and are never tested.

A store knows them by the column ``made_from`` of its manifest, which names all scenes
that their generator has learnt from (GeoTIFF tag of the same name). Such a tile may
train a fold only if each of these scenes trains it too: a generator tells of what it
has learnt from, so that a synthetic tile of a tested scene would be a leak. The scenes
by which the weights of a generator were chosen (``chosen_on``), its validation part,
may validate a fold or train it, and are never tested by it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from arcticdl.errors import SplitError
from arcticdl.made import CHOSEN_ON, MADE_FROM


def join_names(scenes: Iterable[str]) -> str:
    """Names of scenes as one text, sorted.

    Example:
        >>> join_names(["b", "a"])
        'a; b'
    """
    return "; ".join(sorted(scenes))


def made_tiles(manifest: Any) -> np.ndarray:
    """Which tiles a generator has made.

    Args:
        manifest: Of the tiles.

    Returns:
        Booleans (tile,).
    """
    if MADE_FROM not in manifest.columns:
        return np.zeros(len(manifest), bool)
    return np.asarray(manifest[MADE_FROM].fillna("").astype(str).to_numpy() != "")


def observed_tiles(manifest: Any) -> np.ndarray:
    """Indices of the tiles that were observed, of which alone a model is scored.

    Args:
        manifest: Of the tiles.

    Raises:
        SplitError: A generator has made them all.
    """
    found = np.flatnonzero(~made_tiles(manifest))
    if not len(found):
        raise SplitError(
            "What is scored must hold observed scenes: what a generator has made can "
            f"only train. Received: {len(manifest)} tiles, all of made scenes."
        )
    return found


def told_scenes(manifest: Any, tiles: np.ndarray, column: str) -> list[frozenset[str]]:
    """Scenes that a column names of tiles; none where there is no such column.

    Args:
        manifest: Of all tiles.
        tiles: Indices.
        column: ``made_from`` or ``chosen_on``.

    Returns:
        One set of names a tile.
    """
    if column not in manifest.columns:
        return [frozenset()] * len(tiles)
    texts = manifest[column].fillna("").astype(str).to_numpy()[tiles]
    each = {text: frozenset(text.split("; ")) - {""} for text in set(texts)}
    return [each[text] for text in texts]


def fitting(
    manifest: Any,
    made: np.ndarray,
    learnt: np.ndarray,
    validated: np.ndarray,
    tested: np.ndarray,
) -> np.ndarray:
    """The tiles among `made` whose generator has seen nothing but what is learnt.

    Args:
        manifest: Of all tiles.
        made: Indices of tiles that a generator has made.
        learnt: Indices of the observed tiles that train.
        validated: Indices of those that validate.
        tested: Indices of those that test.

    Returns:
        Those of `made`, in their order, of which every scene of ``made_from`` has tiles
        in `learnt` and no other, and every scene of ``chosen_on`` none in `tested`.
    """
    if not len(made):
        return made
    ids = manifest["scene_id"].astype(str).to_numpy()
    test = set(ids[tested])
    trained = set(ids[learnt]) - set(ids[validated]) - test
    pairs = zip(
        told_scenes(manifest, made, MADE_FROM),
        told_scenes(manifest, made, CHOSEN_ON),
        strict=True,
    )
    return made[[seen <= trained and not by & test for seen, by in pairs]]


def count_leaks(manifest: Any, train: np.ndarray, test: np.ndarray) -> int:
    """Tiles that a generator has made: tested ones, and those that tested ones taught.

    Args:
        manifest: Of all tiles.
        train: Indices of the tiles that train.
        test: Indices of those that test.
    """
    made = made_tiles(manifest)
    if not made.any():
        return 0
    tested = set(manifest["scene_id"].astype(str).to_numpy()[test])
    shown = train[made[train]]
    pairs = zip(
        told_scenes(manifest, shown, MADE_FROM),
        told_scenes(manifest, shown, CHOSEN_ON),
        strict=True,
    )
    return int(made[test].sum()) + sum(bool((a | b) & tested) for a, b in pairs)
