"""Evaluation as the model will be used: whole scenes, blended, then scored."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import xarray as xr
from rich.progress import track

from arcticdl.evaluation.coverage import counted_pixels
from arcticdl.evaluation.evaluate import SegmentationEvaluation
from arcticdl.inference import predict_scene
from arcticdl.inference.lines import draw_line, trace_line
from arcticdl.metrics.fronts import front_distance, front_line
from arcticdl.tiles import TileStore


def evaluate_scenes(
    model: keras.Model,
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    label: str,
    *,
    line: str | None = None,
    tta: str = "none",
    batch_size: int = 4,
    tile_size_px: int | tuple[int, int] | None = None,
    overlap_px: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> SegmentationEvaluation:
    """Maps each scene of the given tiles as ``predict_scene`` does, and scores it.

    Args:
        model: A model that carries its card.
        store: The tile store.
        indices: Tiles to score; each belongs to a scene, which is put together again.
        label: The label with the truth.
        line: A class to reduce to a line; its distance to the true line is scored too.
        tta: Views averaged, as in ``predict_scene``.
        batch_size: Windows in one call of the model.
        tile_size_px: Window; default: the card's tile size.
        overlap_px: Overlap of windows; default: a quarter.
        seed: Seed of the bootstrap.
        progress: Whether to show a progress bar.

    Returns:
        The evaluation; one image a scene, every pixel counted once. With ``line`` each
        image has ``distance_px`` (see ``arcticdl.metrics.front_distance``: the mean of
        both directions), ``distance_matched_px`` and ``line_threshold``.
    """
    info = store.labels[label]
    evaluation = SegmentationEvaluation(
        info.classes,
        colors=info.colors,
        bands=store.bands,
        seed=seed,
        void_class=int(info.void),
    )
    manifest = store.manifest.iloc[np.asarray(indices)]
    groups = manifest.groupby("scene_id", sort=True)
    for scene_id, rows in track(groups, "evaluate", disable=not progress):
        tiles = store.manifest.index.get_indexer(rows.index)
        scene = assemble_scene(store, tiles)
        maps = predict_scene(
            model,
            scene,
            image_stats=store.scene_stats(scene_id),
            tta=tta,
            batch_size=batch_size,
            tile_size_px=tile_size_px,
            overlap_px=overlap_px,
            outputs=("prob",),
            progress=False,
        )
        prob = np.moveaxis(maps["prob"].values, 0, -1)
        truth = np.where(scene["valid"].values, scene[label].values, info.void)
        extra = {}
        if line is not None:
            extra = _line_scores(prob, truth, info.classes.index(line))
        _add_tiles(evaluation, store, tiles, scene, truth, prob, extra)
    return evaluation


def assemble_scene(store: TileStore, tiles: Sequence[int]) -> xr.Dataset:
    """Puts the given tiles of one scene together again, in pixel coordinates.

    Args:
        store: The tile store.
        tiles: Indices of tiles of one scene.

    Returns:
        Scene with ``image``, ``valid`` and the labels; pixels of no tile are invalid
        and void.
    """
    manifest = store.manifest.iloc[np.asarray(tiles)]
    rows, cols = manifest["row"].to_numpy(int), manifest["col"].to_numpy(int)
    read = store.read(np.asarray(tiles))
    height, width = read["valid"].shape[1:]
    shape = (int(rows.max()) + height, int(cols.max()) + width)
    image = np.zeros((*shape, len(store.bands)), read["image"].dtype)
    data: dict[str, Any] = {"valid": np.zeros(shape, bool)}
    for name, info in store.labels.items():
        void = info.void if info.classes else np.nan
        data[name] = np.full(shape, void, read[name].dtype)
    for number, (row, col) in enumerate(zip(rows, cols, strict=True)):
        window = np.s_[row : row + height, col : col + width]
        image[window] = read["image"][number]
        for name in data:
            data[name][window] = read[name][number]
    variables: dict[str, Any] = {
        name: (("y", "x"), array) for name, array in data.items()
    }
    variables["image"] = (("band", "y", "x"), np.moveaxis(image, -1, 0))
    coords = {
        "band": list(store.bands),
        "y": np.arange(shape[0]) + 0.5,
        "x": np.arange(shape[1]) + 0.5,
    }
    attrs = {"scene_id": str(manifest["scene_id"].iloc[0]), "georeferenced": False}
    return xr.Dataset(variables, coords, {**attrs, "time": "", "sensor": ""})


def _line_scores(prob: np.ndarray, truth: np.ndarray, code: int) -> dict[str, float]:
    true_line = front_line(truth == code)
    if not true_line.any():
        return {}
    path, threshold = trace_line(prob[..., code])
    found = front_distance(draw_line(path, true_line.shape), true_line)
    return {
        "distance_px": found["mean"],
        "distance_matched_px": found["mean_matched"],
        "line_threshold": threshold,
    }


def _add_tiles(
    evaluation: SegmentationEvaluation,
    store: TileStore,
    tiles: Sequence[int],
    scene: xr.Dataset,
    truth: np.ndarray,
    prob: np.ndarray,
    extra: dict[str, float],
) -> None:
    manifest = store.manifest.iloc[np.asarray(tiles)]
    rows, cols = manifest["row"].to_numpy(int), manifest["col"].to_numpy(int)
    size = store.tile_size_px
    height, width = (size, size) if isinstance(size, int) else size
    ids = list(manifest["scene_id"])
    counted = counted_pixels(ids, rows, cols, size)
    image = np.moveaxis(scene["image"].values, 0, -1)
    safe = np.where(np.isfinite(prob), prob, 1 / prob.shape[-1])
    names = manifest["tile_id"].astype(str)
    for row, col, mask, name in zip(rows, cols, counted, names, strict=True):
        window = np.s_[row : row + height, col : col + width]
        evaluation.add(
            ids[0],
            truth[window],
            safe[window],
            image=image[window],
            counted=mask[: truth.shape[0], : truth.shape[1]],
            extra=extra,
            picture_id=name,
        )
