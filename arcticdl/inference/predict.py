"""Whole-scene prediction: overlapping windows, blended, in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.choices import check_names
from arcticdl.inference.blend import blend_weights, window_starts
from arcticdl.inference.forward import Answers
from arcticdl.inference.gaps.layers import OBSERVED, gap_starts, read_observed
from arcticdl.inference.maps import SceneMaps
from arcticdl.inference.predictor import AnyModel, Predictor
from arcticdl.inference.strips import read_strips
from arcticdl.progress import track
from arcticdl.scene import BandStats
from arcticdl.sources.core.raster import bounded_cache
from arcticdl.tiles import Normalizer

_CACHE_BYTES = 2**26
_BLOCK_PX = 512
"""GDAL keeps blocks up to a twentieth of the machine's memory, more of them the longer
a scene is, unless it is told a bound: here the blocks of 512 rows of all bands that are
read and written, so that hardly one is packed or unpacked twice."""


def predict_scene(
    model: AnyModel | Sequence[AnyModel],
    scene: xr.Dataset,
    out: str | Path | None = None,
    *,
    normalizer: Normalizer | None = None,
    image_stats: BandStats | None = None,
    tile_size_px: int | tuple[int, int] | None = None,
    overlap_px: int | None = None,
    batch_size: int = 4,
    tta: str = "none",
    mc_dropout: int | None = None,
    outputs: tuple[str, ...] | None = None,
    thresholds: Mapping[str, float] | None = None,
    postprocess: Sequence[Mapping[str, Any]] = (),
    jit_compile: bool | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Maps a whole scene with overlapping, blended windows.

    Windows are read, predicted and blended one row of windows at a time; memory grows
    with the scene's width, not with its area. Pixels without input (nodata) never
    become a class. Probabilities are averaged, then the class is chosen.

    Args:
        model: A Keras model, or the path of a ``.keras`` file; or several of the same
            bands and heads, such as those of all folds, whose answers are averaged.
        scene: A Scene with ``image (band, y, x)``; bands are chosen by the card's
            names, in the card's order.
        out: GeoTIFF for the first output; further ones stand beside it as
            ``NAME_confidence.tif`` and so on.
            Without ``out`` everything stays in memory.
        normalizer: Scaling of the bands; default: the one in each model's card.
        image_stats: Statistics of the whole scene for a per-image normaliser; default:
            computed from the scene.
        tile_size_px: Window, in px, one number or (rows, columns); default: the
            card's tile size, else 256.
        overlap_px: Pixels shared by neighbouring windows; default: a quarter.
        batch_size: Windows in one call of the model.
        tta: Views averaged: ``"none"``, ``"hflip"``, ``"d4"``, and with the contrast
            turned round as well ``"invert"``, ``"hflip+invert"``, ``"d4+invert"``.
        mc_dropout: Passes, each with dropout left on, that are averaged (Monte Carlo
            dropout); ``None``: one pass without.
        outputs: What to map; default: what each head's task shows. Of classes and
            ordered classes ``"class"`` (uint8, 255 = nodata), ``"confidence"``
            (probability of that class, 0-1), ``"entropy"`` (of the class
            probabilities, over its maximum, 0-1) and ``"prob"`` (one band a class,
            0-1); of multi-label heads ``"labels"`` (uint8 0 and 1, one band a class)
            and ``"prob"``; of values ``"value"``, with ``"std"`` or ``"quantiles"``
            where the head gives them, in the label's units. ``"spread"`` tells how far
            several models, passes of ``mc_dropout``, or views of ``tta`` disagree,
            window by window: the mutual information of class and member over its
            maximum, 0-1, else the standard deviation. ``"aleatoric"`` is what is left
            of the entropy without it, the mean entropy of members; of means with
            variances ``"total"`` is the standard deviation with both parts. Of an
            autoencoder ``"latent"`` is its code, and ``"anomaly"`` and ``"cluster"``
            are what ``arcticdl anomalies`` has fitted. A head that has none of what is
            asked shows its chief output; ``arcticdl.tasks.FORMS`` lists all.
        thresholds: Class -> least probability, 0-1, for maps of classes: the likeliest
            class that reaches its own is taken, and void where none does. The other
            outputs stay as the network answered.
        postprocess: Steps that mend the finished map of classes, such as
            ``[{"name": "sieve", "min_area_px": 20}]``; see
            ``arcticdl.inference.postprocess``. Such a map is held in memory whole, one
            byte a pixel, until it is written.
        jit_compile: Whether XLA compiles the forward pass; ``None``: on accelerators.
        overwrite: Whether files at ``out`` may be replaced.
        progress: Whether to show a progress bar.

    Returns:
        Dataset with the outputs as variables on the scene's grid: ``class (y, x)``,
        ``prob (prob_class, y, x)`` and so on, prefixed by the head's name where there
        are several heads. With ``out`` the variables are lazy and read the files.

    Raises:
        ValueError: The model carries no card and no ``normalizer`` is given, models
            differ in bands or heads, ``"spread"`` is asked of a single member, there
            is no dropout to keep, the scene lies on 2-D lat/lon, all pixels are nodata,
            or an option is unknown.
        TaskError: A head answers for whole images; see ``predict_images``.
        BandNotFoundError: The scene lacks a band of the card.
        FileExistsError: ``out`` exists and ``overwrite`` is false.
    """
    check_names(outputs=outputs)
    predictor = Predictor(
        model,
        normalizer=normalizer,
        tile_size_px=tile_size_px,
        batch_size=batch_size,
        tta=tta,
        mc_dropout=mc_dropout,
        outputs=outputs,
        thresholds=thresholds,
        postprocess=postprocess,
        jit_compile=jit_compile,
    )
    return map_scene(
        predictor,
        scene,
        out,
        image_stats=image_stats,
        overlap_px=overlap_px,
        overwrite=overwrite,
        progress=progress,
    )


