"""Drift: how far new scenes lie from those that a model was trained on.

Distances are of pixels; what is uncertain about them are the scenes, so intervals come
from a bootstrap over scenes, and the measure of what is usual is how far each training
scene lies from the others.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

Samples = Mapping[str, np.ndarray]
"""{scene: (pixel,) values of one band}."""

_LEAST_SHARE = 1e-4
_MOST_PX = 20_000


class Distances(NamedTuple):
    """How far values lie from those of training.

    Attributes:
        wasserstein: Mean distance that values must be moved, in the band's unit.
        in_std: The same in standard deviations of the training pixels.
        ks: Largest difference of the two distribution functions, 0-1.
        psi: Population stability index over ten classes of equal training shares.
    """

    wasserstein: float
    in_std: float
    ks: float
    psi: float


def distances(training: np.ndarray, new: np.ndarray) -> Distances:
    """Compares two samples of one band.

    Wasserstein-1 and Kolmogorov-Smirnov by SciPy. The population stability index is
    sum((n - t) ln(n / t)) over classes with shares t and n (Siddiqi 2006, *Credit Risk
    Scorecards*; above 0.25 is by custom called a large change).

    Args:
        training: (pixel,) finite values.
        new: (pixel,) finite values.

    Example:
        >>> values = np.linspace(0, 1, 101)
        >>> round(distances(values, values + 0.5).wasserstein, 3)
        0.5
    """
    moved = float(stats.wasserstein_distance(training, new))
    spread = float(np.std(training))
    in_std = moved / spread if spread > 0 else (0.0 if moved == 0 else float("inf"))
    edges = np.unique(np.quantile(training, np.linspace(0, 1, 11)[1:-1]))
    shares = [
        np.bincount(np.searchsorted(edges, part), minlength=len(edges) + 1) / len(part)
        for part in (training, new)
    ]
    t, n = (np.maximum(share, _LEAST_SHARE) for share in shares)
    ks = float(stats.ks_2samp(training, new, method="asymp").statistic)
    return Distances(moved, in_std, ks, float(((n - t) * np.log(n / t)).sum()))


def compare_band(
    training: Samples,
    new: Samples,
    *,
    limit: float | None = None,
    num_resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares new scenes with training scenes in one band.

    Args:
        training: Pixels of each training scene; at least one scene.
        new: Pixels of each new scene; likewise.
        limit: Distance in standard deviations that counts as drift; ``None``: the
            largest that a training scene has from all others.
        num_resamples: Resamples of both sets of scenes behind the interval.
        seed: Of the bootstrap.

    Returns:
        ``Distances`` by name, ``interval`` of ``in_std`` (95 %), ``usual`` (the largest
        of the training scenes, or ``None`` of fewer than three), ``limit``, ``drifted``
        (the interval's lower end lies above the limit), ``scenes`` ({name: in_std}) and
        ``likely`` (what scale error would explain it, or ``None``).
    """
    old, now = _pool(training), _pool(new)
    found = distances(old, now)
    spread = float(np.std(old)) or 1.0
    apart = {
        name: stats.wasserstein_distance(_pool(training, but=name), values) / spread
        for name, values in training.items()
        if len(training) > 2
    }
    usual = max(apart.values(), default=None)
    limit = limit if limit is not None else (0.5 if usual is None else usual)
    interval = _interval(training, new, spread, num_resamples, seed)
    drifted = bool(interval[0] > limit)
    return {
        **found._asdict(),
        "interval": interval,
        "usual": usual,
        "limit": float(limit),
        "drifted": drifted,
        "training_mean": float(old.mean()),
        "training_std": float(np.std(old)),
        "new_mean": float(now.mean()),
        "scenes": {
            name: float(stats.wasserstein_distance(old, values) / spread)
            for name, values in new.items()
        },
        "likely": likely_scale(old, now, limit) if drifted else None,
    }


