"""The classical detector beside a network: a constant false-alarm rate on radar."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.boxes import IGNORE, boxes_from_polygons
from arcticdl.evaluation.objects.detections import DetectionEvaluation
from arcticdl.evaluation.objects.scenes import boxed_scenes
from arcticdl.metrics.objects.match import ObjectImage, match_objects
from arcticdl.metrics.objects.precision import average_precision, precision_recall
from arcticdl.seaice.cfar import bright_objects, cfar_ratio
from arcticdl.seaice.sar import equivalent_looks, from_db
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore

POLARISATIONS = ("HH", "HV", "VH", "VV")
"""Bands of backscatter in dB, also with ``_corrected`` behind."""

RATES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""False-alarm rates among which the training scenes choose."""

_MAX_SCENES = 8
_MIN_PX = 3
_IOU = 0.5


@dataclass(frozen=True)
class CfarChoice:
    """What the training scenes chose.

    Attributes:
        band: Position of the band of backscatter.
        looks: Equivalent number of looks, the median over scenes.
        rate: False-alarm rate.
        count_ratio: Least backscatter over threshold of a target that is counted.
    """

    band: int
    looks: float
    rate: float
    count_ratio: float = 1.0


def fits_radar(bands: Sequence[str], info: LabelInfo) -> bool:
    """Whether the method can stand beside a detector: backscatter, and one class."""
    return bool(_radar(bands)) and info.is_object and len(info.classes) == 1


def cfar_baseline(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Scores bright targets on gamma clutter on the test scenes.

    A target is a group of at least 3 pixels that touch by sides or corners, each
    brighter than clutter of its surroundings is by chance (see ``seaice.cfar``). Its
    score is how many times the threshold its brightest pixel is, over the least such
    ratio that is counted, so that from 1 on it counts. The number of looks, the band,
    the false-alarm rate (by AP50) and that least ratio (by F1) come from the training
    scenes alone, of which at most 8 are looked at.

    Args:
        store: A tile store with backscatter in dB and a label of boxes of one class.
        train_indices: Tiles of the scenes that choose.
        test_indices: Tiles to score, scene by scene.
        info: The label.
        head: What the network that it stands beside answers.
        seed: Seed of the intervals.

    Returns:
        ``cfar`` -> the layout of an evaluation's ``result``, with a ``title``; empty
        where the training scenes show no clutter whose looks could be told.
    """
    chosen = choose_cfar(store, train_indices, info)
    if chosen is None:
        return {}
    evaluation = DetectionEvaluation(
        head,
        bands=store.bands,
        count_score=1.0,
        num_pictures=0,
        seed=seed,
    )
    for scene_id, image in _images(store, test_indices, info, chosen):
        scores = np.asarray(image.scores) / chosen.count_ratio
        evaluation.add(scene_id, image.truth, image.found, scores)
    band = store.bands[chosen.band]
    title = f"CFAR on {band}, {chosen.looks:.1f} looks, false alarms {chosen.rate:g}"
    return {"cfar": {"title": title} | evaluation.result()}


def choose_cfar(
    store: TileStore, indices: Sequence[int] | np.ndarray, info: LabelInfo
) -> CfarChoice | None:
    """Chooses band, looks, rate and the least ratio that counts, on training scenes.

    Args:
        store: As for `cfar_baseline`, and so are the others.
        indices: Tiles of the scenes that choose.
        info: The label.

    Returns:
        The choice; of equal ones the first band and the highest rate. ``None`` where no
        looks can be told.
    """
    kept = _some_scenes(store, np.asarray(indices), info.name)
    best: tuple[float, CfarChoice, Any] | None = None
    for band in _radar(store.bands):
        looks = _looks(store, kept, info, band)
        for rate in RATES if looks is not None else ():
            choice = CfarChoice(band, float(looks or 0), rate)
            images = [image for _, image in _images(store, kept, info, choice)]
            matches = match_objects(images, 1, max_detections=None)
            score = float(np.nan_to_num(average_precision(matches)[0, 0]))
            if best is None or score > best[0]:
                best = score, choice, matches
    if best is None:
        return None
    _, choice, matches = best
    return replace(choice, count_ratio=_best_f1(precision_recall(matches, 0, iou=_IOU)))


def _best_f1(curve: dict[str, Any]) -> float:
    """The score from which on detections have the best F1; 1 where none is right."""
    precision, recall = curve["precision"], curve["recall"]
    total = np.nan_to_num(precision + recall)
    f1 = np.divide(
        2 * precision * recall, total, out=np.zeros_like(total), where=total > 0
    )
    return float(curve["score"][int(f1.argmax())]) if f1.any() else 1.0


def _images(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    choice: CfarChoice,
) -> Iterator[tuple[str, ObjectImage]]:
    """Each scene's name, its boxes and the targets that were found."""
    for scene_id, scene, truth in boxed_scenes(store, indices, info.name):
        valid = scene["valid"].values
        power = from_db(scene["image"].values[choice.band])
        ratio = cfar_ratio(
            power, choice.looks, false_alarm_rate=choice.rate, valid=valid
        )
        targets = bright_objects(ratio, min_px=_MIN_PX)
        found = boxes_from_polygons(targets["points"], oriented=info.oriented)
        yield scene_id, ObjectImage(truth, found, targets["scores"])


def _looks(
    store: TileStore, indices: np.ndarray, info: LabelInfo, band: int
) -> float | None:
    """The median number of looks of scenes; ``None`` where no window tells any."""
    found = []
    for _, scene, _ in boxed_scenes(store, indices, info.name):
        power = from_db(scene["image"].values[band]).astype(np.float64)
        power[~scene["valid"].values] = np.nan
        side = min(25, *power.shape)
        found.append(equivalent_looks(power, window_px=side))
    known = np.array(found)[np.isfinite(found)]
    return float(np.median(known)) if len(known) else None


def _some_scenes(
    store: TileStore, indices: np.ndarray, label: str
) -> NDArray[np.int64]:
    """The tiles of at most so many scenes, evenly from all that have objects."""
    names = store.manifest["scene_id"].to_numpy()[indices]
    every = np.unique(names)
    marked = [
        n for n in every if (store.scene_boxes(label, n)[:, 5] != IGNORE).any()
    ] or list(every)
    places = np.linspace(0, len(marked) - 1, min(_MAX_SCENES, len(marked)))
    chosen = {marked[int(place)] for place in places.round()}
    return np.asarray(indices[[name in chosen for name in names]], np.int64)


def _radar(bands: Sequence[str]) -> list[int]:
    names = [name.removesuffix("_corrected") for name in bands]
    return [place for place, name in enumerate(names) if name in POLARISATIONS]
