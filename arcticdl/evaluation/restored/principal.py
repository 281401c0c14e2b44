"""Principal components of blocks: beside an autoencoder, with as many numbers.

They are the best linear code of its size, in squared error on the training scenes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from arcticdl.evaluation.choose import evaluation_for
from arcticdl.evaluation.images import rows_by_name
from arcticdl.evaluation.restored.scores import given_bands, restoration_scores
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore
from arcticdl.tiles.views.assemble import assemble_scene

Floats = NDArray[np.float64]

_MOST_BLOCKS = 20_000


def principal_baseline(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    start: Mapping[str, Any],
    *,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Rebuilds whole test scenes from the principal components of their blocks.

    Args:
        store: A tile store.
        train_indices: Tiles whose whole blocks the components are fitted to.
        test_indices: Tiles to score.
        info: The label: the bands themselves.
        head: What the autoencoder answers.
        start: The card's entry of the head: ``band``, ``offset``, ``scale``, and
            ``latent`` with the ``size`` and ``stride`` of the code.
        seed: Seed of drawn blocks and of intervals.

    Returns:
        ``"principal"`` -> the layout of an evaluation's ``result``, with a ``title``;
        empty where training holds fewer whole blocks than the code has numbers.
    """
    size, stride = int(start["latent"]["size"]), int(start["latent"]["stride"])
    rng = np.random.default_rng(seed)
    scenes = store.manifest["scene_id"].iloc[np.asarray(train_indices)].nunique()
    most = max(_MOST_BLOCKS // scenes, 1)
    found: list[Floats] = []
    for _, given, *_ in _scenes(store, train_indices, info, start):
        blocks = to_blocks(given, stride)
        whole = blocks[np.isfinite(blocks).all(1)]
        found.append(rng.permutation(whole)[:most])
    training = np.concatenate(found)
    size = min(size, training.shape[1])  # of all bands, of which some are rebuilt
    if len(training) < size:
        return {}
    fitted = PCA(size, random_state=seed).fit(training)
    evaluation = evaluation_for(head, seed=seed, num_pictures=0)
    scale, offset = np.asarray(start["scale"]), np.asarray(start["offset"])
    for name, given, scene, truth in _scenes(store, test_indices, info, start):
        blocks = np.nan_to_num(to_blocks(given, stride))
        rebuilt = fitted.inverse_transform(fitted.transform(blocks))
        values = from_blocks(rebuilt, given.shape, stride) * scale + offset
        extra = restoration_scores(scene, truth, values, start, info.units)
        known = np.isfinite(given).all(-1)
        evaluation.add(name, truth, values, counted=known, extra=extra)
    title = f"principal components, {size} for {stride} x {stride} px"
    return {"principal": {"title": title} | evaluation.result()}


def _scenes(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    start: Mapping[str, Any],
) -> Any:
    """Name, scaled bands (NaN where void), scene and truth of each scene."""
    chosen = np.asarray(indices)
    ids = store.manifest["scene_id"].astype(str).to_numpy()[chosen]
    for name, rows in rows_by_name(ids).items():
        scene, truths = assemble_scene(store, chosen[rows])
        scaled = (given_bands(scene, start) - start["offset"]) / start["scale"]
        yield name, scaled, scene, truths[info.name]


def to_blocks(image: Floats, side: int) -> Floats:
    """Blocks of an image as rows of numbers, NaN beyond its lower and right edge.

    Args:
        image: ``(y, x, band)``.
        side: Side of a block in pixels.

    Returns:
        ``(block, side * side * band)``, row by row.

    Example:
        >>> to_blocks(np.arange(6.0).reshape(2, 3, 1), 2).tolist()
        [[0.0, 1.0, 3.0, 4.0], [2.0, nan, 5.0, nan]]
    """
    lacking = [(0, -length % side) for length in image.shape[:2]]
    filled = np.pad(image, [*lacking, (0, 0)], constant_values=np.nan)
    rows, columns, bands = filled.shape
    cut = filled.reshape(rows // side, side, columns // side, side, bands)
    return cut.transpose(0, 2, 1, 3, 4).reshape(-1, side * side * bands)


def from_blocks(blocks: Floats, shape: tuple[int, ...], side: int) -> Floats:
    """The image that ``to_blocks`` has cut.

    Args:
        blocks: ``(block, side * side * band)``.
        shape: ``(y, x, band)`` of the image.
        side: Side of a block in pixels.
    """
    rows, columns = (-(-length // side) for length in shape[:2])
    cut = blocks.reshape(rows, columns, side, side, shape[2]).transpose(0, 2, 1, 3, 4)
    return cut.reshape(rows * side, columns * side, shape[2])[: shape[0], : shape[1]]