def map_scene(
    predictor: Predictor,
    scene: xr.Dataset,
    out: str | Path | None = None,
    *,
    image_stats: BandStats | None = None,
    overlap_px: int | None = None,
    overwrite: bool = False,
    tags: Mapping[str, str] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Maps a scene with models that are ready; see ``predict_scene``.

    For many scenes this spares what ``predict_scene`` does anew for each: loading,
    checking and compiling the models.

    Args:
        predictor: The models.
        scene: As in ``predict_scene``, and so are the others.
        out: GeoTIFF for the first output, or ``None``.
        image_stats: Statistics of the whole scene for a per-image normaliser.
        overlap_px: Pixels shared by neighbouring windows; default: a quarter.
        overwrite: Whether files at ``out`` may be replaced.
        tags: Further tags of each file, such as which model made it.
        progress: Whether to show a progress bar.

    Returns:
        As ``predict_scene``.

    Raises:
        ValueError: As in ``predict_scene``.
        TaskError: A head answers for whole images.
        FileExistsError: ``out`` exists and ``overwrite`` is false.
    """
    layers = predictor.layers_of("pixel")
    scene, image_stats = predictor.prepare(scene, image_stats)
    maps = SceneMaps(scene, out, layers, overwrite=overwrite, tags=tags)
    fill_maps(predictor, scene, maps, image_stats, overlap_px, progress=progress)
    return maps.opened()


def fill_maps(
    predictor: Predictor,
    scene: xr.Dataset,
    maps: SceneMaps,
    image_stats: BandStats | None,
    overlap_px: int | None,
    *,
    progress: bool = True,
) -> None:
    """Maps a scene into what holds its maps, which is finished or discarded.

    Args:
        predictor: The models.
        scene: A scene that ``predictor.prepare`` gave back.
        maps: Holds its maps.
        image_stats: Statistics of the whole scene, where the normaliser needs them.
        overlap_px: Pixels shared by neighbouring windows; ``None``: a quarter.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: The scene has no valid pixel, or answers cannot be read.
        OSError: A file cannot be written.
    """
    overlap = min(predictor.window) // 4 if overlap_px is None else overlap_px
    fills = bool(gap_starts(predictor.card))
    bands = scene.sizes["band"] + sum(len(layer.bands) for layer in maps.layers)
    cache = _CACHE_BYTES + bands * 4 * _BLOCK_PX * scene.sizes["x"]
    try:
        with bounded_cache(cache):
            with ThreadPoolExecutor(1, "maps") as pool:
                writing: Future[None] | None = None
                for row, answers, valid in finished_rows(
                    predictor, scene, image_stats, overlap, shown=progress
                ):
                    if fills:  # not blended, which would change the last bit
                        answers[OBSERVED] = read_observed(scene, row, len(valid))
                    if writing is not None:
                        writing.result()
                    writing = pool.submit(maps.write, row, answers, valid)
                if writing is not None:
                    writing.result()
            maps.finish()  # which reads all files back, through the same cache
    except BaseException:
        maps.discard()
        raise


def answer_scene(
    predictor: Predictor,
    scene: xr.Dataset,
    *,
    image_stats: BandStats | None = None,
    overlap_px: int | None = None,
) -> Answers:
    """Answers for each pixel of a scene, in memory and before any decision.

    Args:
        predictor: Models whose heads answer for pixels.
        scene: A Scene.
        image_stats: Statistics of the whole scene for a per-image normaliser.
        overlap_px: Pixels shared by neighbouring windows; default: a quarter.

    Returns:
        Activated answers (y, x, channel) float32 by name of each head that answers for
        pixels: probabilities, values.
        Where there is no input, classes are all as likely and values 0.
    """
    scene, image_stats = predictor.prepare(scene, image_stats)
    overlap = min(predictor.window) // 4 if overlap_px is None else overlap_px
    shape = (scene.sizes["y"], scene.sizes["x"])
    found: Answers = {}
    dense = {n: head for n, head in predictor.heads.items() if head.spec.dense}
    for name, head in dense.items():
        channels = head.form.activated(head.size)
        unknown = 1 / channels if head.form.codes is not None else 0.0
        found[name] = np.full((*shape, channels), unknown, np.float32)
    for row, answers, valid in finished_rows(predictor, scene, image_stats, overlap):
        for name, values in answers.items():
            if name in found:
                here = found[name][row : row + len(valid)]
                here[valid] = values[valid]
    return found


def finished_rows(
    predictor: Predictor,
    scene: xr.Dataset,
    image_stats: BandStats | None,
    overlap: int,
    *,
    shown: bool = False,
) -> Iterator[tuple[int, Answers, NDArray[np.bool_]]]:
    """Maps a scene strip by strip, in bounded memory.

    Args:
        predictor: The models.
        scene: A scene that ``predictor.prepare`` gave back.
        image_stats: Statistics of the whole scene, where the normaliser needs them.
        overlap: Pixels shared by neighbouring windows.
        shown: Whether to show a progress bar.

    Yields:
        Finished rows: the first one's number, blended answers (y, x, channel) by key,
        and validity (y, x).

    Raises:
        ValueError: The scene has no valid pixel.
    """
    rows, cols = scene.sizes["y"], scene.sizes["x"]
    window, batch_size = predictor.window, predictor.batch_size
    height, width = window
    tops = window_starts(rows, height, overlap)
    lefts = window_starts(cols, width, overlap)
    weights = blend_weights(height, width, overlap)
    carry: dict[str, NDArray[Any]] = {}
    carry_weight = np.zeros((0, cols), np.float32)
    any_valid = False
    strips = track(read_strips(scene, tops, height), "map", len(tops), shown=shown)
    for index, strip in enumerate(strips):
        top, valid = strip.top, strip.valid
        any_valid |= bool(valid.any())
        total = {name: _grown(value, valid.shape[0]) for name, value in carry.items()}
        weight = _grown(carry_weight, valid.shape[0])
        columns = [c for c in lefts if valid[:, c : c + width].any()]
        for start in range(0, len(columns), batch_size):
            chosen = columns[start : start + batch_size]
            windows = [strip.window(c, window) for c in chosen]
            images, known = (np.stack(part) for part in zip(*windows, strict=True))
            answers = predictor.forward(images, known, image_stats)
            for name, values in answers.items():
                if values.ndim < 4:  # of a head that answers for whole images
                    continue
                if name not in total:
                    shape = (valid.shape[0], cols, values.shape[-1])
                    total[name] = np.zeros(shape, np.float32)
                for left, value in zip(chosen, values, strict=True):
                    region = total[name][:, left : left + width]
                    size = region.shape[:2]
                    # Without overlap every weight is 1.
                    part = value * weights[..., None] if overlap else value
                    region += part[: size[0], : size[1]]
            for left in chosen:
                region = weight[:, left : left + width]
                region += weights[: region.shape[0], : region.shape[1]]
        last = index + 1 == len(tops)
        done = valid.shape[0] if last else tops[index + 1] - top
        found = {name: _divide(v[:done], weight[:done]) for name, v in total.items()}
        yield top, found, valid[:done]
        carry = {name: value[done:] for name, value in total.items()}
        carry_weight = weight[done:]
    if not any_valid:
        raise ValueError(
            f"Scene {scene.attrs.get('scene_id', '?')!r} holds no valid pixel; "
            "there is nothing to map."
        )


def _divide(
    values: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Means of weighted sums; 0 where no window was."""
    if (weight == 1.0).all():
        return values
    share = np.maximum(weight, 1e-12)[..., None]
    return np.divide(values, share, dtype=np.float32)


def _grown(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """The array with rows of zeros below, up to ``rows``."""
    grown = np.zeros((rows, *array.shape[1:]), np.float32)
    grown[: len(array)] = array
    return grown
