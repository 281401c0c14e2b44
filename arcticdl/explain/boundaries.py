"""Where decisions change in the plane of two bands, all others held."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.choices import check_choices
from arcticdl.explain.explainer import Explainer
from arcticdl.inference.strips import read_strips
from arcticdl.models.probe import coarsest_px
from arcticdl.scene import scene_band_stats

_MOST_DRAWN = 800


class Boundaries(NamedTuple):
    """A network's answers in the plane of two bands.

    Attributes:
        bands: The two.
        x: Values of the first, (size,), in source units.
        y: Values of the second.
        answer: Probabilities or values (y, x, k), at the middle of a flat picture.
        held: The other bands -> the value that they were held at, the scene's median.
        points: Values of the two bands at valid pixels of the scene, (n, 2).
    """

    bands: tuple[str, str]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    answer: NDArray[np.float32]
    held: dict[str, float]
    points: NDArray[np.float64]


def decision_boundaries(
    explainer: Explainer,
    scene: xr.Dataset,
    bands: tuple[str, str],
    *,
    size: int = 40,
    seed: int = 0,
) -> Boundaries:
    """Asks a network about flat pictures, over a grid of values of two bands.

    A flat picture has one value a band everywhere, so this shows what levels of two
    bands mean to a network; what texture and neighbours mean it does not show.

    Args:
        explainer: A model made ready, by any method.
        scene: A scene, for the range of the two bands (from the 1st to the 99th
            percentile) and the medians of the others.
        bands: Names of the two.
        size: Values along each axis.
        seed: Of the pixels that are drawn.

    Returns:
        The answers on the grid.

    Raises:
        ValueError: Not two different bands of the network.
    """
    names = list(explainer.subject.bands)
    check_pair(bands, names)
    scene, given = explainer.prepare(scene, None, survey=False)
    stats = scene_band_stats(scene) if given is None else given
    places = [names.index(band) for band in bands]
    low, high = (stats.percentiles[p][places] for p in (1, 99))
    x, y = (np.linspace(a, b, size) for a, b in zip(low, high, strict=True))
    flat = np.tile(np.asarray(stats.percentiles[50], float), (size, size, 1))
    flat[..., places[0]], flat[..., places[1]] = x[None, :], y[:, None]
    side = _side(explainer)
    answers = []
    for pixels in _batches(flat.reshape(-1, len(names)), explainer.batch_size):
        picture = np.tile(pixels[:, None, None], (1, side, side, 1))
        valid = np.ones(picture.shape[:3], bool)
        scaled = explainer.scale(picture.astype(np.float32), valid, given)
        answer = explainer.subject.answer(scaled)[: len(pixels)]
        middle = answer[:, side // 2, side // 2] if answer.ndim == 4 else answer
        answers.append(middle)
    others = {n: float(stats.percentiles[50][i]) for i, n in enumerate(names)}
    return Boundaries(
        (bands[0], bands[1]),
        x,
        y,
        np.concatenate(answers).reshape(size, size, -1),
        {name: value for name, value in others.items() if name not in bands},
        _points(scene, places, seed),
    )


def check_pair(bands: Sequence[str], known: Sequence[str]) -> None:
    """Refuses what are not two different bands of a network.

    Raises:
        ValueError: As said.
    """
    check_choices("bands", bands, known)
    if len(bands) != 2 or len(set(bands)) != 2:
        raise ValueError(
            f"`bands` must be two different ones of {list(known)}. "
            f"Received: {list(bands)}."
        )


def _side(explainer: Explainer) -> int:
    """Side of a flat picture: two of the coarsest features, within a window."""
    if explainer.subject.model.inputs[0].shape[1] is not None:
        return min(explainer.window)
    coarsest = coarsest_px(explainer.subject.model)
    return max(8, min(2 * coarsest, *explainer.window))


def _batches(pixels: NDArray, count: int) -> list[NDArray]:
    return [pixels[start : start + count] for start in range(0, len(pixels), count)]


def _points(scene: xr.Dataset, places: list[int], seed: int) -> NDArray[np.float64]:
    """Some valid pixels of a scene's middle rows, or of all of a small one."""
    rows = scene.sizes["y"]
    height = min(rows, 256)
    (strip,) = read_strips(scene, [(rows - height) // 2], height)
    found = strip.image[strip.valid][:, places].astype(float)
    if len(found) > _MOST_DRAWN:
        chosen = np.random.default_rng(seed).choice(len(found), _MOST_DRAWN, False)
        found = found[chosen]
    return found
