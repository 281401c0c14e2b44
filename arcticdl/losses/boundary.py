"""Losses of shape: distance to the boundary, and the centre lines of thin classes."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.choices import check_choice
from arcticdl.losses.base import check_range, ratio
from arcticdl.losses.pixels import Pixels
from arcticdl.losses.segmentation import SegmentationLoss
from arcticdl.replicas import over_replicas
from arcticdl.void import VOID_CLASS


@keras.saving.register_keras_serializable(package="arcticdl")
class Boundary(SegmentationLoss):
    """Boundary loss: a probability costs its distance from where the class may be.

    ``signed_distance * p`` for each scored pixel and class; the signed distances are
    computed from the label in the graph, so that labels stay plain class maps. The
    loss lies in -1 to 1 and is least, below 0, for a perfect prediction. Its pull is
    weak far from a boundary: add it to a region loss, as in
    ``Sum([Dice(), Boundary()], weights=[1.0, 0.1])``. A class that a sample does not
    hold has no boundary there and is not scored.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class; 0 leaves a class out.
        radius_px: Distances saturate here, >= 1; time and memory grow with it.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.

    Source:
        Kervadec et al., 2019, "Boundary loss for highly unbalanced segmentation",
        equation 5. There distances are unbounded and the zero lies on the inner
        boundary pixels; here they saturate at `radius_px`, scaled to 1, and the zero
        lies between the pixels.
    """

    permutable = False

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        radius_px: int = 10,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "boundary")
        super().__init__(void_class, class_weights, **kwargs)
        self.radius_px = int(check_range("radius_px", radius_px, 1, 256))

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns values and weights ``(batch, y, x, class)``."""
        check_image(pixels.logits, self.name)
        scored = ops.broadcast_to(pixels.scored, ops.shape(pixels.target))
        inside = ops.cast(pixels.target > 0.5, "float32")
        distance = signed_distance(inside, scored, self.radius_px)
        present = ops.max(inside, axis=(1, 2), keepdims=True)
        weights = pixels.weight * present
        weights = weights * pixels.class_weight_vector(self.class_weights)
        return distance * pixels.prob, weights

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "radius_px": self.radius_px}


