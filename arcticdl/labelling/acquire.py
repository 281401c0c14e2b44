"""What to label next: the strategies by which unlabelled pictures are ranked."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

STRATEGIES = {
    "coreset": "far from all that is labelled, in the network's features: each next "
    "one is the farthest from those before (k-centre greedy)",
    "disagreement": "the folds' models contradict each other",
    "entropy": "the models are unsure of the class",
    "random": "none: what every other strategy must beat",
}
"""Name -> what it looks for."""


def k_centre_greedy(
    features: np.ndarray, centres: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Picks points so that none of the others lies far from a pick.

    Each next pick is the point farthest from all centres and picks so far, which covers
    the points with at most twice the best possible radius (Gonzalez 1985; for choosing
    what to label, Sener and Savarese 2018, https://arxiv.org/abs/1708.00489).

    Args:
        features: (point, feature).
        centres: (centre, feature) that are there already; without any the first pick is
            the point nearest to the mean.
        count: Picks.

    Returns:
        (pick,) indices of the points, and (pick,) their distances when picked; infinite
        for a first pick without centres.

    Example:
        >>> points = np.array([[0.0], [1.0], [10.0], [11.0]])
        >>> k_centre_greedy(points, np.array([[0.5]]), 2)[0].tolist()
        [3, 2]
    """
    features = np.asarray(features, "float64")
    nearest = np.full(len(features), np.inf)
    for centre in np.asarray(centres, "float64").reshape(-1, features.shape[1]):
        nearest = np.minimum(nearest, np.linalg.norm(features - centre, axis=1))
    picks, distances = [], []
    for _ in range(min(count, len(features))):
        if np.isinf(nearest).all():
            pick = np.linalg.norm(features - features.mean(0), axis=1).argmin()
        else:
            pick = nearest.argmax()
        picks.append(int(pick))
        distances.append(float(nearest[pick]))
        away = np.linalg.norm(features - features[pick], axis=1)
        nearest = np.minimum(nearest, away)
        nearest[picks] = -1.0  # equal points are picked once each
    return np.array(picks, int), np.array(distances)


def rank(
    measures: Mapping[str, np.ndarray],
    features: np.ndarray | None,
    centres: np.ndarray,
    *,
    count: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Ranks pictures by each strategy that can be told.

    Args:
        measures: ``"entropy"`` and ``"disagreement"``, (picture,) each, where known.
        features: (picture, feature), or ``None`` where the network gives none.
        centres: (labelled picture, feature).
        count: How many the core-set strategy ranks.
        seed: Of the random order, which is always there.

    Returns:
        One row a picture: the measures, ``distance`` of core-set picks, and
        ``rank_STRATEGY`` from 1, missing beyond ``count`` picks of the core set.
    """
    size = len(features) if features is not None else len(next(iter(measures.values())))
    table = pd.DataFrame({name: measures[name] for name in sorted(measures)})
    for name in sorted(measures):
        order = np.argsort(-measures[name], kind="stable")
        table[f"rank_{name}"] = _ranks(order, size)
    if features is not None:
        scale = np.std(np.concatenate([features, centres]), axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        picks, distances = k_centre_greedy(features / scale, centres / scale, count)
        table["distance"] = np.nan
        table.loc[picks, "distance"] = distances
        table["rank_coreset"] = _ranks(picks, size)
    order = np.random.default_rng(seed).permutation(size)
    table["rank_random"] = _ranks(order, size)
    return table


def _ranks(order: np.ndarray, size: int) -> pd.array:
    ranks = pd.array([pd.NA] * size, dtype="Int64")
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
