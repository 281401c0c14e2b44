"""Random windows of scenes: their pixels, and what a model answers about them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from arcticdl.inference.predictor import Predictor
from arcticdl.scene import BandStats, read_values
from arcticdl.tasks import Head
from arcticdl.tiles import TileStore
from arcticdl.tiles.writing.scan import read_valid

NUM_WINDOWS, NUM_PIXELS = 16, 2000


class Look(NamedTuple):
    """What was seen of a scene.

    Attributes:
        scene_id: Name of the scene.
        pixels: (pixel, band) finite values in source units, at most ``NUM_PIXELS``.
        answer: (number,) shares of the classes, or the mean value; empty where no model
            was asked.
        confidence: Mean probability of what was answered; NaN of values.
    """

    scene_id: str
    pixels: np.ndarray
    answer: np.ndarray
    confidence: float


def look_at_tiles(
    store: TileStore,
    scene_id: str,
    tiles: np.ndarray,
    predictor: Predictor | None,
    head: str,
    *,
    seed: int,
) -> Look:
    """Looks at some tiles of a scene of a store.

    Args:
        store: The store.
        scene_id: Name of the scene.
        tiles: Its tiles, of which at most ``NUM_WINDOWS`` are read.
        predictor: What is asked about them, if anything.
        head: Name of its head.
        seed: Of the choice.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(tiles)[:NUM_WINDOWS])
    read = store.read(chosen, ["image", "valid"])
    windows = zip(read["image"], read["valid"], strict=True)
    return _look(
        scene_id, windows, store.scene_stats(scene_id), predictor, head, rng=rng
    )


def look_at_scene(
    scene: xr.Dataset, predictor: Predictor, head: str, *, seed: int
) -> Look:
    """Looks at random windows of a scene; see ``look_at_tiles``.

    Raises:
        ValueError: None of them holds a valid pixel.
    """
    scene, stats = predictor.prepare(scene, None)
    rng = np.random.default_rng(seed)
    name = str(scene.attrs["scene_id"])
    windows = _windows(scene, predictor.window, rng)
    return _look(name, windows, stats, predictor, head, rng=rng)


def _windows(
    scene: xr.Dataset, size_px: tuple[int, int], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random windows that hold valid pixels, filled up where the scene is smaller."""
    sizes = [scene.sizes[axis] for axis in ("y", "x")]
    seen = 0
    for _ in range(20 * NUM_WINDOWS):
        starts = [
            int(rng.integers(0, max(size - window, 0) + 1))
            for size, window in zip(sizes, size_px, strict=True)
        ]
        rows, cols = (
            slice(start, start + window)
            for start, window in zip(starts, size_px, strict=True)
        )
        part = scene.isel(y=rows, x=cols)
        valid = read_valid(part, {})
        if not valid.any():
            continue
        image = read_values(part["image"], "y", "x", "band")
        short = [
            (0, window - have)
            for window, have in zip(size_px, valid.shape, strict=True)
        ]
        yield np.pad(image, (*short, (0, 0)), mode="edge"), np.pad(valid, short)
        seen += 1
        if seen == NUM_WINDOWS:
            return


def _look(
    name: str,
    windows: Any,
    stats: BandStats | None,
    predictor: Predictor | None,
    head: str,
    *,
    rng: np.random.Generator,
) -> Look:
    pixels, answers, sure, weights = [], [], [], []
    for image, valid in windows:
        values = image[valid]
        pixels.append(values[np.isfinite(values).all(axis=-1)])
        if predictor is not None and valid.any():
            found = predictor.forward(image[None], valid[None], stats)[head][0]
            seen = found[valid] if found.ndim == 3 else found[None]
            numbers, confidence = _read(predictor.heads[head], seen)
            answers.append(numbers)
            sure.append(confidence)
            weights.append(valid.sum())
    together = (
        np.concatenate([np.zeros((0, 1)), *pixels])
        if not pixels
        else (np.concatenate(pixels))
    )
    if not len(together):
        raise ValueError(
            f"Scene {name!r} must hold valid pixels to be compared. Received: none in "
            "random windows of it."
        )
    some = rng.permutation(len(together))[:NUM_PIXELS]
    if not answers:
        return Look(name, together[some], np.zeros(0), float("nan"))
    answer = np.average(answers, axis=0, weights=weights)
    return Look(name, together[some], answer, float(np.average(sure, weights=weights)))


def _read(head: Head, seen: np.ndarray) -> tuple[np.ndarray, float]:
    """Numbers that describe answers (pixel, channel), and how sure they are."""
    if head.form.codes is not None:
        codes = head.form.codes(seen)
        shares = np.bincount(codes, minlength=seen.shape[-1]) / len(codes)
        sure = np.take_along_axis(seen, codes[:, None], axis=-1)
        return shares, float(sure.mean())
    if head.spec.label == "labels":
        return (seen > 0.5).mean(axis=0), float(np.maximum(seen, 1 - seen).mean())
    values = head.form.outputs["value"].read(seen, head)
    return values.mean(axis=0), float("nan")


def answer_names(head: Head) -> list[str]:
    """What the numbers of a look's answer are called."""
    if head.spec.label != "value":
        return list(head.classes)
    return [f"mean {name}".strip() for name in head.outputs]
