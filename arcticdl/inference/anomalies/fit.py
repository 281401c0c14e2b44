"""The error of a rebuilt image, and the limit that normal scenes stay below."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from sklearn.cluster import KMeans

Floats = NDArray[np.float32]

FILE = "anomalies.npz"
"""Name beside the model that it belongs to."""

_MOST_FITTED = 20_000  # places that clusters are found among


class Anomalies(NamedTuple):
    """What is normal for an autoencoder, as far as scenes show that trained it not.

    Attributes:
        limit: Error that, in each of the normal scenes, a share ``quantile`` of the
            pixels stay below.
        quantile: That share.
        window_px: Side of the square that errors are averaged over.
        num_scenes: Normal scenes.
        centres: (cluster, feature) of codes of the training scenes.
        mean: (feature,) of these codes.
        std: Their deviation.
        weights: Digest of the network's weights.
    """

    limit: float
    quantile: float
    window_px: int
    num_scenes: int
    centres: Floats
    mean: Floats
    std: Floats
    weights: str

    def shares(self, code: Floats) -> Floats:
        """Which cluster each code (..., feature) belongs to: 1, else 0 (..., cluster).

        Example:
            >>> found = unfitted(3)._replace(centres=np.array([[0.0], [9.0]], "f4"))
            >>> found.shares(np.array([[2.0], [7.0]], "f4")).tolist()
            [[1.0, 0.0], [0.0, 1.0]]
        """
        apart = code[..., None, :] - self.centres
        nearest = np.square(apart).sum(-1).argmin(-1)
        return np.eye(len(self.centres), dtype=np.float32)[nearest]


def unfitted(window_px: int) -> Anomalies:
    """Errors as they are: the limit is 1, and there are no clusters.

    Args:
        window_px: Side of the square that errors are averaged over, odd.

    Raises:
        ValueError: A side that is even or below 1.
    """
    if window_px < 1 or window_px % 2 == 0:
        raise ValueError(
            "`window_px` must be odd and at least 1, so that it has a middle. "
            f"Received: window_px={window_px}."
        )
    none = np.zeros((0,), np.float32)
    return Anomalies(1.0, 1.0, window_px, 0, none[None, :][:0], none, none, "")


def rebuild_error(
    image: NDArray[Any], rebuilt: Floats, valid: NDArray[np.bool_], window_px: int
) -> Floats:
    """Root of the mean squared error about each pixel, over all bands.

    Args:
        image: ``(n, y, x, band)``; bands on one scale.
        rebuilt: Likewise.
        valid: ``(n, y, x)``; pixels without data are left out of every mean.
        window_px: Side of the square that is averaged over, odd; cut at the edges.

    Returns:
        ``(n, y, x, 1)``, 0 where the pixel itself has no data.

    Example:
        >>> image = np.zeros((1, 1, 3, 1), "f4")
        >>> rebuilt = np.array([3.0, 0.0, 9.0], "f4").reshape(1, 1, 3, 1)
        >>> valid = np.array([[[True, True, False]]])
        >>> rebuild_error(image, rebuilt, valid, 3).ravel().round(3)
        array([2.121, 2.121, 0.   ], dtype=float32)
    """
    known = np.where(valid[..., None], image - rebuilt, 0).astype(np.float64)
    around = (0, window_px, window_px)
    weight = valid.astype(np.float64)
    options: dict[str, Any] = {"size": around, "mode": "constant"}
    total = uniform_filter(np.square(known).mean(-1), **options)
    count = uniform_filter(weight, **options)
    # Running sums leave a little below 0 where nothing is.
    mean = np.maximum(total, 0) / np.maximum(count, 1e-9)
    return np.where(valid, np.sqrt(mean), 0).astype(np.float32)[..., None]


def usual_error(errors: Floats, quantile: float) -> float:
    """The least error that a share of a scene's pixels do not go beyond.

    It is one of the errors: a value between two of them would leave a pixel too many
    beyond it.

    Args:
        errors: ``(pixel,)``.
        quantile: Share of the pixels, in (0, 1).

    Example:
        >>> usual_error(np.arange(4.0), 0.8)
        3.0
    """
    return float(np.quantile(errors, quantile, method="inverted_cdf"))


def fit_limit(errors: Mapping[str, Floats], quantile: float) -> float:
    """The error below which a share of the pixels of each normal scene stay.

    The greatest, over scenes, of the quantile of a scene's pixels. Pixels of a scene
    resemble each other, and scenes may be taken for exchangeable: of ``n`` of them, a
    new one has more than ``1 - quantile`` of its pixels beyond the limit with a
    probability of at most ``1 / (n + 1)``, by the rank of its quantile among theirs.

    Args:
        errors: Normal scene -> errors of its pixels; none of them trained the network.
        quantile: Share of pixels that are normal, in (0, 1).

    Raises:
        ValueError: A quantile outside (0, 1), no scene with a valid pixel, or no error
            at all.

    Example:
        >>> fit_limit({"a": np.arange(11.0), "b": np.zeros(5)}, 0.9)
        9.0
    """
    check_quantile(quantile)
    known = {n: usual_error(e, quantile) for n, e in errors.items() if len(e)}
    return greatest_error(known)


def check_quantile(quantile: float) -> None:
    """Refuses a share of pixels that is none.

    Raises:
        ValueError: It is outside (0, 1).
    """
    if not 0 < quantile < 1:
        raise ValueError(
            f"`quantile` must lie in (0, 1). Received: quantile={quantile}."
        )


def greatest_error(usual: Mapping[str, float]) -> float:
    """The limit of ``fit_limit``, where only each scene's quantile was kept.

    Args:
        usual: Normal scene -> ``usual_error`` of its pixels.

    Raises:
        ValueError: No scene, or no error at all.

    Example:
        >>> greatest_error({"a": 0.5, "b": 0.25})
        0.5
    """
    if not max(usual.values(), default=0.0) > 0:
        raise ValueError(
            "The limit is set by normal scenes that are rebuilt with some error. "
            f"Received: quantiles {dict(usual)}."
        )
    return max(usual.values())


def fit_clusters(codes: Floats, number: int, *, seed: int = 0) -> Floats:
    """Centres of groups of codes, the largest group first (k-means).

    Args:
        codes: (place, feature) of training scenes.
        number: Groups, 2 to 20.
        seed: Of the places that are drawn from many, and of the first centres.

    Returns:
        (cluster, feature).

    Raises:
        ValueError: Another number of groups, or fewer places.
    """
    if not 2 <= number <= 20 or len(codes) < number:
        raise ValueError(
            "`num_clusters` must lie in 2...20, and be no more than there are places. "
            f"Received: num_clusters={number}, {len(codes)} places."
        )
    rng = np.random.default_rng(seed)
    most = min(len(codes), _MOST_FITTED)
    drawn = codes[rng.choice(len(codes), most, replace=False)]
    found = KMeans(number, n_init=4, random_state=seed).fit(drawn)
    order = np.argsort(-np.bincount(found.labels_, minlength=number), kind="stable")
    return np.asarray(found.cluster_centers_[order], np.float32)
