"""Is an explanation faithful: taking away what it names must hurt more than chance."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.explain.explainer import Explainer
from arcticdl.explain.subject import Floats
from arcticdl.scene import BandStats

SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)
_NUM_ORDERS = 3
"""Shares of a window's valid blocks that are taken away."""


class Deletion(NamedTuple):
    """What is left of an answer when parts of a picture are taken away.

    Attributes:
        shares: Shares of the valid blocks that are gone.
        by_importance: What is left of the answer, mean over windows, most important
            blocks first; 1 with nothing gone.
        at_random: The same for blocks in random order, mean over orders.
        gain: Mean of the second less the first: above 0 is better than chance.
    """

    shares: tuple[float, ...]
    by_importance: tuple[float, ...]
    at_random: tuple[float, ...]
    gain: float


def deletion_curves(
    explainer: Explainer,
    image: NDArray,
    valid: NDArray[np.bool_],
    *,
    stats: BandStats | None = None,
    block_px: int = 8,
    seed: int = 0,
) -> Deletion:
    """Takes blocks of windows away by their importance, and at random.

    The deletion game of Petsiuk et al. (2018, arXiv:1806.07421), in blocks, so that
    what is taken at random has the same shape as what is taken by importance. All bands
    of a block become 0 after scaling. Measured is the mean, over valid pixels, of the
    answer that is explained: the probability of the class that was answered with
    nothing gone.

    Args:
        explainer: Any method but activations, which name no answer.
        image: (n, y, x, band) in source units, n at most its batch size.
        valid: (n, y, x).
        stats: Of the whole scene, where the scaling needs them.
        block_px: Side of a block, in px.
        seed: Of the three random orders.

    Returns:
        The curves.

    Raises:
        ValueError: The method names no answer, or a head of values.
    """
    subject = explainer.subject
    if explainer.layers[0].name == "activations" or not subject.head.classes:
        raise ValueError(
            "Deletion needs a method that explains a class: 'gradcam', 'integrated' or "
            f"'occlusion'. Received: {explainer.layers[0].name!r} of a head of task "
            f"{subject.head.task!r}."
        )
    scaled = explainer.scale(image, valid, stats)
    known = np.pad(valid, [(0, len(scaled) - len(valid)), (0, 0), (0, 0)])
    found = explainer.method.explain(scaled, known).sum(axis=-1) * known
    chosen = subject.chosen(subject.answer(scaled), known)
    rng = np.random.default_rng(seed)

    def left(order: Floats) -> list[float]:
        return [
            _score(explainer, _without(scaled, order, known, share, block_px), chosen)
            for share in SHARES
        ]

    ours = np.array(left(_blocks(found, block_px)))
    shape = _blocks(found, block_px).shape
    orders = [rng.random(shape).astype(np.float32) for _ in range(_NUM_ORDERS)]
    chance = np.mean([left(order) for order in orders], axis=0)
    ours, chance = ours / ours[0], chance / chance[0]
    gain = float((chance - ours)[1:].mean())
    return Deletion(SHARES, tuple(map(float, ours)), tuple(map(float, chance)), gain)


def _score(explainer: Explainer, scaled: Floats, chosen: Floats) -> float:
    answer = explainer.subject.answer(scaled)
    return float((answer * chosen).sum() / max(chosen.sum(), 1))


def _blocks(values: Floats, block: int) -> Floats:
    """Sums over blocks, those at the edge smaller."""
    starts = [np.arange(0, side, block) for side in values.shape[1:]]
    rows = np.add.reduceat(values, starts[0], axis=1)
    return np.add.reduceat(rows, starts[1], axis=2)


def _without(
    scaled: Floats, order: Floats, known: NDArray[np.bool_], share: float, block: int
) -> Floats:
    """Pictures whose first blocks of an order are 0; blocks of nodata do not count."""
    there = _blocks(known.astype(np.float32), block) > 0
    left = scaled.copy()
    for number, ranks in enumerate(np.where(there, order, -np.inf)):
        count = round(share * int(there[number].sum()))
        if count:
            least = np.sort(ranks, axis=None)[-count]
            gone = np.repeat(np.repeat(ranks >= least, block, 0), block, 1)
            left[number][gone[: left.shape[1], : left.shape[2]]] = 0
    return left
