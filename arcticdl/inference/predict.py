"""Whole scenes through a model, in memory bounded by a few rows of windows."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.progress import Progress

from arcticdl.errors import BandNotFoundError
from arcticdl.inference.blend import blend_weights, window_starts
from arcticdl.inference.forward import (
    TTA,
    Forward,
    Heads,
    Member,
    build_forward,
    head_channels,
    head_tasks,
)
from arcticdl.inference.load import load_model
from arcticdl.inference.maps import SceneMaps
from arcticdl.inference.strips import read_strips
from arcticdl.models import get_card
from arcticdl.scene import check_scene
from arcticdl.scene.stats import BandStats, scene_band_stats
from arcticdl.tiles import Normalizer

AnyModel: TypeAlias = keras.Model | str | Path


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
    outputs: tuple[str, ...] = ("class", "confidence"),
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
        out: GeoTIFF for the class map; further outputs stand beside it as
            ``NAME_confidence.tif`` and so on. A regression head writes its values.
            Without ``out`` everything stays in memory.
        normalizer: Scaling of the bands; default: the one in each model's card.
        image_stats: Statistics of the whole scene for a per-image normaliser; default:
            computed from the scene.
        tile_size_px: Window, in px, one number or (rows, columns); default: the
            card's tile size, else 256.
        overlap_px: Pixels shared by neighbouring windows; default: a quarter.
        batch_size: Windows in one call of the model.
        tta: ``"none"``, ``"hflip"`` or ``"d4"``.
        outputs: Of ``"class"`` (uint8, 255 = nodata), ``"confidence"`` (largest
            probability, 0-1), ``"entropy"`` (of the class probabilities, over its
            maximum, 0-1), ``"spread"`` and ``"prob"`` (one band a class, 0-1).
            ``"spread"`` tells how far several models, or the views of ``tta``,
            disagree, window by window: the mutual information of class and member over
            its maximum, 0-1, and of a regression head its values' standard deviation.
        jit_compile: Whether XLA compiles the forward pass; ``None``: on accelerators.
        overwrite: Whether files at ``out`` may be replaced.
        progress: Whether to show a progress bar.

    Returns:
        Dataset with the outputs as variables on the scene's grid: ``class (y, x)``
        and so on, prefixed by the head's name where there are several heads. With
        ``out`` the variables are lazy and read the files.

    Raises:
        ValueError: The model carries no card and no ``normalizer`` is given, models
            differ in bands or heads, ``"spread"`` is asked of one model and one view,
            the scene lies on 2-D lat/lon, all pixels are nodata, or an option is
            unknown.
        BandNotFoundError: The scene lacks a band of the card.
        FileExistsError: ``out`` exists and ``overwrite`` is false.
    """
    models = _load_all(model)
    card = _common_card(models)
    check_scene(scene)
    scalings = [_choose_normalizer(normalizer, get_card(m)) for m in models]
    _check_spread(outputs, len(models), tta)
    scene = _choose_bands(scene, card)
    window = _window_size(tile_size_px, card)
    overlap = min(window) // 4 if overlap_px is None else overlap_px
    tasks = head_tasks(models[0], card)
    maps = SceneMaps(
        scene,
        out,
        tasks,
        card,
        channels=head_channels(models[0], tasks),
        outputs=outputs,
        overwrite=overwrite,
    )
    if image_stats is None and any(n.needs_image_stats for n in scalings):
        image_stats = scene_band_stats(scene)
    forward = build_forward(
        [
            Member(m, partial(n, image_stats=image_stats))
            for m, n in zip(models, scalings, strict=True)
        ],
        tasks,
        tta=tta,
        batch_size=batch_size,
        jit_compile=jit_compile,
        spread="spread" in outputs,
    )
    try:
        with Progress(disable=not progress, transient=True) as bar:
            for row, heads, valid in _rows(
                scene, forward, window, overlap, batch_size, bar
            ):
                maps.write(row, heads, valid)
        return maps.finish()
    except BaseException:
        maps.discard()
        raise


def _load_all(model: AnyModel | Sequence[AnyModel]) -> list[keras.Model]:
    given = [model] if isinstance(model, keras.Model | str | Path) else list(model)
    if not given:
        raise ValueError("`model` must be at least one model. Received: none.")
    return [m if isinstance(m, keras.Model) else load_model(m) for m in given]


