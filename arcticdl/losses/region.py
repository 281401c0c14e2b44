"""Losses of overlap: Dice, Tversky, Jaccard and their kin."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.choices import check_choice
from arcticdl.losses.base import check_range, nan_ratio, ratio
from arcticdl.losses.pixels import Pixels, class_weight_vector
from arcticdl.losses.segmentation import SegmentationLoss
from arcticdl.replicas import over_replicas
from arcticdl.void import VOID_CLASS

POOLS = ("all", "batch", "sample")


class OverlapLoss(SegmentationLoss):
    """Base of the losses from how far prediction and label overlap.

    The elements are classes, not pixels: with ``w`` the pixel weights, ``p`` the
    probabilities and ``t`` the labels, each class has ``sum(w p t)``, ``sum(w p)``
    and ``sum(w t)``, and one loss from the three. The mean is over the classes that
    occur, weighted by `class_weights`; a class weight of 0 leaves a class out.

    **A class without a scored pixel in its pool is not scored**: a tile of open
    water says nothing about how well ice is outlined. (The predictions of such a
    class still cost, as what they take from the classes that are there.)

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        pool: Over what the three sums run: ``"batch"``, per class over the pixels of
            all samples; ``"sample"``, per class and sample; ``"all"``, over samples
            and classes together, so that large classes dominate.
        smooth: Added to numerator and denominator of a class's overlap, in weighted
            pixels, >= 0.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        pool: str = "batch",
        smooth: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(void_class, class_weights, **kwargs)
        check_choice("pool", pool, POOLS)
        self.pool = pool
        self.smooth = check_range("smooth", smooth, 0, float("inf"))

    @property
    def sees_all_replicas(self) -> bool:  # type: ignore[override]
        """Whether the pool is all samples, those of other replicas included."""
        return self.pool != "sample"

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns losses and weights, ``(class,)`` or ``(batch, class)``."""
        both, predicted, labelled = overlap_sums(pixels)
        if self.pool != "sample":
            both, predicted, labelled = (
                over_replicas(ops.sum(s, axis=0)) for s in (both, predicted, labelled)
            )
        weights = pixels.class_weight_vector(self.class_weights)
        return self.score_sums(both, predicted, labelled, weights)

    def score_sums(
        self, both: Any, predicted: Any, labelled: Any, class_weights: Any
    ) -> tuple[Any, Any]:
        """Returns losses and weights from the three sums of each class.

        Args:
            both: float32 ``(class,)``, or ``(batch, class)`` of pools that are samples.
            predicted: Likewise.
            labelled: Likewise.
            class_weights: float32 ``(class,)``.
        """
        if self.pool == "all":
            sums = [ops.sum(s * class_weights) for s in (both, predicted, labelled)]
            both, predicted, labelled = (ops.reshape(s, (1,)) for s in sums)
            class_weights = ops.ones((1,), dtype="float32")
        present = ops.cast(labelled > 0.0, "float32")
        values = 1.0 - self.overlap(both, predicted, labelled)
        return self.shape_loss(values), present * class_weights

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple:
        """Returns the three sums of each class, which add up over batches.

        A loss of ``pool="sample"`` has values that do so already.
        """
        if self.pool == "sample":
            return super().sums(y_true, y_pred, sample_weight)
        pixels = self.prepare(y_true, y_pred, sample_weight)
        sums = overlap_sums(pixels)
        return tuple(ops.sum(s, axis=0) * pixels.nan_if_invalid for s in sums)

    def from_sums(self, sums: tuple) -> Any:
        """Returns the loss of all batches as of one: the pool is all of them."""
        if self.pool == "sample":
            return super().from_sums(sums)
        class_weights = class_weight_vector(self.class_weights, int(sums[0].shape[0]))
        both, predicted, labelled = sums
        values, weights = self.score_sums(both, predicted, labelled, class_weights)
        total = ops.sum(values * weights)
        if self.reduction == "sum":
            return total
        return nan_ratio(total, ops.sum(weights))

    def overlap(self, both: Any, predicted: Any, labelled: Any) -> Any:
        """Returns the overlap in 0-1 from the three sums."""
        raise NotImplementedError

    def shape_loss(self, values: Any) -> Any:
        """Returns the losses from one minus the overlaps."""
        return values

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "pool": self.pool, "smooth": self.smooth}


def overlap_sums(pixels: Pixels) -> tuple[Any, Any, Any]:
    """Returns weighted sums of p t, p and t over space, each ``(batch, class)``.

    Samples are summed apart first: float32 loses ones past 2**24 pixels.
    """
    if not (pixels.hard and pixels.exclusive):
        weighted = pixels.target * pixels.weight
        space = tuple(range(1, len(pixels.logits.shape) - 1))
        terms = (pixels.prob * weighted, pixels.prob * pixels.weight, weighted)
        return tuple(ops.sum(t, axis=space) if space else t for t in terms)
    # As products of matrices, which write no map of all classes to memory.
    target, prob, weight, of_label = (
        _in_rows(t)
        for t in (pixels.target, pixels.prob, pixels.weight, pixels.prob_of_label)
    )
    return (
        _summed(target, of_label * weight),
        _summed(prob, weight),
        _summed(target, weight),
    )


def _in_rows(x: Any) -> Any:
    """(batch, ..., class) as (batch, pixel, class)."""
    return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1]))


def _summed(maps: Any, weight: Any) -> Any:
    """Sums maps (batch, pixel, class) by weights (batch, pixel, 1) over pixels."""
    return ops.matmul(ops.transpose(weight, (0, 2, 1)), maps)[:, 0]


@keras.saving.register_keras_serializable(package="arcticdl")
class Dice(OverlapLoss):
    """Soft Dice loss, ``1 - 2 sum(p t) / (sum(p) + sum(t))`` for each class.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class; 0 leaves a class out.
        pool: ``"batch"``, ``"sample"`` or ``"all"``; see :class:`OverlapLoss`, which
            also says that absent classes are not scored.
        smooth: Added to numerator and denominator, >= 0.
        generalized: One Dice for all classes of the pool, each weighted by
            ``1 / sum(t)**2``, so that a class counts the same whatever its size.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.

    Sources:
        Milletari, Navab and Ahmadi, 2016, "V-Net", here with plain sums in the
        denominator; generalised: Sudre, Li, Vercauteren, Ourselin and Cardoso, 2017,
        "Generalised Dice overlap as a deep learning loss function".

    >>> import numpy as np
    >>> logits = np.zeros((1, 2, 2), "float32")  # two pixels, p = 0.5 each
    >>> loss = Dice()(np.array([[0, 255]]), logits)
    >>> round(float(loss), 6)  # 1 - 2 x 0.5 / (0.5 + 1)
    0.333333
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        pool: str = "batch",
        smooth: float = 0.0,
        generalized: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "dice")
        super().__init__(void_class, class_weights, pool=pool, smooth=smooth, **kwargs)
        self.generalized = bool(generalized)
        if generalized and pool == "all":
            raise ValueError(
                "`generalized` weighs classes by their size, which needs `pool` "
                "'batch' or 'sample'. Received: pool='all'."
            )

    def score_sums(
        self, both: Any, predicted: Any, labelled: Any, class_weights: Any
    ) -> tuple[Any, Any]:
        """Returns losses and weights, one a class, or one a pool if generalised."""
        if not self.generalized:
            return super().score_sums(both, predicted, labelled, class_weights)
        # Sizes are relative to the largest class: squares of pixel counts overflow.
        size = labelled / ops.maximum(ops.max(labelled, -1, keepdims=True), 1e-30)
        weight = class_weights * ratio(ops.cast(size > 0, "float32"), size * size)
        both, predicted, labelled = (
            ops.reshape(ops.sum(weight * s, axis=-1), (-1,))
            for s in (both, predicted, labelled)
        )
        values = 1.0 - self.overlap(both, predicted, labelled)
        return values, ops.cast(labelled > 0.0, "float32")

    def overlap(self, both: Any, predicted: Any, labelled: Any) -> Any:
        """Returns Dice coefficients."""
        return ratio(2.0 * both + self.smooth, predicted + labelled + self.smooth)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "generalized": self.generalized}


