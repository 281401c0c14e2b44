"""Objects of class maps, taken apart as they are mapped, against numbered ones."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.errors import TaskError
from arcticdl.inference.objects.separate import connected_objects, separate_objects
from arcticdl.inference.postprocess import plain, postprocess
from arcticdl.metrics.confusion import without_nan
from arcticdl.metrics.floes import MIN_FLOE_PX, VOID_INSTANCE
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
        likely = None
        if self.rule.landscape == "probability":
            likely = prob[..., self._codes].sum(axis=-1)
        apart = separate_objects(
            mask, landscape=likely, max_neck=self.rule.max_neck, **given
        )
        self._images[scene_id] = {
            "separated": panoptic_counts(truth, apart),
            "connected": panoptic_counts(truth, connected_objects(mask, **given)),
        }

    def result(self) -> dict[str, Any]:
        """What was scored, ready for JSON; see `pool_instances`."""
        images = [
            {"image_id": name, **{m: list(counts[m]) for m in METHODS}}
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
        ``sq``, ``rq``, ``num_truth``, ``num_found`` and ``count_error`` of all objects
        together, and ``intervals`` of 95 %, by drawing scenes with replacement.
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
        methods[method] = {
            "title": title,
            **panoptic_quality([PanopticCounts(*row) for row in table.tolist()]),
            "intervals": _intervals(table),
        }
    told: dict[str, Any] = {"rule": dict(rule), "methods": methods}
    return without_nan(told | {"images": list(images)})


def _intervals(
    table: NDArray[np.float64], num_resamples: int = 1000, seed: int = 0
) -> dict[str, list[float]]:
    """Intervals of 95 %, scenes drawn with replacement; none of a single one."""
    count = len(table)
    if count < 2:
        return {}
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), num_resamples) @ table
    scores = [panoptic_quality([PanopticCounts(*row)]) for row in drawn.tolist()]
    found = {}
    for key in _SCORES:
        values = np.array([score[key] for score in scores])
        values = values[np.isfinite(values)]
        if len(values):
            found[key] = [float(v) for v in np.quantile(values, [0.025, 0.975])]
    return found
