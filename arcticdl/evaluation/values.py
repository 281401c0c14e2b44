"""Streaming evaluation of maps of numbers: a few sums an image, nothing larger."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.evaluation.images import (
    ImageEvaluation,
    check_same,
    num_counted,
)
from arcticdl.evaluation.pictures import paint_values
from arcticdl.metrics import Moments, merge_moments, regression_moments
from arcticdl.metrics.confusion import without_nan
from arcticdl.metrics.intervals import interval_of
from arcticdl.metrics.regression import moment_sums, scores_of_sums
from arcticdl.tasks import Head

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of a Gaussian head's coverage
_SAMPLE = 2000  # pixels kept for the scatter
_MIN_PICTURE_SHARE = 0.1  # of its pixels must be scored for a tile to be shown


class ValueEvaluation(ImageEvaluation):
    """Scores numbers image by image and pools them over all pixels.

    Args:
        head: What the model answers: values, quantiles, means with variances, or the
            members of an ensemble.
        bands: Band names of the images, by which their composite is chosen.
        num_pictures: How many of the worst tiles to keep as pictures, and half as many
            of the best; 0 keeps none.
        num_resamples: Bootstrap resamples of images behind the intervals.
        seed: Seed of bootstrap and sample.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> head = read_head("sic", {"task": "dense_regression"})
        >>> evaluation = ValueEvaluation(head)
        >>> evaluation.add("a", np.array([[0.0, np.nan]]), np.array([[[2.0], [9.0]]]))
        >>> evaluation.result()["scores"]["rmse"]
        2.0
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
        self._moments: dict[str, list[Moments]] = {}
        levels = _LEVELS if head.spec.kind == "gaussian" else head.size
        told = head.spec.kind in ("gaussian", "quantiles")
        self._levels = tuple(levels) if told else ()
        self._below = np.zeros(len(self._levels), np.int64)
        self._sample = _Sample(seed)
        super().__init__(
            paint_values,
            bands=bands,
            num_pictures=num_pictures,
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
            image_id: The image: the unit that the intervals resample.
            y_true: Numbers ``(y, x)`` or ``(y, x, output)``, void NaN.
            prediction: Activated answers ``(y, x, channel)``; see ``arcticdl.tasks``.
            image: ``(y, x, band)``, to show the tile among the best or worst.
            counted: Boolean ``(y, x)``, ``False`` where a pixel is left out.
            extra: More numbers about this image.
            picture_id: Name of the tile within the image.

        Raises:
            ValueError: Shapes differ, or a scored pixel's prediction is not finite.
        """
        true = np.asarray(y_true, np.float64)
        true = true[..., None] if true.ndim == 2 else true
        value = self.head.form.outputs["value"].read(prediction, self.head)
        if value.shape != true.shape:
            raise ValueError(
                "`prediction` must have one value a number of `y_true`. "
                f"Received: {value.shape} and {true.shape}."
            )
        known = np.where(True if counted is None else counted[..., None], true, np.nan)
        scored = ~np.isnan(known)
        parts = [
            regression_moments(known[..., k], value[..., k])
            for k in range(true.shape[-1])
        ]
        before = self._moments.get(image_id, [Moments()] * len(parts))
        both = zip(before, parts, strict=True)
        self._moments[image_id] = [old.merge(new) for old, new in both]
        num_void = num_counted(true.shape, counted) - int(scored.any(-1).sum())
        self._note(image_id, num_void, extra)
        self._count_below(known, prediction)
        self._sample.add(known[scored], value[scored])
        if image is not None and scored.any(-1).mean() >= _MIN_PICTURE_SHARE:
            # The higher the better: the least error is the best.
            score = -parts[0].scores()["rmse"]
            panels = (image, true[..., 0], value[..., 0])
            self._offer_picture(image_id, picture_id, score, *panels)

    def result(self) -> dict[str, Any]:
        """Returns everything that was counted and scored, ready for JSON.

        Returns:
            ``task``, ``scored_by``, ``outputs``, ``units``; ``pooled``, a sentence that
            says what is pooled; ``num_images``, ``num_pixels``, ``num_void_pixels``;
            ``scores`` (``rmse``, ``mae``, ``bias``, ``r2``) of all pixels, with
            ``per_output`` where there are several, whose means stand above;
            ``intervals`` of 95 %; ``coverage``, of quantiles and Gaussians the share of
            truths below each level; ``sample``, some true and predicted numbers;
            ``extra``; ``images``.

        Raises:
            ValueError: If nothing was added.
        """
        if not self._moments:
            raise ValueError("No image was evaluated. Call `add` at least once.")
        images = list(self._moments.values())
        pooled = [merge_moments(parts) for parts in zip(*images, strict=True)]
        num_pixels = sum(m.count for m in pooled)
        return without_nan(
            {
                "task": self.head.task,
                "scored_by": "values",
                "outputs": list(self.head.outputs),
                "units": self.head.units,
                "pooled": (
                    f"All {num_pixels:,} scored numbers of {len(images)} "
                    f"image{'s' if len(images) > 1 else ''} together; void is left "
                    "out, and every number weighs the same."
                ),
                "num_images": len(images),
                "num_pixels": num_pixels,
                "num_void_pixels": self._num_void,
                "scores": self._scores(pooled),
                "intervals": self._intervals(images),
                "coverage": self._coverage(pooled[0].count),
                "sample": self._sample.result(),
                "calibration": None,
                "extra": self._extra_summary(),
                "images": self._entries(),
            }
        )

    def merge(self, result: Mapping[str, Any]) -> None:
        """Adds what another evaluation's `result` counted, e.g. another fold's.

        Raises:
            ValueError: If tasks or outputs differ.
        """
        check_same(result, {"task": self.head.task, "outputs": [*self.head.outputs]})
        for entry in result["images"]:
            parts = [Moments(**moments) for moments in entry["moments"]]
            before = self._moments.get(entry["image_id"], [Moments()] * len(parts))
            both = zip(before, parts, strict=True)
            self._moments[entry["image_id"]] = [old.merge(new) for old, new in both]
            self._note(entry["image_id"], 0, entry["extra"])
        self._num_void += result["num_void_pixels"]
        self._below += np.array([c["below"] for c in result["coverage"]], np.int64)
        self._sample.add(*(np.array(result["sample"][k]) for k in ("true", "pred")))

    def _score_of(self, image_id: str) -> float:
        return -float(self._moments[image_id][0].scores()["rmse"])

    def _shown(
        self, y_true: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        value = self.head.form.outputs["value"].read(prediction, self.head)
        true = np.asarray(y_true, np.float64)
        return (true if true.ndim == 2 else true[..., 0]), value[..., 0]

    def _count_below(self, true: np.ndarray, prediction: np.ndarray) -> None:
        """Counts truths below each level of the first output's predicted spread."""
        if not self._levels:
            return
        first = true[..., 0]
        scored = ~np.isnan(first)
        bounds = prediction
        if self.head.spec.kind == "gaussian":
            mean = prediction[..., 0]
            deviation = np.sqrt(np.maximum(prediction[..., self.head.size], 0))
            z = [NormalDist().inv_cdf(level) for level in self._levels]
            bounds = mean[..., None] + deviation[..., None] * np.array(z)
        below = first[scored][:, None] <= bounds[scored]
        self._below += below.sum(axis=0)

    def _coverage(self, count: int) -> list[dict[str, Any]]:
        return [
            {"level": level, "below": int(n), "share": n / count if count else None}
            for level, n in zip(self._levels, self._below, strict=True)
        ]

    def _scores(self, pooled: Sequence[Moments]) -> dict[str, Any]:
        each = [moments.scores() for moments in pooled]
        if len(each) == 1:
            return each[0]
        mean = {k: float(np.mean([s[k] for s in each])) for k in each[0]}
        names = self.head.outputs
        return mean | {"per_output": dict(zip(names, each, strict=True))}

    def _intervals(self, images: Sequence[Sequence[Moments]]) -> dict[str, list[float]]:
        # One image resampled is the same image: an interval of no width says nothing.
        if len(images) < 2:
            return {}
        return bootstrap_moments(images, self.num_resamples, self.seed)

    def _entries(self) -> list[dict[str, Any]]:
        return [
            {
                "image_id": image_id,
                "num_pixels": sum(m.count for m in parts),
                **{k: v for k, v in self._scores(parts).items() if k in ("rmse", "r2")},
                "bias": self._scores(parts)["bias"],
                "extra": self._extra_of(image_id),
                "moments": [vars(m) for m in parts],
            }
            for image_id, parts in self._moments.items()
        ]


class _Sample:
    """A fixed number of pairs, drawn from all alike."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._rank = np.zeros(0)
        self._pairs = np.zeros((0, 2))

    def add(self, true: np.ndarray, pred: np.ndarray) -> None:
        """Offers pairs; each is kept while its random rank is among the lowest."""
        rank = np.concatenate([self._rank, self._rng.random(true.size)])
        offered = np.stack([np.ravel(true), np.ravel(pred)], axis=1)
        pairs = np.concatenate([self._pairs, offered])
        kept = np.argsort(rank, kind="stable")[:_SAMPLE]
        self._rank, self._pairs = rank[kept], pairs[kept]

    def result(self) -> dict[str, list[float]]:
        """The pairs, to five digits."""
        true, pred = (
            [float(f"{v:.5g}") for v in column] for column in self._pairs.T.tolist()
        )
        return {"true": true, "pred": pred}


def bootstrap_moments(
    images: Sequence[Sequence[Moments]], num_resamples: int, seed: int
) -> dict[str, list[float]]:
    """Percentile intervals of 95 % from images drawn with replacement.

    Args:
        images: Moments of each image, one for each of the head's outputs.
        num_resamples: How often as many images are drawn.
        seed: Of the draw.

    Returns:
        ``{score: [low, high]}`` for ``rmse``, ``mae``, ``bias`` and ``r2``, of several
        outputs their mean; NaN where a score is never defined.
    """
    rng = np.random.default_rng(seed)
    size = (num_resamples, len(images))
    drawn = rng.integers(0, len(images), size)
    times = np.zeros(size)
    np.add.at(times, (np.arange(num_resamples)[:, None], drawn), 1)
    each = [scores_of_sums(times @ moment_sums(o)) for o in zip(*images, strict=True)]
    means = {
        name: np.mean([scores[name] for scores in each], axis=0) for name in each[0]
    }
    return {name: interval_of(values) for name, values in means.items()}
