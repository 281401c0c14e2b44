"""The distance of features to those of training, and the limit of what is usual."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

Floats = NDArray[np.float32]

FILE = "novelty.npz"
"""Name beside the model that it belongs to."""

_MOST_FITTED = 20_000
_PARTS = 5


class Novelty(NamedTuple):
    """What is usual in the features of a layer, as far as training shows it.

    Attributes:
        layer: Name of `arcticdl.models.probe.find_features`.
        mean: (channel,) of the training scenes.
        root: (channel, channel); the length of ``(f - mean) @ root`` is the distance of
            Mahalanobis.
        limit: Distance that a share ``quantile`` of the places in training scenes stay
            below, each measured without its own scene.
        quantile: That share.
        scene_limit: The greatest mean of a training scene, likewise, over ``limit``.
        num_scenes: Training scenes.
        weights: Digest of the network's weights.
    """

    layer: str
    mean: Floats
    root: Floats
    limit: float
    quantile: float
    scene_limit: float
    num_scenes: int
    weights: str

    def score(self, features: Floats) -> Floats:
        """Distance over the limit, of features (..., channel): above 1 is unusual."""
        shifted = (features - self.mean) @ self.root
        return np.linalg.norm(shifted, axis=-1) / np.float32(self.limit)


def fit_novelty(
    features: Mapping[str, Floats],
    *,
    layer: str,
    weights: str = "",
    quantile: float = 0.99,
    seed: int = 0,
) -> Novelty:
    """Fits mean and covariance of features, and the limit of what is usual.

    The distance of Mahalanobis to the features of training (Lee et al. 2018,
    arXiv:1807.03888), of one group, with the covariance shrunk as Ledoit and Wolf do
    (2004, doi:10.1016/S0047-259X(03)00096-4). The limit is cross-fitted: features of a
    scene are measured by the others, so that it is that of a scene which was not seen
    when the mean was taken.

    Args:
        features: Training scene -> (place, channel) float32.
        layer: Whose features they are.
        weights: Digest of the network's weights.
        quantile: Share of places that are usual, in (0, 1).
        seed: Of the places that are drawn from many.

    Returns:
        The fit.

    Raises:
        ValueError: Fewer than two scenes, or a quantile outside (0, 1).
    """
    if not 0 < quantile < 1:
        raise ValueError(
            f"`quantile` must lie in (0, 1). Received: quantile={quantile}."
        )
    names = sorted(name for name, rows in features.items() if len(rows))
    if len(names) < 2:
        raise ValueError(
            "What is usual is told by at least two training scenes, of which each is "
            f"measured by the others. Received: {names}."
        )
    rng = np.random.default_rng(seed)
    most = max(1, _MOST_FITTED // len(names))
    drawn = {name: _draw(features[name], most, rng) for name in names}
    parts = np.array_split(rng.permutation(names), min(_PARTS, len(names)))
    distances: dict[str, Floats] = {}
    for part in parts:
        others = np.concatenate([drawn[n] for n in names if n not in set(part)])
        mean, root = _whitening(others)
        for name in part:
            distances[name] = np.linalg.norm((drawn[name] - mean) @ root, axis=-1)
    limit = float(np.quantile(np.concatenate(list(distances.values())), quantile))
    mean, root = _whitening(np.concatenate(list(drawn.values())))
    scenes = max(float(rows.mean()) for rows in distances.values()) / limit
    return Novelty(layer, mean, root, limit, quantile, scenes, len(names), weights)


def _draw(rows: Floats, most: int, rng: np.random.Generator) -> Floats:
    if len(rows) <= most:
        return rows
    return rows[rng.choice(len(rows), most, replace=False)]


def _whitening(rows: Floats) -> tuple[Floats, Floats]:
    """Mean, and the Cholesky factor of the inverse of the shrunk covariance."""
    fitted = LedoitWolf().fit(rows.astype(np.float64))
    root = np.linalg.cholesky(fitted.precision_)
    return fitted.location_.astype(np.float32), root.astype(np.float32)