@keras.saving.register_keras_serializable(package="arcticdl")
class CenterlineDice(SegmentationLoss):
    """Centre-line Dice (clDice): thin lines are found when their skeletons are.

    The harmonic mean of how much of the predicted skeleton lies on the label, and of
    the label's skeleton on the prediction. Skeletons come from soft erosion and
    opening. For leads, fronts, crevasses, floe edges. Void does to a skeleton what
    the edge of the image does: nothing grows into it and nothing is eaten from it.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class, of all classes.
        classes: Classes with lines; ``None``: all but class 0, or all channels in
            the binary and multi-label forms.
        num_iterations: Erosions, at least half the width of the widest line in px.
        pool: ``"batch"``, one skeleton score a class over all samples, or
            ``"sample"``. A class that its pool does not hold is not scored.
        smooth: Added to numerators and denominators, > 0.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.

    Source:
        Shit et al., 2021, "clDice, a novel topology-preserving loss function for
        tubular structure segmentation", algorithms 1 and 2.
    """

    permutable = False

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        classes: Sequence[int] | None = None,
        num_iterations: int = 5,
        pool: str = "batch",
        smooth: float = 1.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "centerline_dice")
        super().__init__(void_class, class_weights, **kwargs)
        self.classes = None if classes is None else tuple(int(c) for c in classes)
        self.num_iterations = int(check_range("num_iterations", num_iterations, 1, 256))
        check_choice("pool", pool, ("batch", "sample"))
        self.pool = pool
        self.smooth = check_range("smooth", smooth, 1e-6, float("inf"))

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns losses and weights, ``(class,)`` or ``(batch, class)``."""
        check_image(pixels.logits, self.name)
        chosen = self._choose(pixels)
        prob, target = (ops.take(x, chosen, -1) for x in (pixels.prob, pixels.target))
        weight = ops.broadcast_to(pixels.weight, ops.shape(pixels.logits))
        weight = ops.take(weight, chosen, -1)
        scored = ops.cast(weight > 0.0, "float32")
        precision = self._share(prob, target, weight, scored)
        sensitivity = self._share(target, prob, weight, scored)
        values = 1.0 - ratio(2.0 * precision * sensitivity, precision + sensitivity)
        present = ops.cast(self._pooled(target * weight) > 0.0, "float32")
        class_weights = pixels.class_weight_vector(self.class_weights)
        return values, present * ops.take(class_weights, chosen, 0)

    def _share(self, line: Any, mask: Any, weight: Any, scored: Any) -> Any:
        skeleton = soft_skeleton(line, self.num_iterations, scored) * weight
        return (self._pooled(skeleton * mask) + self.smooth) / (
            self._pooled(skeleton) + self.smooth
        )

    @property
    def sees_all_replicas(self) -> bool:  # type: ignore[override]
        """Whether the pool is all samples, those of other replicas included."""
        return self.pool == "batch"

    def _pooled(self, x: Any) -> Any:
        if self.pool == "batch":
            return over_replicas(ops.sum(x, axis=(0, 1, 2)))
        return ops.sum(x, axis=(1, 2))

    def _choose(self, pixels: Pixels) -> list[int]:
        num_classes = pixels.num_classes
        first = 1 if pixels.exclusive else 0
        classes = range(first, num_classes) if self.classes is None else self.classes
        if not classes or not all(0 <= c < num_classes for c in classes):
            raise ValueError(
                f"`classes` must name channels 0 to {num_classes - 1}. "
                f"Received: classes={self.classes}."
            )
        return list(classes)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "classes": self.classes and list(self.classes),
            "num_iterations": self.num_iterations,
            "pool": self.pool,
            "smooth": self.smooth,
        }


def signed_distance(inside: Any, scored: Any, radius_px: int) -> Any:
    """Signed Euclidean distance to a class boundary, saturated and scaled.

    Exact within the radius: one pass along x and one along y, each a minimum over
    ``2 * radius_px + 1`` shifts of squared distances. Void pixels are neither inside
    nor outside, so the edge of void is no boundary.

    Args:
        inside: float32 ``(batch, y, x, class)`` of 0 and 1.
        scored: The same shape; 1 where scored.
        radius_px: Distance in pixels at which the result reaches 1.

    Returns:
        float32 of the same shape in -1 to 1, negative inside: centre-to-centre
        distance to the nearest pixel of the other side, less half a pixel, over
        ``radius_px - 0.5``.
    """
    outside = (1.0 - inside) * scored
    both = ops.concatenate([inside * scored, outside], axis=-1)
    far = float(4 * radius_px**2)
    squared = ops.where(both > 0.0, 0.0, far)
    for axis in (2, 1):
        squared = _nearest(squared, axis, radius_px, far)
    distance = ops.minimum(ops.sqrt(squared), float(radius_px)) - 0.5
    to_inside, to_outside = ops.split(distance, 2, axis=-1)
    signed = ops.where(inside > 0.0, -to_outside, to_inside)
    return ops.stop_gradient(signed / (radius_px - 0.5))


def _nearest(squared: Any, axis: int, radius_px: int, far: float) -> Any:
    """Minimum over shifts along an axis of squared distance plus shift squared."""
    pad = [(0, 0)] * 4
    pad[axis] = (radius_px, radius_px)
    padded = ops.pad(squared, pad, constant_values=far)
    best = squared
    for shift in range(2 * radius_px + 1):
        window = [slice(None)] * 4
        # A negative end spares the dynamic length; the last window has none.
        window[axis] = slice(shift, shift - 2 * radius_px or None)
        offset = float((shift - radius_px) ** 2)
        best = ops.minimum(best, padded[tuple(window)] + offset)
    return best


def soft_skeleton(x: Any, num_iterations: int, scored: Any) -> Any:
    """Differentiable skeleton of soft masks by repeated opening.

    Args:
        x: float32 ``(batch, y, x, class)`` in 0-1.
        num_iterations: Erosions after the first opening.
        scored: The same shape; 1 where scored. Elsewhere the result is 0.

    Returns:
        float32 of the same shape in 0-1.

    Source:
        Shit et al., 2021, algorithm 1.
    """
    skeleton = ops.relu(x - _open(x, scored))
    for _ in range(num_iterations):
        x = _erode(x, scored)
        rest = ops.relu(x - _open(x, scored))
        skeleton = skeleton + ops.relu(rest - skeleton * rest)
    return skeleton * scored


def _open(x: Any, scored: Any) -> Any:
    return _max3(_erode(x, scored) * scored, (3, 3))


def _erode(x: Any, scored: Any) -> Any:
    """Minimum over the cross of 3 x 3; void takes no part in it."""
    negative = -ops.where(scored > 0.0, x, 1.0)
    return -ops.maximum(_max3(negative, (3, 1)), _max3(negative, (1, 3)))


def _max3(x: Any, size: tuple[int, int]) -> Any:
    return ops.max_pool(x, size, strides=1, padding="same", data_format="channels_last")


def check_image(logits: Any, name: str) -> None:
    """Checks that logits are images.

    Raises:
        ValueError: If they are not ``(batch, y, x, class)``.
    """
    if len(logits.shape) != 4:
        raise ValueError(
            f"`{name}` needs images: `y_pred` of (batch, y, x, class). "
            f"Received: a shape of {tuple(logits.shape)}."
        )
