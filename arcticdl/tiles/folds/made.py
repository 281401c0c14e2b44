"""Tiles of scenes that a generator has made: they train, and are never tested.

A store knows them by the column ``made_from`` of its manifest, which names all scenes
that their generator has learnt from (GeoTIFF tag of the same name). Such a tile may
train a fold only if each of these scenes trains it too: a generator tells of what it
has learnt from, so that a synthetic tile of a tested scene would be a leak.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from arcticdl.sources.tags import MADE_FROM


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


def fitting(
    manifest: Any, made: np.ndarray, learnt: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """The tiles among `made` whose generator has seen nothing but what is learnt.

    Args:
        manifest: Of all tiles.
        made: Indices of tiles that a generator has made.
        learnt: Indices of the observed tiles that train.
        held: Indices of those that validate or test.

    Returns:
        Those of `made`, in their order, of which every scene of ``made_from`` has tiles
        in `learnt` and none in `held`.
    """
    if not len(made):
        return made
    ids = manifest["scene_id"].astype(str).to_numpy()
    trained = set(ids[learnt]) - set(ids[held])
    told = manifest[MADE_FROM].fillna("").astype(str).to_numpy()[made]
    fits = {text: set(text.split("; ")) <= trained for text in set(told)}
    return made[[fits[text] for text in told]]


def beside(
    manifest: Any, made: np.ndarray, learnt: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """The tiles that train, with those of `made` that fit them; sorted."""
    return np.sort(np.concatenate([learnt, fitting(manifest, made, learnt, held)]))