def _common_card(models: list[keras.Model]) -> dict[str, Any] | None:
    """The card that all share but for the scaling, which each keeps for itself."""
    cards = [get_card(model) for model in models]
    first = cards[0]
    for number, card in enumerate(cards[1:], start=1):
        for key in ("bands", "heads"):
            one, other = (first or {}).get(key), (card or {}).get(key)
            if one != other:
                raise ValueError(
                    f"Models that map together must have the same {key}. Received: "
                    f"{one} of the first, {other} of number {number + 1}."
                )
    return first


def _check_spread(outputs: tuple[str, ...], num_models: int, tta: str) -> None:
    if "spread" in outputs and num_models == 1 and len(TTA.get(tta, ())) == 1:
        raise ValueError(
            "`outputs` with 'spread' needs several members to disagree: pass several "
            f"models, or tta='d4'. Received: one model, tta={tta!r}."
        )


def _choose_normalizer(
    normalizer: Normalizer | None, card: dict[str, Any] | None
) -> Normalizer:
    if normalizer is not None:
        return normalizer
    if card is None or not card.get("normalizer"):
        raise ValueError(
            "The model carries no card, so its scaling of the bands is unknown and "
            "the map would be wrong. Pass `normalizer=feed.normalizer`, or build the "
            "model with `card=feed.card`."
        )
    return Normalizer.from_dict(card["normalizer"])


def _choose_bands(scene: xr.Dataset, card: dict[str, Any] | None) -> xr.Dataset:
    if not card or not card.get("bands"):
        return scene
    wanted, present = list(card["bands"]), [str(b) for b in scene["band"].values]
    missing = [band for band in wanted if band not in present]
    if missing:
        raise BandNotFoundError(
            f"The model needs bands {wanted}. Missing: {missing}; the scene has "
            f"{present}. Name them with `open_scene(..., band_names=...)`."
        )
    return scene.sel(band=wanted)


def _window_size(
    tile_size_px: int | tuple[int, int] | None, card: dict[str, Any] | None
) -> tuple[int, int]:
    size = tile_size_px or (card or {}).get("tile_size_px") or 256
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _rows(
    scene: xr.Dataset,
    forward: Forward,
    window: tuple[int, int],
    overlap: int,
    batch_size: int,
    bar: Progress,
) -> Iterator[tuple[int, Heads, NDArray[np.bool_]]]:
    """Yields finished rows: (first row, blended heads (y, x, class), validity)."""
    (rows, cols), (height, width) = (scene.sizes["y"], scene.sizes["x"]), window
    tops = window_starts(rows, height, overlap)
    lefts = window_starts(cols, width, overlap)
    weights = blend_weights(height, width, overlap)
    task = bar.add_task("map", total=len(tops) * len(lefts))
    carry: dict[str, NDArray[Any]] = {}
    carry_weight = np.zeros((0, cols), np.float32)
    any_valid = False
    for index, strip in enumerate(read_strips(scene, tops, height)):
        top, valid = strip.top, strip.valid
        any_valid |= bool(valid.any())
        total = {name: _grown(value, valid.shape[0]) for name, value in carry.items()}
        weight = _grown(carry_weight, valid.shape[0])
        columns = [c for c in lefts if valid[:, c : c + width].any()]
        for start in range(0, len(columns), batch_size):
            chosen = columns[start : start + batch_size]
            windows = [strip.window(c, window) for c in chosen]
            images, known = (np.stack(part) for part in zip(*windows, strict=True))
            for name, values in forward(images, known).items():
                if name not in total:
                    shape = (valid.shape[0], cols, values.shape[-1])
                    total[name] = np.zeros(shape, np.float32)
                for left, value in zip(chosen, values, strict=True):
                    region = total[name][:, left : left + width]
                    size = region.shape[:2]
                    region += (value * weights[..., None])[: size[0], : size[1]]
            for left in chosen:
                region = weight[:, left : left + width]
                region += weights[: region.shape[0], : region.shape[1]]
        bar.advance(task, len(lefts))
        last = index + 1 == len(tops)
        done = valid.shape[0] if last else tops[index + 1] - top
        share = np.maximum(weight[:done], 1e-12)[..., None]
        yield top, {n: _divide(v[:done], share) for n, v in total.items()}, valid[:done]
        carry = {name: value[done:] for name, value in total.items()}
        carry_weight = weight[done:]
    if not any_valid:
        raise ValueError(
            f"Scene {scene.attrs.get('scene_id', '?')!r} holds no valid pixel; "
            "there is nothing to map."
        )


def _divide(
    values: NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.divide(values, share, dtype=np.float32)


def _grown(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """The array with rows of zeros below, up to ``rows``."""
    grown = np.zeros((rows, *array.shape[1:]), np.float32)
    grown[: len(array)] = array
    return grown