def _pool(samples: Samples, *, but: str | None = None) -> np.ndarray:
    """Pixels of all scenes together, every scene weighing by its pixels."""
    pooled = np.concatenate([v for name, v in samples.items() if name != but])
    step = max(1, len(pooled) // _MOST_PX)
    return pooled[::step].astype("float64")


def _interval(
    training: Samples, new: Samples, spread: float, count: int, seed: int
) -> list[float]:
    rng = np.random.default_rng(seed)
    sides = [list(training.values()), list(new.values())]
    found = []
    for _ in range(count):
        drawn = [
            np.concatenate([side[k] for k in rng.integers(0, len(side), len(side))])
            for side in sides
        ]
        parts = [one[:: max(1, len(one) // 4000)] for one in drawn]
        found.append(stats.wasserstein_distance(*parts) / spread)
    return [float(v) for v in np.percentile(found, [2.5, 97.5])]


def _times(factor: float, values: np.ndarray) -> np.ndarray:
    return values * factor


def _plus(offset: float, values: np.ndarray) -> np.ndarray:
    return values + offset


def _decibels(factor: float, values: np.ndarray) -> np.ndarray:
    return factor * np.log10(values)


def _linear(factor: float, values: np.ndarray) -> np.ndarray:
    return 10.0 ** (values / factor)


_FACTORS = (10.0, 100.0, 255.0, 1000.0, 10000.0)
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{f"{f:g} times too large": partial(_times, 1 / f) for f in _FACTORS},
    **{f"{f:g} times too small": partial(_times, f) for f in _FACTORS},
    "kelvin in place of degrees Celsius": partial(_plus, -273.15),
    "degrees Celsius in place of kelvin": partial(_plus, 273.15),
    "linear power in place of decibels": partial(_decibels, 10.0),
    "decibels in place of linear power": partial(_linear, 10.0),
    "linear amplitude in place of decibels": partial(_decibels, 20.0),
    "decibels in place of linear amplitude": partial(_linear, 20.0),
}
"""What a wrong scale is called -> what would mend the new values."""


def likely_scale(training: np.ndarray, new: np.ndarray, limit: float) -> str | None:
    """Names the scale error that would explain a drift.

    Args:
        training: (pixel,) values of training.
        new: (pixel,) values that lie elsewhere.
        limit: Distance in standard deviations up to which values agree.

    Returns:
        The one of ``SCALES`` after whose mending the new values lie nearest, within a
        fifth of their distance, and within the limit or half a standard deviation.

    Example:
        >>> values = np.random.default_rng(0).uniform(0.1, 0.9, 500)
        >>> likely_scale(values, values[::2] * 10_000, 0.2)
        '10000 times too large'
    """
    before = distances(training, new).in_std
    best, least = None, min(before / 5, max(limit, 0.5))
    for name, mend in SCALES.items():
        with np.errstate(all="ignore"):
            mended = mend(new.astype("float64"))
        if np.isfinite(mended).mean() < 0.99:
            continue
        apart = distances(training, mended[np.isfinite(mended)]).in_std
        if apart < least:
            best, least = name, apart
    return best


def compare_answers(
    reference: Sequence[np.ndarray],
    new: Sequence[np.ndarray],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares what a model answers about new scenes with held-out ones.

    Args:
        reference: (number,) of each held-out scene, such as class shares.
        new: Likewise of each new scene.
        num_resamples: Of both sets of scenes.
        seed: Of the bootstrap.

    Returns:
        ``reference``, ``new`` and ``difference`` (number,) lists of means over scenes,
        and ``interval`` of the difference (number, 2), 95 %.
    """
    one, other = np.array(reference, "float64"), np.array(new, "float64")
    rng = np.random.default_rng(seed)
    drawn = [
        side[rng.integers(0, len(side), (num_resamples, len(side)))].mean(axis=1)
        for side in (one, other)
    ]
    limits = np.percentile(drawn[1] - drawn[0], [2.5, 97.5], axis=0).T
    return {
        "reference": one.mean(axis=0).tolist(),
        "new": other.mean(axis=0).tolist(),
        "difference": (other.mean(axis=0) - one.mean(axis=0)).tolist(),
        "interval": limits.tolist(),
    }