@keras.saving.register_keras_serializable(package="arcticdl")
class Jaccard(OverlapLoss):
    """Soft Jaccard (IoU) loss, ``1 - sum(p t) / (sum(p) + sum(t) - sum(p t))``.

    Arguments are those of :class:`OverlapLoss`.

    Source:
        Rahman and Wang, 2016, "Optimizing intersection-over-union in deep neural
        networks for image segmentation".
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "jaccard")
        super().__init__(void_class, class_weights, **kwargs)

    def overlap(self, both: Any, predicted: Any, labelled: Any) -> Any:
        """Returns Jaccard indices."""
        union = predicted + labelled - both
        return ratio(both + self.smooth, union + self.smooth)


@keras.saving.register_keras_serializable(package="arcticdl")
class Tversky(OverlapLoss):
    """Tversky loss: Dice with prices of its own for false alarms and misses.

    ``1 - TP / (TP + alpha FP + beta FN)``; ``alpha = beta = 0.5`` is Dice, both 1
    Jaccard. The defaults are the paper's best, which favours recall.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        alpha: Price of false positives, >= 0.
        beta: Price of false negatives, >= 0.
        **kwargs: `pool`, `smooth`, `multilabel`, `from_logits`, `reduction`, `name`.

    Source:
        Salehi, Erdogmus and Gholipour, 2017, "Tversky loss function for image
        segmentation using 3D fully convolutional deep networks".
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "tversky")
        super().__init__(void_class, class_weights, **kwargs)
        self.alpha = check_range("alpha", alpha, 0, float("inf"))
        self.beta = check_range("beta", beta, 0, float("inf"))

    def overlap(self, both: Any, predicted: Any, labelled: Any) -> Any:
        """Returns Tversky indices."""
        false = self.alpha * (predicted - both) + self.beta * (labelled - both)
        return ratio(both + self.smooth, both + false + self.smooth)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable(package="arcticdl")
class FocalTversky(Tversky):
    """Tversky loss to a power, which moves weight between easy and hard classes.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        gamma: Exponent > 0 of each class's Tversky loss. The default is the paper's
            ``1 / gamma`` with its gamma of 4/3.
        **kwargs: `alpha`, `beta`, `pool`, `smooth`, `multilabel`, `from_logits`,
            `reduction`, `name`.

    Source:
        Abraham and Khan, 2019, "A novel focal Tversky loss function with improved
        attention U-Net for lesion segmentation".
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        gamma: float = 0.75,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "focal_tversky")
        super().__init__(void_class, class_weights, **kwargs)
        self.gamma = check_range("gamma", gamma, 1e-3, 100)

    def shape_loss(self, values: Any) -> Any:
        """Returns losses to the power `gamma`."""
        # The slope of a power below 1 is infinite at 0.
        return ops.power(ops.maximum(values, 1e-7), self.gamma)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma}
