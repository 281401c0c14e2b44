"""Objects of class maps, taken apart as they are mapped, against numbered ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from arcticdl.choices import check_names
from arcticdl.errors import TaskError
from arcticdl.inference.objects.separate import connected_objects, separate_objects
from arcticdl.inference.postprocess import plain, postprocess
from arcticdl.metrics.confusion import without_nan
from arcticdl.metrics.floes import MIN_FLOE_PX, VOID_INSTANCE
from arcticdl.metrics.intervals import interval_of
from arcticdl.metrics.objects.masks import MaskMatches, mask_precision, match_masks
from arcticdl.metrics.objects.panoptic import (
    PanopticCounts,
    panoptic_counts,
    panoptic_quality,
)
from arcticdl.tasks import Head
from arcticdl.void import VOID_CLASS

METHODS = {"separated": "taken apart", "connected": "connected parts"}
"""What is scored, and how it is called: what touches taken apart, and as one."""

_SCORES = ("pq", "sq", "rq", "count_error")


@dataclass(frozen=True)
class InstanceRule:
    """Which objects are scored, and how they are taken from a map.

    Attributes:
        label: Label that numbers the true objects: 0 is background, each other number
            one object, NaN void.
        of: Classes that objects are made of.
        landscape: ``"distance"`` or ``"probability"``, as of the product ``instances``.
        max_neck: See ``inference.separate_objects``.
        min_area_px: Least pixels of an object that is found.
        thresholds: Class -> least probability, as maps are made.
        steps: What is done to the map before, likewise.
    """

    label: str
    of: tuple[str, ...]
    landscape: str = "distance"
    max_neck: float = 0.75
    min_area_px: int = MIN_FLOE_PX
    thresholds: Mapping[str, float] = field(default_factory=dict)
    steps: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        check_names(of=self.of)

    def codes(self, head: Head) -> list[int] | None:
        """Codes of the classes in a head; ``None``: it has not all of them."""
        known = [plain(name) for name in head.classes]
        if head.form.codes is None or not {plain(n) for n in self.of} <= set(known):
            return None
        return [known.index(plain(name)) for name in self.of]


class InstanceScores:
    """Scores the objects of whole scenes, pooled over all objects.

    Args:
        rule: What is scored.
        heads: What the model answers; objects are taken from the map of the first that
            has their classes, ``head_name``.

    Raises:
        TaskError: None has.
        ValueError: A threshold or step that does not fit.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> entry = {"task": "segmentation", "classes": ["water", "floe"]}
        >>> heads = {"ice": read_head("ice", entry)}
        >>> scores = InstanceScores(InstanceRule("n", ("floe",)), heads)
        >>> truth = np.zeros((8, 8), np.float32)
        >>> truth[1:5, 1:5] = 1
        >>> prob = np.stack([truth == 0, truth == 1], -1).astype(np.float32)
        >>> scores.add("a", truth, prob)
        >>> scores.result()["methods"]["separated"]["pq"]
        1.0
    """

    def __init__(self, rule: InstanceRule, heads: Mapping[str, Head]) -> None:
        from arcticdl.inference.maps import plan_layers  # a report needs no GDAL

        every = {name: rule.codes(head) for name, head in heads.items()}
        found = [(name, codes) for name, codes in every.items() if codes is not None]
        if not found:
            classes = {name: list(head.classes) for name, head in heads.items()}
            raise TaskError(
                "Objects must be made of classes of a head. Received: "
                f"{list(rule.of)} of {classes}."
            )
        self.rule = rule
        self.head_name, self._codes = found[0]
        layers = plan_layers(heads, ("class",), rule.thresholds, rule.steps)
        self._layer = next(one for one in layers if one.head_name == self.head_name)
        self._images: dict[str, dict[str, PanopticCounts]] = {}
        self._masks: dict[str, dict[str, MaskMatches]] = {}

    def add(
        self,
        scene_id: str,
        numbers: NDArray[np.floating],
        prob: NDArray[np.floating],
        *,
        valid: NDArray[np.bool_] | None = None,
        pixel_area_m2: float | None = None,
    ) -> None:
        """Scores one scene.

        Args:
            scene_id: Its name.
            numbers: Numbers of the true objects ``(y, x)``.
            prob: Activated answers ``(y, x, class)``.
            valid: Boolean ``(y, x)``, where there is input; ``None``: everywhere.
            pixel_area_m2: For steps with areas in m2.
        """
        truth = np.where(np.isfinite(numbers), numbers, VOID_INSTANCE).astype(np.int64)
        known = np.ones(truth.shape, bool) if valid is None else valid
        codes = postprocess(
            self._layer.read({self.head_name: prob}, known)[0],
            self._layer.head.classes,
            self._layer.steps,
            pixel_area_m2=pixel_area_m2,
        )
        mask, void = np.isin(codes, self._codes), codes == VOID_CLASS
        given = {"void": void, "min_area_px": self.rule.min_area_px}
        sure = prob[..., self._codes].sum(axis=-1)
        likely = sure if self.rule.landscape == "probability" else None
        apart = separate_objects(
            mask, landscape=likely, max_neck=self.rule.max_neck, **given
        )
        found = {"separated": apart, "connected": connected_objects(mask, **given)}
        self._images[scene_id] = {
            method: panoptic_counts(truth, numbers) for method, numbers in found.items()
        }
        self._masks[scene_id] = {
            method: match_masks(truth, numbers, mean_by_object(numbers, sure))
            for method, numbers in found.items()
        }

    def result(self) -> dict[str, Any]:
        """What was scored, ready for JSON; see `pool_instances`."""
        images = [
            {
                "image_id": name,
                **{m: list(counts[m]) for m in METHODS},
                "masks": {m: _plain(self._masks[name][m]) for m in METHODS},
            }
            for name, counts in self._images.items()
        ]
        return _scored(asdict(self.rule), images)


def pool_instances(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Pools the scores of objects of several folds.

    Args:
        folds: The folds' results, with ``instances`` where objects were scored.

    Returns:
        ``rule``, how objects were taken from maps; ``images``, the counts of each;
        ``methods``: of what was taken apart and of connected parts ``title``, ``pq``,
        ``sq``, ``rq``, ``num_truth``, ``num_found``, ``count_error`` and, of masks, the
        average precision ``ap``, ``ap50`` and ``ap75`` of all objects together, the
        surest being those with the highest mean probability; and ``intervals`` of 95 %,
        by drawing scenes with replacement.
        ``None`` where a fold has none, or another rule.
    """
    found = [fold.get("instances") for fold in folds]
    if any(one is None or one["rule"] != found[0]["rule"] for one in found):  # type: ignore[index]
        return None
    images = [image for one in found for image in one["images"]]  # type: ignore[index]
    return _scored(found[0]["rule"], images)  # type: ignore[index]


