"""Which place answers with which box: cells near centres, or anchors that overlap."""

from typing import Any

import keras
from keras import ops

from arcticdl.losses.base import check_range, ratio
from arcticdl.losses.detection.base import DetectionLoss, Match, in_box
from arcticdl.losses.detection.overlap import areas, hull

_FAR = 1e12


@keras.saving.register_keras_serializable(package="arcticdl")
class CentreDetection(DetectionLoss):
    """Loss of detectors without anchors: cells near a box's centre answer with it.

    A cell is matched with a box in which it lies, if it is within ``radius`` strides of
    the box's centre and its level is the one for boxes of that size: the distance to
    the farthest side is between 4 and 8 strides, on the finest level less, on the
    coarsest more. A box smaller than a cell is matched with the nearest one. Of several
    boxes the smallest is taken. The quality is the centre-ness.

    Args:
        radius: Of the centre, in strides.
        oriented: As of ``DetectionLoss``, and so are the others.
        overlap: How unlike boxes are.
        gamma: Exponent of the focal loss.
        alpha: Weight of objects in it.
        box_weight: Weight of the boxes.
        reduction: ``"mean"`` or ``"sum"``.
        name: Name of the loss.

    Reference:
        Tian et al. 2019, arXiv:1904.01355, sections 3.1 and 3.2; centre sampling as in
        arXiv:2006.09214.

    >>> import numpy as np
    >>> row = np.zeros((1, 1, 12), "float32")
    >>> row[0, 0, [0, 1, 2, 3, 4]] = 4, 4, 8, 8, 1       # a cell of stride 8
    >>> row[0, 0, 6:11] = 4, 4, 8, 8, 0                  # answers with this box
    >>> box = np.array([[[4, 4, 8, 8, 0, 0]]], "float32")
    >>> round(float(CentreDetection()(box, row)), 4)     # focal and quality at 0.5
    0.7365
    """

    def __init__(
        self,
        *,
        radius: float = 1.5,
        oriented: bool = False,
        overlap: str | None = None,
        gamma: float = 2.0,
        alpha: float = 0.25,
        box_weight: float = 1.0,
        reduction: str | None = "mean",
        name: str | None = None,
    ) -> None:
        super().__init__(
            oriented=oriented,
            overlap=overlap,
            gamma=gamma,
            alpha=alpha,
            box_weight=box_weight,
            reduction=reduction,
            name=name,
        )
        self.radius = check_range("radius", radius, 0.5, 100.0)

    def match(self, prior: Any, truth: Any, object_: Any) -> Match:
        """Says which cell shall answer with which box; see ``DetectionLoss``."""
        stride = prior[..., 2][:, :, None]
        along, across = in_box(prior, truth)
        half_w, half_h = (0.5 * truth[..., k][:, None] for k in (2, 3))
        sides = (half_w + along, half_w - along, half_h + across, half_h - across)
        near = ops.logical_and(
            ops.abs(along)
            <= ops.minimum(ops.maximum(half_w, 0.5 * stride), self.radius * stride),
            ops.abs(across)
            <= ops.minimum(ops.maximum(half_h, 0.5 * stride), self.radius * stride),
        )
        reach = ops.maximum(half_w + ops.abs(along), half_h + ops.abs(across))
        finest, coarsest = ops.min(prior[..., 2]), ops.max(prior[..., 2])
        above = ops.where(stride <= finest, 0.0, 4.0 * stride)
        below = ops.where(stride >= coarsest, _FAR, 8.0 * stride)
        fits = ops.logical_and(reach > above, reach <= below)
        allowed = ops.logical_and(ops.logical_and(near, fits), object_[:, None])
        size = (truth[..., 2] * truth[..., 3])[:, None] + ops.zeros_like(along)
        size = ops.where(allowed, size, _FAR)
        index = ops.argmin(size, axis=-1)
        found = ops.cast(ops.any(allowed, axis=-1), "float32")
        chosen = [
            ops.take_along_axis(side, index[..., None], axis=-1)[..., 0]
            for side in sides
        ]
        quality = ops.where(found > 0.0, centre_ness(*chosen), 0.0)
        # A cell beside a box smaller than itself still teaches it a little.
        quality = ops.maximum(quality, 0.05 * found)
        return Match(index, found, ops.zeros_like(found), quality)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "radius": self.radius}


