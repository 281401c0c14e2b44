"""What detectors' losses share: the classes of places, the boxes of those matched."""

from typing import Any, NamedTuple

from keras import ops

from arcticdl.choices import check_choice
from arcticdl.losses.base import (
    VoidAwareLoss,
    check_range,
    nan_ratio,
    ratio,
    to_float32,
)
from arcticdl.losses.detection.overlap import OVERLAPS, hull
from arcticdl.replicas import over_replicas
from arcticdl.tasks.objects import BOX, NUM_BEFORE_CLASSES, PRIOR, QUALITY, SEEN

IGNORE, PADDING = -2.0, -1.0
"""Class of boxes that are neither object nor background, and of empty rows."""


class Match(NamedTuple):
    """What each place shall answer.

    Attributes:
        index: ``(batch, place)``, the box that it is matched with.
        found: ``(batch, place)`` of 0 and 1, whether it is matched.
        open: ``(batch, place)`` of 0 and 1, whether it is neither matched nor
            background, and so not scored.
        quality: ``(batch, place)`` in 0-1, how well it sits in its box; ``None`` where
            the detector does not tell.
    """

    index: Any
    found: Any
    open: Any
    quality: Any | None


class DetectionLoss(VoidAwareLoss):
    """Base of the losses of detectors.

    Labels are boxes ``(batch, max_boxes, 6)``: ``cx, cy, width, height`` in pixels,
    ``angle`` in radians, and the class, -2 for a box that is neither object nor
    background, -1 in all columns for no box. Predictions are rows ``(batch, place,
    11 + class)``; see ``arcticdl.tasks.objects``.

    The loss is the focal loss of all scored places, over the number of matched ones,
    plus the unlikeness of the matched boxes, weighted by their quality, plus the
    cross-entropy of that quality. Places where the image shows nothing, and places in
    ignored boxes, are void: they score nothing.

    Args:
        oriented: Whether boxes may be turned; else the horizontal hull of each label
            is learnt.
        overlap: How unlike boxes are: ``"giou"``, ``"ciou"`` or ``"probiou"``;
            ``None``: ``"probiou"`` for turned boxes, else ``"giou"``.
        gamma: Exponent of the focal loss, at least 0.
        alpha: Weight of objects against background in it, in 0-1.
        box_weight: Weight of the boxes against the classes, at least 0.
        reduction: ``"mean"``: per matched place; ``"sum"``: not divided.
        name: Name of the loss.

    Raises:
        ValueError: A number out of range, or an overlap that does not see angles for
            turned boxes.

    References:
        Lin et al. 2017, doi:10.1109/ICCV.2017.324, equation 5; Tian et al. 2019,
        arXiv:1904.01355, section 3.
    """

    prediction_form, label_form = "places", "objects"
    permutable = False

    def __init__(
        self,
        *,
        oriented: bool = False,
        overlap: str | None = None,
        gamma: float = 2.0,
        alpha: float = 0.25,
        box_weight: float = 1.0,
        reduction: str | None = "mean",
        name: str | None = None,
    ) -> None:
        super().__init__(None, reduction=reduction, name=name)
        if self.reduction == "none":
            raise ValueError(
                "`reduction` of a detector's loss must be 'mean' or 'sum': its terms "
                "are of different elements. Received: reduction='none'."
            )
        if overlap is not None:
            check_choice("overlap", overlap, OVERLAPS)
        if oriented and overlap not in (None, "probiou"):
            raise ValueError(
                "`overlap` of turned boxes must be 'probiou': the others do not see "
                f"angles. Received: overlap={overlap!r}, oriented=True."
            )
        self.oriented, self.overlap = bool(oriented), overlap
        self.gamma = check_range("gamma", gamma, 0.0, 10.0)
        self.alpha = check_range("alpha", alpha, 0.0, 1.0)
        self.box_weight = check_range("box_weight", box_weight, 0.0, 1e6)

    def match(self, prior: Any, truth: Any, object_: Any) -> Match:
        """Says which place shall answer with which box.

        Args:
            prior: ``(batch, place, 4)``.
            truth: ``(batch, box, 5)``, horizontal unless the loss is oriented.
            object_: ``(batch, box)`` bool, which rows are objects.
        """
        raise NotImplementedError

    def call(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss before any scaling for distributed training."""
        sums = tuple(map(over_replicas, self.sums(y_true, y_pred, sample_weight)))
        if self.reduction == "sum":
            return self._total(sums)
        return self._mean(sums)

    def has_labels(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns a boolean scalar: whether any place is scored."""
        return self.sums(y_true, y_pred, sample_weight)[-1] > 0.0

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple:
        """Returns sums over a batch that, added over batches, tell the loss of all.

        Returns:
            float32 scalars: of the focal loss, of the boxes, of their weights, of the
            quality, of the matched places, of the scored places.
        """
        truth, rows = to_float32(y_true), to_float32(y_pred)
        _check_shapes(truth, rows)
        num_classes = rows.shape[-1] - NUM_BEFORE_CLASSES
        boxes, code = truth[..., :5], truth[..., 5]
        object_ = code >= 0.0
        boxes = boxes if self.oriented else hull(boxes)
        prior = ops.stop_gradient(rows[..., PRIOR])
        match = self.match(prior, boxes, object_)
        seen = ops.stop_gradient(rows[..., SEEN][..., 0])
        weight = seen * _weights(sample_weight, seen)
        scored = weight * (1.0 - match.open * (1.0 - match.found))
        scored = scored * (
            1.0
            - (1.0 - match.found) * _inside_any(prior, boxes, ops.equal(code, IGNORE))
        )
        found = match.found * weight
        own = ops.take_along_axis(code, match.index, axis=1)
        one_hot = ops.one_hot(ops.cast(ops.maximum(own, 0.0), "int32"), num_classes)
        target = one_hot * match.found[..., None]
        # Numbers where nothing is scored, NaN among them, must reach no sum.
        logits = _only(rows[..., NUM_BEFORE_CLASSES:], scored[..., None])
        focal = ops.sum(self._focal(target, logits), axis=-1) * scored
        quality = match.quality
        strength = found if quality is None else found * quality
        label = ops.take_along_axis(boxes, match.index[..., None], axis=1)
        unlike = self._unlike(label, rows[..., BOX], found) * strength
        fit = ops.zeros_like(found)
        if quality is not None:
            told = _only(rows[..., QUALITY][..., 0], found)
            fit = _crossentropy(quality, told) * found
        valid = _nan_if_invalid(truth, num_classes)
        terms = (focal, unlike, strength, fit, found, scored)
        first, *rest = (ops.sum(term) for term in terms)
        return (first * valid, *rest)

    def from_sums(self, sums: tuple) -> Any:
        """Returns the loss of all batches whose sums were added, NaN of none."""
        if self.reduction == "sum":
            return self._total(sums)
        return self._mean(sums) * nan_ratio(sums[-1], sums[-1])

    def _total(self, sums: tuple) -> Any:
        focal, unlike, _, fit, _, _ = sums
        return focal + self.box_weight * unlike + fit

    def _mean(self, sums: tuple) -> Any:
        focal, unlike, strength, fit, found, _ = sums
        count = ops.maximum(found, 1.0)
        return focal / count + self.box_weight * ratio(unlike, strength) + fit / count

    def _focal(self, target: Any, logits: Any) -> Any:
        prob = ops.sigmoid(logits)
        right = target * prob + (1.0 - target) * (1.0 - prob)
        share = target * self.alpha + (1.0 - target) * (1.0 - self.alpha)
        hard = ops.power(ops.maximum(1.0 - right, 1e-8), self.gamma)
        return share * hard * _crossentropy(target, logits)

    def _unlike(self, label: Any, box: Any, found: Any) -> Any:
        """How unlike matched boxes are; others are replaced by one that is whole."""
        name = self.overlap or ("probiou" if self.oriented else "giou")
        there = found[..., None] > 0.0
        blank = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0, 0.0], dtype="float32")
        label, box = (ops.where(there, x, blank) for x in (label, box))
        return OVERLAPS[name](label, box)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "oriented": self.oriented,
            "overlap": self.overlap,
            "gamma": self.gamma,
            "alpha": self.alpha,
            "box_weight": self.box_weight,
            "reduction": self.reduction,
            "name": self.name,
        }