def _scored(
    rule: Mapping[str, Any], images: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    methods = {}
    for method, title in METHODS.items():
        table = np.array([image[method] for image in images], float).reshape(-1, 4)
        scores = _quality(table)
        intervals = _intervals(len(table), 1000, _SCORES, partial(_quality, table))
        masks = [_matches(i["masks"][method]) for i in images if "masks" in i]
        if len(masks) == len(images) > 0:  # runs of old tell no masks
            scores |= mask_precision(masks)
            intervals |= _intervals(
                len(masks), 200, ("ap", "ap50"), partial(mask_precision, masks)
            )
        methods[method] = {"title": title, **scores, "intervals": intervals}
    told: dict[str, Any] = {"rule": dict(rule), "methods": methods}
    return without_nan(told | {"images": list(images)})


def mean_by_object(
    numbers: NDArray[np.integer], values: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The mean of values ``(y, x)`` over each object, by rising number."""
    known = np.unique(numbers[numbers > 0])
    return np.asarray(ndimage.mean(values, numbers, known), np.float64).reshape(-1)


def _plain(masks: MaskMatches) -> dict[str, Any]:
    return {
        "score": np.round(masks.score, 6).tolist(),
        "iou": masks.iou.tolist(),
        "num_truth": masks.num_truth,
    }


def _matches(told: Mapping[str, Any]) -> MaskMatches:
    score, iou = np.array(told["score"], float), np.array(told["iou"], float)
    return MaskMatches(score, iou, int(told["num_truth"]))


def _quality(
    table: NDArray[np.float64], times: NDArray[np.integer] | None = None
) -> dict[str, Any]:
    """Panoptic quality of counts ``(image, 4)``, each so many times."""
    rows: Any = (table if times is None else times[None] @ table).tolist()
    return panoptic_quality([PanopticCounts(*row) for row in rows])


def _intervals(
    count: int,
    num_resamples: int,
    keys: Sequence[str],
    score: Callable[[NDArray[np.integer]], Mapping[str, float]],
) -> dict[str, list[float]]:
    """Intervals of 95 %, scenes drawn with replacement; none of a single one.

    Args:
        count: Scenes.
        num_resamples: Resamples.
        keys: Scores that are told.
        score: Scores of a resample, from how often it holds each scene.
    """
    if count < 2:
        return {}
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), num_resamples)
    scores = [score(times) for times in drawn]
    found = {key: interval_of([each[key] for each in scores]) for key in keys}
    return {key: limits for key, limits in found.items() if not np.isnan(limits).any()}