def centre_ness(left: Any, right: Any, top: Any, bottom: Any) -> Any:
    """1 in the centre of a box and 0 at its sides.

    Source:
        Tian et al. 2019, arXiv:1904.01355, equation 3.
    """
    across = ratio(ops.minimum(left, right), ops.maximum(left, right))
    along = ratio(ops.minimum(top, bottom), ops.maximum(top, bottom))
    return ops.sqrt(ops.relu(across) * ops.relu(along))


@keras.saving.register_keras_serializable(package="arcticdl")
class AnchorDetection(DetectionLoss):
    """Loss of detectors with anchors: those that overlap a box answer with it.

    An anchor is matched with the box that it overlaps most, if that is by ``positive``
    of their union at least; with less than ``negative`` it is background, between them
    it is not scored. A box that no anchor overlaps so much takes its best one.

    Args:
        positive: Least intersection over union of a matched anchor, 0-1.
        negative: Least one of an anchor that is no background, up to ``positive``.
        oriented: As of ``DetectionLoss``, and so are the others.
        overlap: How unlike boxes are.
        gamma: Exponent of the focal loss.
        alpha: Weight of objects in it.
        box_weight: Weight of the boxes.
        reduction: ``"mean"`` or ``"sum"``.
        name: Name of the loss.

    Raises:
        ValueError: ``negative`` above ``positive``, or one out of 0-1.

    Reference:
        Lin et al. 2017, doi:10.1109/ICCV.2017.324, section 4.

    >>> import numpy as np
    >>> row = np.zeros((1, 1, 12), "float32")
    >>> row[0, 0, [0, 1, 2, 3, 4]] = 4, 4, 8, 8, 1       # an anchor of 8 x 8 px
    >>> row[0, 0, 6:11] = 4, 4, 8, 8, 0
    >>> box = np.array([[[4, 4, 8, 8, 0, 0]]], "float32")
    >>> round(float(AnchorDetection()(box, row)), 4)     # the focal loss alone
    0.0433
    """

    def __init__(
        self,
        *,
        positive: float = 0.5,
        negative: float = 0.4,
        oriented: bool = False,
        overlap: str | None = None,
        gamma: float = 2.0,
        alpha: float = 0.25,
        box_weight: float = 1.0,
        reduction: str | None = "mean",
        name: str | None = None,
    ) -> None:
        super().__init__(
            oriented=oriented,
            overlap=overlap,
            gamma=gamma,
            alpha=alpha,
            box_weight=box_weight,
            reduction=reduction,
            name=name,
        )
        self.positive = check_range("positive", positive, 0.0, 1.0)
        self.negative = check_range("negative", negative, 0.0, self.positive)

    def match(self, prior: Any, truth: Any, object_: Any) -> Match:
        """Says which anchor shall answer with which box; see ``DetectionLoss``."""
        flat = hull(truth) if self.oriented else truth
        both, union, _ = areas(prior[:, :, None], flat[:, None, :, :4])
        overlap = ops.where(object_[:, None], ratio(both, union), 0.0)
        index, best = ops.argmax(overlap, axis=-1), ops.max(overlap, axis=-1)
        of_box = ops.max(overlap, axis=1, keepdims=True)
        chosen = ops.logical_and(overlap >= of_box - 1e-6, of_box > 1e-3)
        forced = ops.any(chosen, axis=-1)
        index = ops.where(
            forced, ops.argmax(ops.where(chosen, overlap, -1.0), -1), index
        )
        found = ops.logical_or(best >= self.positive, forced)
        between = ops.logical_and(best >= self.negative, ops.logical_not(found))
        found, between = (ops.cast(x, "float32") for x in (found, between))
        return Match(index, found, between, None)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"positive": self.positive, "negative": self.negative}
        return {**super().get_config(), **own}
