"""Filled gaps: their scores, and what fills them without a network.

Only what was hidden is scored; of what was observed nothing could be wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from arcticdl.evaluation.choose import evaluation_for
from arcticdl.evaluation.images import rows_by_name
from arcticdl.evaluation.restored.scores import (
    each_band,
    given_bands,
    restoration_scores,
)
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore
from arcticdl.tiles.views.assemble import assemble_scene

FloatArray = NDArray[np.float64]

_TITLES = {
    "biharmonic": "biharmonic surface through the rim",
    "harmonic": "harmonic surface through the rim",
    "nearest": "nearest observed pixel",
    "other_dates": "median of the place's other dates",
}


def fill_nearest(image: FloatArray) -> FloatArray:
    """Fills gaps with the value of the nearest observed pixel.

    Args:
        image: ``(y, x)``, NaN in gaps.

    Returns:
        The image without gaps; as it is where nothing was observed.

    Example:
        >>> fill_nearest(np.array([[1.0, np.nan, np.nan, 4.0]])).tolist()
        [[1.0, 1.0, 4.0, 4.0]]
    """
    gap = np.isnan(image)
    if gap.all() or not gap.any():
        return image
    places = ndimage.distance_transform_edt(
        gap, return_distances=False, return_indices=True
    )
    found: FloatArray = image[tuple(places)]
    return found


def fill_harmonic(image: FloatArray) -> FloatArray:
    """Fills gaps with the surface whose every pixel is the mean of its neighbours.

    It solves Laplace's equation between the rims of each gap; the frame of the image
    mirrors. Nothing within a gap lies beyond the values about it.

    Args:
        image: ``(y, x)``, NaN in gaps.

    Returns:
        The image without gaps; as it is where nothing was observed.

    Example:
        >>> fill_harmonic(np.array([[1.0, np.nan, np.nan, 4.0]])).round(6).tolist()
        [[1.0, 2.0, 3.0, 4.0]]
    """
    gap = np.isnan(image)
    filled = image.copy()
    if gap.all():
        return filled
    parts, _ = ndimage.label(gap)
    for number, found in enumerate(ndimage.find_objects(parts), start=1):
        wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in found)
        inside = parts[wide] == number
        filled[wide][inside] = _laplace(image[wide], inside)
    return filled


def _laplace(image: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Values of a connected part, whose rim lies within the image."""
    number = np.full(image.shape, -1)
    count = int(inside.sum())
    number[inside] = np.arange(count)
    rows, columns = np.nonzero(inside)
    neighbours, known = np.zeros(count), np.zeros(count)
    links: list[NDArray[np.int64]] = []
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        row, column = rows + down, columns + right
        there = (row >= 0) & (row < image.shape[0])
        there &= (column >= 0) & (column < image.shape[1])
        own, row, column = np.flatnonzero(there), row[there], column[there]
        neighbours[own] += 1
        other = number[row, column]
        links.append(np.stack([own[other >= 0], other[other >= 0]]))
        known[own[other < 0]] += image[row[other < 0], column[other < 0]]
    at = np.concatenate(links, axis=1)
    matrix = sparse.diags(neighbours) - sparse.coo_matrix(
        (np.ones(at.shape[1]), (at[0], at[1])), (count, count)
    )
    found: FloatArray = sparse.linalg.spsolve(matrix.tocsc(), known)
    return found


def fill_biharmonic(image: FloatArray) -> FloatArray:
    """Fills gaps with the smoothest surface that also keeps the slope at their rims.

    By ``skimage.restoration.inpaint_biharmonic`` (Damelin and Hoang 2018,
    doi:10.1155/2018/3950312).

    Args:
        image: ``(y, x)``, NaN in gaps.

    Returns:
        The image without gaps; as it is where nothing was observed.
    """
    from skimage.restoration import inpaint_biharmonic

    gap = np.isnan(image)
    if gap.all() or not gap.any():
        return image
    filled = inpaint_biharmonic(np.where(gap, 0.0, image), gap, split_into_regions=True)
    return np.asarray(filled, np.float64)


FILLERS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "biharmonic": fill_biharmonic,
    "harmonic": fill_harmonic,
    "nearest": fill_nearest,
}
"""What fills the gaps of one image by itself."""


def gap_baselines(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    start: Mapping[str, Any],
    *,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Scores what fills gaps without learning, on the gaps of whole test scenes.

    They are the nearest pixel, a harmonic and a biharmonic surface; and where a place
    (``group``) has several scenes on one grid, the median of its other dates, with the
    harmonic surface where all of them are cloudy.

    Args:
        store: A tile store.
        indices: Tiles to score.
        info: The label.
        head: What the network answers: values.
        start: The card's entry of the head: the bands that have gaps.
        seed: Seed of intervals.

    Returns:
        Method -> the layout of an evaluation's ``result``, with a ``title``.
    """
    evaluations: dict[str, Any] = {}
    places = _by_place(store, np.asarray(indices))
    several = any(len(place) > 1 for place in places)
    for place in places:
        scenes = [assemble_scene(store, tiles) for tiles in place]
        given = [given_bands(scene, start) for scene, _ in scenes]
        for k, (scene, truths) in enumerate(scenes):
            answers = {n: each_band(fill, given[k]) for n, fill in FILLERS.items()}
            if several:
                dates = _median(given[k], given[:k] + given[k + 1 :])
                answers["other_dates"] = each_band(fill_harmonic, dates)
            truth = truths[info.name]
            for name, values in answers.items():
                if name not in evaluations:
                    evaluations[name] = evaluation_for(head, seed=seed, num_pictures=0)
                extra = restoration_scores(scene, truth, values, start, info.units)
                answer = np.nan_to_num(values)
                evaluations[name].add(
                    str(scene.attrs["scene_id"]), truth, answer, extra=extra
                )
    return {
        name: {"title": _TITLES[name]} | evaluation.result()
        for name, evaluation in evaluations.items()
    }


def _by_place(store: TileStore, indices: np.ndarray) -> list[list[np.ndarray]]:
    """The tiles of each scene, scenes of one place and grid together."""
    rows = store.manifest.iloc[indices]
    found: dict[Any, list[np.ndarray]] = {}
    for scene_id, places in rows_by_name(rows["scene_id"].astype(str)).items():
        own = rows.iloc[places]
        grid = (*own.total_bounds.round(6), own["row"].max(), own["col"].max())
        key = (str(own["group"].iloc[0]) or scene_id, *grid)
        found.setdefault(key, []).append(indices[places])
    return list(found.values())


def _median(given: FloatArray, others: Sequence[FloatArray]) -> FloatArray:
    """The image with the median of others in its gaps, NaN where none has a value."""
    if not others:
        return given
    stack = np.stack(others)
    known = np.isfinite(stack).any(0)
    middle = np.full(given.shape, np.nan)
    middle[known] = np.nanmedian(stack[:, known], axis=0)
    return np.where(np.isnan(given), middle, given)
