"""Paired statistics of two runs that were scored on the same scenes."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.evaluation.compare.counts import UnitCounts
from arcticdl.metrics.intervals import interval_of


class PairedTest(NamedTuple):
    """The difference of one pooled score between two runs.

    Attributes:
        difference: First run minus second.
        interval: Percentile interval of 95 % of it, by a paired bootstrap of scenes.
        wins: Share of the bootstrap's draws in which the first run scores higher; ties
            count half.
        p_value: Of a two-sided permutation test; NaN where the score is not defined.
        exact: Whether every swap was tried.
    """

    difference: float
    interval: tuple[float, float]
    wins: float
    p_value: float
    exact: bool


def paired_tests(
    first: UnitCounts, second: UnitCounts, *, num_resamples: int = 10_000, seed: int = 0
) -> dict[str, PairedTest]:
    """Compares every pooled score of two runs.

    Bootstrap: scenes are drawn with replacement, the same ones for both runs, and the
    scores are pooled anew (Efron and Tibshirani 1993, chapter 13). Test: were the runs
    alike, it would not matter which of them gave which answer for a scene; so the runs
    are swapped scene by scene, and the p-value is the share of swaps that give at least
    the difference that was found (Good 2005; Phipson and Smyth 2010 on counting the
    one that was found). All swaps are gone through where there are no more than
    `num_resamples` of them, which is exact.

    Args:
        first: Of one run.
        second: Of another on the same units, in the same order.
        num_resamples: Bootstrap draws, and swaps where not all can be tried.
        seed: Of both.

    Returns:
        ``{score: test}``.
    """
    num_units = len(first.units)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(num_units, np.full(num_units, 1 / num_units), num_resamples)
    a, b = first.scored(drawn), second.scored(drawn)
    swaps = draw_swaps(num_units, num_resamples, rng)
    c, d = _swapped(first, second, swaps), _swapped(second, first, swaps)
    return {
        key: PairedTest(
            float(c[key][0] - d[key][0]),
            tuple(interval_of(a[key] - b[key])),  # type: ignore[arg-type]
            _share_above(a[key] - b[key]),
            _p_value(c[key] - d[key]),
            len(swaps) == 2**num_units,
        )
        for key in a
    }


def draw_swaps(
    num_units: int, num_resamples: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which units are swapped: all ways where few enough, else random ones.

    Returns:
        ``(swap, unit)``; the first swaps nothing.
    """
    if 2**num_units <= num_resamples:
        ways = list(itertools.product((False, True), repeat=num_units))
        return np.array(ways, bool)
    swaps = rng.random((num_resamples, num_units)) < 0.5
    return np.concatenate([np.zeros((1, num_units), bool), swaps])


def least_p_value(num_units: int) -> float:
    """The smallest two-sided p-value that swaps of so many units can give.

    Example:
        >>> least_p_value(5)
        0.0625
    """
    return min(1.0, 2.0 ** (1 - num_units))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusts p-values of several tests (Holm 1979); NaN stays out of the count.

    Args:
        p_values: ``(test,)``.

    Returns:
        ``(test,)``: compared with a level, they keep the chance of any false finding
        among all tests below it.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def units_needed(num_tests: int, level: float) -> int:
    """Fewest units with which the smallest of so many p-values may reach a level.

    Example:
        >>> units_needed(1, 0.05), units_needed(3, 0.05)
        (6, 7)
    """
    enough = (n for n in itertools.count(2) if num_tests * least_p_value(n) <= level)
    return next(enough)


def _swapped(
    one: UnitCounts, other: UnitCounts, swaps: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    both = one._replace(
        units=one.units + other.units, sums=np.concatenate([one.sums, other.sums])
    )
    return both.scored(np.concatenate([~swaps, swaps], axis=1).astype(np.float64))


def _share_above(differences: NDArray[np.float64]) -> float:
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return float("nan")
    return float((defined > 0).mean() + 0.5 * (defined == 0).mean())


def _p_value(differences: NDArray[np.float64]) -> float:
    found = abs(differences[0])
    if np.isnan(found):
        return float("nan")
    # A swap of all units gives the same size but for the last digits.
    least = found - 1e-12 * max(1.0, found)
    # The first is the found one, so that no p-value is 0.
    return float((np.abs(differences) >= least).mean())


def unit_scores(counts: Sequence[UnitCounts], key: str) -> NDArray[np.float64]:
    """A score of each unit by itself: ``(run, unit)``, NaN where it is not defined."""
    alone = np.eye(len(counts[0].units))
    return np.stack([c.scored(alone)[key] for c in counts])
