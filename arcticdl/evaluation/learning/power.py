"""Power laws of the error over the number of training scenes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Of 0 the error stays as it is, which is what a rising one is fitted by.
_EXPONENTS = np.concatenate([[0.0], np.geomspace(0.01, 4.0, 800)])
FEWEST = 3
"""Numbers of scenes without which no curve is fitted."""
_FEWEST_WITH_FLOOR = 4


class PowerLaw(NamedTuple):
    """``floor + scale * n ** -exponent``, one or many of them.

    Attributes:
        floor: Error that no number of scenes takes away; 0 where it was not fitted.
        scale: Of what scenes take away.
        exponent: How fast; 0.5 means that four times the scenes halve it.
    """

    floor: NDArray[np.float64]
    scale: NDArray[np.float64]
    exponent: NDArray[np.float64]

    def at(self, num_scenes: float) -> NDArray[np.float64]:
        """The error that so many scenes give."""
        return self.floor + self.scale * num_scenes**-self.exponent


def fit_power_law(num_scenes: ArrayLike, errors: ArrayLike) -> PowerLaw:
    """Fits power laws of the error over the number of training scenes.

    Errors fall as a power of the number of examples until a floor is reached (Hestness
    et al. 2017, doi 10.48550/arXiv.1712.00409; Hoffmann et al. 2022, doi
    10.48550/arXiv.2203.15556, who fit the same with a term for the network's size).
    Least squares: exponents from 0 to 4 are gone through, and for each the best
    floor and scale, neither below 0, follow by linear algebra. A floor takes at least
    four numbers of scenes; with three there is none.

    Args:
        num_scenes: ``(point,)``, at least three different ones, >= 1.
        errors: ``(point,)``, or ``(draw, point)`` for a fit of each draw; >= 0.

    Returns:
        The laws: arrays ``()`` or ``(draw,)``.

    Raises:
        ValueError: Fewer than three numbers of scenes, or shapes differ.

    Example:
        >>> law = fit_power_law([4, 8, 16], [0.5, 0.5 / 2**0.5, 0.25])
        >>> round(float(law.exponent), 2)
        0.5
    """
    n, given = np.asarray(num_scenes, np.float64), np.asarray(errors, np.float64)
    if len(np.unique(n)) < FEWEST or given.shape[-1:] != n.shape:
        raise ValueError(
            f"`num_scenes` must hold at least {FEWEST} different numbers, and `errors` "
            f"one each. Received: {n.tolist()} and shape {given.shape}."
        )
    table = np.atleast_2d(given)
    best = np.full(len(table), np.inf)
    law = np.zeros((3, len(table)))
    for exponent in _EXPONENTS:
        x = n**-exponent
        for floor, scale in _candidates(x, table, len(np.unique(n))):
            misfit = ((floor[:, None] + scale[:, None] * x - table) ** 2).sum(-1)
            better = (misfit < best) & (floor >= 0) & (scale >= 0)
            best = np.where(better, misfit, best)
            law = np.where(better, [floor, scale, np.full_like(floor, exponent)], law)
    found = law if given.ndim > 1 else law[:, 0]
    return PowerLaw(found[0], found[1], found[2])


def _candidates(
    x: NDArray[np.float64], errors: NDArray[np.float64], num_sizes: int
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Floors and scales of which the best with neither below 0 is one."""
    none, level = np.zeros(len(errors)), errors.mean(-1)
    found = [(none, errors @ x / (x @ x))]
    centred = x - x.mean()
    if num_sizes >= _FEWEST_WITH_FLOOR and np.ptp(x) > 0:
        scale = errors @ centred / (centred @ centred)
        found += [(level, none), (level - scale * x.mean(), scale)]
    return found