def in_box(prior: Any, boxes: Any) -> tuple[Any, Any]:
    """Places along the axes of boxes, from their centres.

    Args:
        prior: ``(batch, place, 4)``.
        boxes: ``(batch, box, 5)``.

    Returns:
        Along the width and along the height, ``(batch, place, box)`` each.
    """
    dx = prior[..., 0][:, :, None] - boxes[..., 0][:, None]
    dy = prior[..., 1][:, :, None] - boxes[..., 1][:, None]
    cos, sin = (f(boxes[..., 4])[:, None] for f in (ops.cos, ops.sin))
    return dx * cos + dy * sin, dy * cos - dx * sin


def _inside_any(prior: Any, boxes: Any, chosen: Any) -> Any:
    """Whether a place lies in one of the chosen boxes, 0 or 1."""
    along, across = in_box(prior, boxes)
    inside = ops.logical_and(
        ops.abs(along) <= 0.5 * boxes[..., 2][:, None],
        ops.abs(across) <= 0.5 * boxes[..., 3][:, None],
    )
    return ops.cast(ops.any(ops.logical_and(inside, chosen[:, None]), -1), "float32")


def _crossentropy(target: Any, logits: Any) -> Any:
    """Binary cross-entropy of logits, stable for any of them."""
    return ops.relu(logits) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))


