"""Class maps scored by polygon: what they give each class, and what the chart does."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.choices import check_names
from arcticdl.evaluation.images import (
    ImageEvaluation,
    check_same,
    num_counted,
)
from arcticdl.evaluation.pictures import Painter
from arcticdl.metrics.confusion import without_nan
from arcticdl.metrics.intervals import interval_of
from arcticdl.plots.maps import class_rgb
from arcticdl.plots.style import checked_colors
from arcticdl.plots.values import scaled_rgb
from arcticdl.tasks import Head
from arcticdl.void import VOID_CLASS

_STEPS = 1000  # of an error, in the integers that pictures take


class Polygons(NamedTuple):
    """Polygons of a map.

    Attributes:
        number: (polygon,) int64.
        mapped: (polygon, class) int64, pixels that the map gives each class.
        charted: (polygon, class) float64, shares that the chart gives it.
        place: (pixel,) intp, the polygon of each pixel that is not void.
    """

    number: NDArray[np.int64]
    mapped: NDArray[np.int64]
    charted: NDArray[np.float64]
    place: NDArray[np.intp]


def count_polygons(
    label: NDArray[Any], codes: NDArray[Any], known: NDArray[np.bool_]
) -> Polygons:
    """Counts the classes of a map in each polygon.

    Args:
        label: ``(y, x, 1 + class)``, number and shares.
        codes: ``(y, x)``, classes of the map.
        known: Boolean ``(y, x)``, the pixels to count; none of them void.

    Example:
        >>> label = np.array([[[4.0, 0.5, 0.5], [4.0, 0.5, 0.5], [7.0, 1.0, 0.0]]])
        >>> found = count_polygons(label, np.array([[0, 0, 1]]), np.ones((1, 3), bool))
        >>> found.number.tolist(), found.mapped.tolist()
        ([4, 7], [[2, 0], [0, 1]])
    """
    values, size = label[known], label.shape[-1] - 1
    number, first, place = np.unique(
        values[:, 0].astype(np.int64), return_index=True, return_inverse=True
    )
    cells = place.reshape(-1) * size + np.asarray(codes, np.int64)[known]
    mapped = np.bincount(cells, minlength=len(number) * size).reshape(-1, size)
    charted = values[first, 1:].astype(np.float64)
    return Polygons(number, mapped.astype(np.int64), charted, place.reshape(-1))


def polygon_errors(mapped: NDArray[Any], charted: NDArray[Any]) -> NDArray[np.float64]:
    """Share of each polygon that would have to change its class: ``(polygon,)``, 0-1.

    Half the sum of the absolute differences between the shares of the classes on the
    map and on the chart, which is their total variation distance.

    Args:
        mapped: ``(polygon, class)``, pixels.
        charted: ``(polygon, class)``, shares.

    Example:
        >>> polygon_errors(np.array([[2, 0]]), np.array([[0.5, 0.5]])).tolist()
        [0.5]
    """
    area = mapped.sum(-1, keepdims=True)
    shares = mapped / np.maximum(area, 1)
    return np.asarray(0.5 * np.abs(shares - charted).sum(-1))


def polygon_sums(mapped: NDArray[Any], charted: NDArray[Any]) -> NDArray[np.float64]:
    """Sums over the pixels of an image, which add up to those of several.

    Args:
        mapped: ``(polygon, class)``, pixels.
        charted: ``(polygon, class)``, shares.

    Returns:
        ``(3 + 3 * class,)``: pixels, their polygons' errors, those where the commonest
        class is right, and of each class the errors of its share, its charted and its
        mapped pixels.
    """
    area = mapped.sum(-1).astype(np.float64)
    apart = np.abs(mapped / np.maximum(area, 1)[:, None] - charted)
    # Tenths are no binary numbers: equal shares differ in their last digits.
    most = charted >= charted.max(-1, keepdims=True, initial=0) - 1e-6
    right = most[np.arange(len(area)), mapped.argmax(-1)]
    whole = [area.sum(), area @ polygon_errors(mapped, charted), area @ right]
    return np.concatenate([whole, area @ apart, area @ charted, mapped.sum(0)])


class SharesEvaluation(ImageEvaluation):
    """Scores class maps by the shares of charted polygons, and pools them by area.

    Nothing is said of a pixel, since the chart says nothing of it. In each polygon of a
    scene, all of its pixels that are held out and not void, the shares of the classes
    on the map are compared with those of the chart:

    * ``share_error``: the share of the area that would have to change its class for the
      map to have the chart's shares, 0 to 1 (`polygon_errors`), the less the better. A
      chart is drawn in tenths, so that a truth of each pixel has an error as well.
    * ``commonest``: the share of the area in polygons whose commonest class on the map
      is the commonest one of the chart, or one of several equal ones.
    * ``per_class``: the mean absolute ``error`` of a class's share, and its ``charted``
      and ``mapped`` share of the whole area.

    All of them are means over polygons, weighted by their pixels.

    Args:
        head: What the model answers.
        bands: Band names of the images, by which their composite is chosen.
        num_pictures: Of no account: a tile holds parts of polygons, whose shares nobody
            has charted. Whole scenes are shown.
        num_resamples: Bootstrap resamples of images behind the intervals.
        seed: Seed of the bootstrap.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> head = read_head("SOD", {"task": "dense_shares", "classes": ["a", "b"]})
        >>> evaluation = SharesEvaluation(head)
        >>> chart = np.array([[[1.0, 0.5, 0.5], [1.0, 0.5, 0.5]]])
        >>> evaluation.add("x", chart, np.array([[[0.9, 0.1], [0.6, 0.4]]]))
        >>> evaluation.result()["scores"]["share_error"]
        0.5
    """

    def __init__(
        self,
        head: Head,
        *,
        bands: Sequence[str] = (),
        num_pictures: int = 8,
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        check_names(bands=bands)
        self.head = head
        self.colors = checked_colors(head.classes, head.colors)
        self._mapped: dict[str, dict[int, NDArray[np.int64]]] = {}
        self._charted: dict[str, dict[int, NDArray[np.float64]]] = {}
        super().__init__(
            paint_shares(self.colors),
            bands=bands,
            num_pictures=0,
            num_resamples=num_resamples,
            seed=seed,
        )

    def add(
        self,
        image_id: str,
        y_true: np.ndarray,
        prediction: np.ndarray,
        *,
        image: np.ndarray | None = None,
        counted: np.ndarray | None = None,
        extra: Mapping[str, float] | None = None,
        picture_id: str | None = None,
    ) -> None:
        """Scores one image, or one more tile of an image.

        Args:
            image_id: The image: the unit that the intervals resample. The parts of a
                polygon in several tiles of it are put together.
            y_true: Number of the polygon within the image and shares ``(y, x, 1 +
                class)``, NaN where void.
            prediction: Probabilities ``(y, x, class)``.
            image: Of no account.
            counted: Boolean ``(y, x)``, ``False`` where a pixel is left out.
            extra: More numbers about this image.
            picture_id: Of no account.

        Raises:
            ValueError: Shapes differ, or a polygon has other shares than before.
        """
        from arcticdl.scene.shares import is_charted  # a report needs no GDAL

        label, codes = np.asarray(y_true), self._codes(prediction)
        if label.shape != (*codes.shape, len(self.head.classes) + 1):
            raise ValueError(
                "`y_true` must be (y, x, 1 + class), polygon number and shares, beside "
                f"probabilities (y, x, class). Received: {label.shape} and "
                f"{np.shape(prediction)}."
            )
        known = is_charted(label)
        known = known if counted is None else known & counted
        found = count_polygons(label, codes, known)
        entries = zip(found.number.tolist(), found.mapped, found.charted, strict=True)
        num_void = num_counted(label.shape, counted) - int(known.sum())
        self._note(image_id, num_void, extra)
        self._mapped.setdefault(image_id, {})
        self._charted.setdefault(image_id, {})
        for number, mapped, charted in entries:
            self._count(image_id, number, mapped, charted)

    def result(self) -> dict[str, Any]:
        """Returns everything that was counted and scored, ready for JSON.

        Returns:
            ``task``, ``scored_by``, ``classes``, ``colors``; ``pooled``, a sentence
            that says what is pooled; ``num_images``, ``num_polygons``, ``num_pixels``,
            ``num_void_pixels``; ``scores`` (see the class); ``intervals`` of 95 %;
            ``extra``; ``images``, each with its ``polygons``: ``number``, ``mapped``
            pixels and ``charted`` shares by class.

        Raises:
            ValueError: If nothing was added.
        """
        if not self._mapped:
            raise ValueError("No image was evaluated. Call `add` at least once.")
        sums = np.stack([self._sums(image_id) for image_id in self._mapped])
        pooled = sums.sum(0)
        num_polygons = sum(map(len, self._mapped.values()))
        images = "1 image" if len(sums) == 1 else f"{len(sums)} images"
        polygons = "polygon" if num_polygons == 1 else "polygons"
        return without_nan(
            {
                "task": self.head.task,
                "scored_by": "shares",
                "classes": list(self.head.classes),
                "colors": list(self.colors),
                "pooled": (
                    f"Shares of the classes in {num_polygons:,} charted {polygons} of "
                    f"{images}, weighted by their {int(pooled[0]):,} scored pixels; "
                    "the chart tells no pixel's class, and none is scored by itself."
                ),
                "num_images": len(sums),
                "num_polygons": num_polygons,
                "num_pixels": int(pooled[0]),
                "num_void_pixels": self._num_void,
                "scores": self._scores(pooled),
                "intervals": self._intervals(sums),
                "calibration": None,
                "extra": self._extra_summary(),
                "images": [
                    self._entry(image_id, own)
                    for image_id, own in zip(self._mapped, sums, strict=True)
                ],
            }
        )

    def merge(self, result: Mapping[str, Any]) -> None:
        """Adds what another evaluation's `result` counted, e.g. another fold's.

        Raises:
            ValueError: If tasks or classes differ.
        """
        check_same(result, {"task": self.head.task, "classes": list(self.head.classes)})
        for entry in result["images"]:
            image_id = entry["image_id"]
            self._mapped.setdefault(image_id, {})
            self._charted.setdefault(image_id, {})
            self._note(image_id, 0, entry["extra"])
            for one in entry["polygons"]:
                mapped = np.asarray(one["mapped"], np.int64)
                charted = np.asarray(one["charted"], np.float64)
                self._count(image_id, one["number"], mapped, charted)
        self._num_void += result["num_void_pixels"]

    def _codes(self, prediction: np.ndarray) -> np.ndarray:
        codes = self.head.form.codes
        assert codes is not None  # of a form with classes
        return codes(np.asarray(prediction))

    def _count(
        self, image_id: str, number: int, mapped: np.ndarray, charted: np.ndarray
    ) -> None:
        """Adds a part of a polygon to what is counted of it."""
        from arcticdl.scene.shares import TOLERANCE

        before = self._charted[image_id].setdefault(number, charted)
        if np.abs(before - charted).max() > TOLERANCE:
            raise ValueError(
                "A polygon must have the same shares at all of its pixels. Received: "
                f"number {number} of {image_id!r} with {before.tolist()} and "
                f"{charted.tolist()}."
            )
        held = self._mapped[image_id]
        held[number] = held[number] + mapped if number in held else mapped

    def _sums(self, image_id: str) -> NDArray[np.float64]:
        size = len(self.head.classes)
        mapped = list(self._mapped[image_id].values())
        charted = list(self._charted[image_id].values())
        shape = (len(mapped), size)
        return polygon_sums(np.reshape(mapped, shape), np.reshape(charted, shape))

    def _scores(self, sums: NDArray[np.float64]) -> dict[str, Any]:
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = sums[1:] / sums[0]
        parts = shares[2:].reshape(3, -1).T
        keys = ("error", "charted", "mapped")
        return {
            "share_error": float(shares[0]),
            "commonest": float(shares[1]),
            "per_class": {
                name: dict(zip(keys, map(float, row), strict=True))
                for name, row in zip(self.head.classes, parts, strict=True)
            },
        }

    def _intervals(self, sums: NDArray[np.float64]) -> dict[str, list[float]]:
        # One image resampled is the same image: an interval of no width says nothing.
        if len(sums) < 2:
            return {}
        rng = np.random.default_rng(self.seed)
        drawn = rng.integers(0, len(sums), (self.num_resamples, len(sums)))
        pooled = sums[drawn].sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = pooled[:, 1:3] / pooled[:, :1]
        keys = ("share_error", "commonest")
        return {k: interval_of(v) for k, v in zip(keys, shares.T, strict=True)}

    def _entry(self, image_id: str, sums: NDArray[np.float64]) -> dict[str, Any]:
        found = self._scores(sums)
        polygons = [
            {
                "number": number,
                "mapped": mapped.tolist(),
                "charted": [
                    round(float(s), 6) for s in self._charted[image_id][number]
                ],
            }
            for number, mapped in self._mapped[image_id].items()
        ]
        return {
            "image_id": image_id,
            "num_pixels": int(sums[0]),
            "share_error": found["share_error"],
            "commonest": found["commonest"],
            "extra": self._extra_of(image_id),
            "polygons": polygons,
        }

    def _score_of(self, image_id: str) -> float:
        return -float(self._scores(self._sums(image_id))["share_error"])

    def _shown(
        self, y_true: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        from arcticdl.scene.shares import commonest, is_charted

        label, codes = np.asarray(y_true), self._codes(prediction)
        known = is_charted(label)
        found = count_polygons(label, codes, known)
        errors = np.zeros(known.shape, np.int64)
        each = np.rint(_STEPS * polygon_errors(found.mapped, found.charted))
        errors[known] = each.astype(np.int64)[found.place]
        return np.stack([commonest(label).astype(np.int64), errors], -1), codes


def paint_shares(colors: Sequence[str]) -> Painter:
    """Panels of polygons: the chart's commonest class, the map, the errors of shares.

    Args:
        colors: ``#rrggbb`` a class.

    Returns:
        A painter of ``(y, x, 2)``, commonest class (255 void) and error in thousandths,
        and of codes ``(y, x)``. Errors are drawn from white, 0, to dark red, 1.
    """

    def paint(y_true: np.ndarray, y_pred: np.ndarray) -> list[np.ndarray]:
        void = y_true[..., 0] == VOID_CLASS
        error = np.where(void, np.nan, y_true[..., 1] / _STEPS)
        return [
            class_rgb(y_true[..., 0], colors),
            class_rgb(y_pred, colors),
            scaled_rgb(error, 0, 1, "Reds"),
        ]

    return paint