def _only(x: Any, weight: Any) -> Any:
    return ops.where(weight > 0.0, x, 0.0)


def _weights(sample_weight: Any, like: Any) -> Any:
    """Weights of samples, ``(batch, 1)``."""
    if sample_weight is None:
        return ops.ones_like(like[:, :1])
    weight = to_float32(sample_weight)
    if len(weight.shape) > 1 and any(n != 1 for n in weight.shape[1:]):
        raise ValueError(
            "`sample_weight` of a detector must have one weight an image. Received: a "
            f"shape of {tuple(weight.shape)}."
        )
    return ops.reshape(weight, (-1, 1))


def _nan_if_invalid(truth: Any, num_classes: int) -> Any:
    """1, or NaN where a row is no box of a known class, not ignored and not empty."""
    code = truth[..., 5]
    whole = ops.equal(code, ops.floor(code))
    known = ops.logical_and(code >= IGNORE, code < num_classes)
    sized = ops.all(truth[..., 2:4] > 0.0, axis=-1)
    finite = ops.all(ops.isfinite(truth), axis=-1)
    empty = ops.equal(code, PADDING)
    box = ops.logical_and(sized, ops.logical_and(known, whole))
    right = ops.logical_and(finite, ops.logical_or(empty, box))
    return ops.where(ops.all(right), 1.0, float("nan"))


def _check_shapes(truth: Any, rows: Any) -> None:
    if (
        len(truth.shape) != 3
        or len(rows.shape) != 3
        or truth.shape[-1] != 6
        or rows.shape[-1] <= NUM_BEFORE_CLASSES
    ):
        raise ValueError(
            "`y_true` must be boxes (batch, max_boxes, 6), `y_pred` the rows of a "
            f"detector (batch, place, {NUM_BEFORE_CLASSES} + class). Received: y_true "
            f"{tuple(truth.shape)}, y_pred {tuple(rows.shape)}."
        )
