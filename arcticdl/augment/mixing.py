"""Mixing two samples: whatever moves, image, every label and validity move together.

The partner of each sample is another of the batch. Sharp labels stay sharp but in
`MixUp`, which turns integer labels into shares of classes: a blend of codes 0 and 2 is
not class 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from arcticdl.augment.batch import (
    Batch,
    BoolArray,
    FloatArray,
    Interval,
    check_interval,
    check_p,
    is_void,
    void_of,
)
from arcticdl.choices import check_choice

SEAMS = ("feather", "none", "void")


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """Replaces a rectangle by that of another sample (Yun et al. 2019).

    Attributes:
        share: Share of the area replaced, ``[low, high]``.
        p: Probability for each sample.
    """

    share: Interval = (0.1, 0.5)
    p: float = 0.5
    mixes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_p(self.p)
        object.__setattr__(self, "share", check_interval("share", self.share, 0, 1))

    def apply_all(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with rectangles exchanged."""
        chosen, partner = draw_partners(len(batch), self.p, rng)
        size_y, size_x = batch.valid.shape[1:]
        paste = np.zeros(batch.valid.shape, bool)
        for sample in chosen:
            share = rng.uniform(*self.share)
            # The side ratio varies within 1:2, and the rectangle lies wholly inside.
            stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(2))
            rows = int(np.clip(round(size_y * np.sqrt(share) * stretch), 1, size_y))
            cols = int(np.clip(round(share * size_y * size_x / rows), 1, size_x))
            top = rng.integers(0, size_y - rows + 1)
            left = rng.integers(0, size_x - cols + 1)
            paste[sample, top : top + rows, left : left + cols] = True
        return paste_over(batch, batch.take(partner), paste)


@dataclass(frozen=True, kw_only=True)
class ClassMix:
    """Pastes half of another sample's classes, pixel by pixel (Olsson et al. 2021).

    Attributes:
        label: Label whose classes are chosen; ``None``: the only one.
        seam: ``"none"``, ``"feather"`` (the image fades over) or ``"void"`` (labels
            within the seam are not scored).
        seam_px: Width of the seam to either side.
        p: Probability for each sample.
    """

    label: str | None = None
    seam: str = "none"
    seam_px: float = 2.0
    p: float = 0.5
    mixes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_p(self.p)
        check_seam(self.seam, self.seam_px)

    def apply_all(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with classes pasted."""
        chosen, partner = draw_partners(len(batch), self.p, rng)
        other = batch.take(partner)
        codes = class_label(other, self.label, "classmix")
        paste = np.zeros(batch.valid.shape, bool)
        for sample in chosen:
            present = np.unique(codes[sample][~is_void(codes[sample : sample + 1])[0]])
            picked = rng.permutation(present)[: (len(present) + 1) // 2]
            paste[sample] = np.isin(codes[sample], picked)
        return paste_over(batch, other, paste, self.seam, self.seam_px)


@dataclass(frozen=True, kw_only=True)
class CopyPaste:
    """Pastes all pixels of rare classes from another sample (Ghiasi et al. 2021).

    Attributes:
        classes: Codes of the rare classes.
        label: Label that holds them; ``None``: the only one.
        context_px: Pixels around the object that come along, so that its border with
            its own surroundings, which is what must be learned, comes with it.
        seam: As in `ClassMix`.
        seam_px: Width of the seam to either side.
        p: Probability for each sample.
    """

    classes: tuple[int, ...] = (1,)
    label: str | None = None
    context_px: float = 0.0
    seam: str = "feather"
    seam_px: float = 2.0
    p: float = 0.5
    mixes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_p(self.p)
        check_seam(self.seam, self.seam_px)
        if not len(self.classes) or self.context_px < 0:
            raise ValueError(
                "`classes` must name at least one class, `context_px` be at least 0. "
                f"Received: classes={self.classes}, context_px={self.context_px}."
            )

    def apply_all(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with rare classes pasted."""
        chosen, partner = draw_partners(len(batch), self.p, rng)
        other = batch.take(partner)
        codes = class_label(other, self.label, "copy_paste")
        paste = np.zeros(batch.valid.shape, bool)
        for sample in chosen:
            rare = np.isin(codes[sample], self.classes)
            if self.context_px and rare.any():
                away = np.asarray(ndimage.distance_transform_edt(~rare))
                rare = away <= self.context_px
            # Void comes along only as void: it must not hide a label that is known.
            paste[sample] = rare & ~is_void(codes[sample : sample + 1])[0]
        return paste_over(batch, other, paste, self.seam, self.seam_px)


@dataclass(frozen=True, kw_only=True)
class MixUp:
    """Blends two samples and their labels (Zhang et al. 2018).

    Integer labels become float32 shares ``(sample, y, x, class)``, NaN where either
    sample is void; every sample of the batch does, blended or not. Float labels are
    blended as they are. The losses of this package read such labels.

    Attributes:
        alpha: Parameter of the Beta distribution of the blend; small: mostly one of
            the two.
        num_classes: Classes of the integer label, or ``{label: classes}``; ``None``
            suits batches without integer labels.
        p: Probability for each sample.
    """

    alpha: float = 0.2
    num_classes: int | Mapping[str, int] | None = None
    p: float = 0.5
    mixes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_p(self.p)
        if not self.alpha > 0:
            raise ValueError(f"`alpha` must be above 0. Received: alpha={self.alpha}.")

    def apply_all(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch blended.

        Raises:
            ValueError: An integer label's number of classes is not known.
        """
        chosen, partner = draw_partners(len(batch), self.p, rng)
        share = np.ones(len(batch), np.float32)
        share[chosen] = rng.beta(self.alpha, self.alpha, len(chosen))
        other = batch.take(partner)
        labels = {
            name: blend(
                self._shares(name, label),
                self._shares(name, other.labels[name]),
                share,
            )
            for name, label in batch.labels.items()
        }
        alone = (share == 1)[:, None, None]
        valid = batch.valid & (other.valid | alone)
        return Batch(blend(batch.image, other.image, share), labels, valid)

    def _shares(self, name: str, label: NDArray[Any]) -> FloatArray:
        if label.dtype.kind == "f":
            return label
        known = self.num_classes
        classes = known.get(name) if isinstance(known, Mapping) else known
        if classes is None:
            raise ValueError(
                f"MixUp needs `num_classes` for the integer label {name!r}. "
                f"Received: num_classes={known!r}."
            )
        return one_hot(label, classes)


def one_hot(label: NDArray[Any], num_classes: int) -> FloatArray:
    """Turns class codes into shares of 0 and 1.

    Args:
        label: Integer ``(...)`` with 255 for void.
        num_classes: Number of classes.

    Returns:
        float32 ``(..., class)``, NaN where void.

    Raises:
        ValueError: A label that is not void is no class.

    Example:
        >>> one_hot(np.array([1, 255]), 2).tolist()
        [[0.0, 1.0], [nan, nan]]
    """
    void = is_void(label)
    codes = np.where(void, 0, label)
    if codes.size and (codes.min() < 0 or codes.max() >= num_classes):
        raise ValueError(
            f"Labels must hold class codes 0 to {num_classes - 1}, or 255 for void. "
            f"Received: {np.unique(codes)[:12].tolist()}."
        )
    shares = np.eye(num_classes, dtype=np.float32)[codes]
    shares[void] = np.nan
    return shares


def blend(one: NDArray[Any], two: NDArray[Any], share: FloatArray) -> FloatArray:
    """Returns ``share * one + (1 - share) * two``; exactly `one` where share is 1.

    Args:
        one: Array ``(sample, ...)``.
        two: Array of the same shape.
        share: Share of `one` in each sample, ``(sample,)`` in [0, 1].

    Returns:
        Array in the dtype of `one`.

    Example:
        >>> blend(np.ones((1, 2)), np.zeros((1, 2)), np.array([0.25])).tolist()
        [[0.25, 0.25]]
    """
    part = share.reshape(-1, *[1] * (one.ndim - 1))
    mixed = part * one + (1 - part) * two
    return np.where(part == 1, one, mixed).astype(one.dtype)


def draw_partners(
    num_samples: int, p: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws which samples are mixed, and with which other one.

    Args:
        num_samples: Samples of the batch.
        p: Probability that a sample is mixed.
        rng: Source of the draws.

    Returns:
        Indices of the samples that are mixed (none in a batch of one), and for every
        sample the index of its partner, never itself.
    """
    drawn = rng.random(num_samples) < p
    if num_samples < 2:
        return np.zeros(0, np.int64), np.arange(num_samples)
    step = rng.integers(1, num_samples, num_samples)
    return np.flatnonzero(drawn), (np.arange(num_samples) + step) % num_samples


def paste_over(
    batch: Batch, other: Batch, paste: BoolArray, seam: str = "none", seam_px: float = 2
) -> Batch:
    """Puts the pixels of `other` over those of `batch` where `paste` is set.

    Args:
        batch: The ground.
        other: What is pasted, of the same shape.
        paste: Boolean ``(sample, y, x)``.
        seam: What happens along the cut: ``"none"``, ``"feather"`` or ``"void"``.
        seam_px: Width of the seam to either side of the cut.

    Returns:
        A new batch.
    """
    valid = np.where(paste, other.valid, batch.valid)
    labels = {}
    for name, label in batch.labels.items():
        where = paste[..., None] if label.ndim == 4 else paste
        labels[name] = np.where(where, other.labels[name], label)
    image = np.where(paste[..., None], other.image, batch.image)
    cut = np.flatnonzero(paste.any((1, 2)) & ~paste.all((1, 2)))
    for sample in cut if seam != "none" else ():
        depth = _depth(paste[sample])
        if seam == "void":
            for label in labels.values():
                label[sample][np.abs(depth) < seam_px] = void_of(label)
            continue
        known = batch.valid[sample] & other.valid[sample]
        alpha = np.clip(0.5 + depth / (2 * seam_px), 0, 1)[..., None]
        faded = alpha * other.image[sample] + (1 - alpha) * batch.image[sample]
        image[sample] = np.where(known[..., None], faded, image[sample])
    return Batch(image, labels, valid)


def _depth(paste: BoolArray) -> FloatArray:
    """Distance to the cut: above 0 inside, below 0 outside, never 0."""
    inside = np.asarray(ndimage.distance_transform_edt(paste), np.float32)
    outside = np.asarray(ndimage.distance_transform_edt(~paste), np.float32)
    return np.where(paste, inside - 0.5, 0.5 - outside)


def class_label(batch: Batch, name: str | None, step: str) -> NDArray[Any]:
    """Returns the integer label that a mixing step goes by.

    Args:
        batch: The batch.
        name: Name of the label; ``None``: the only one of class codes.
        step: Name of the step, for the message.

    Returns:
        Integer ``(sample, y, x)``.

    Raises:
        ValueError: There is no such label, or several and no name.
    """
    codes = {k: v for k, v in batch.labels.items() if v.dtype.kind != "f"}
    if name is None and len(codes) == 1:
        return next(iter(codes.values()))
    if name not in codes:
        raise ValueError(
            f"`label` of {step} must be one of {sorted(codes)}, a label of class "
            f"codes. Received: label={name!r}. Steps that make shares of classes come "
            "last."
        )
    return codes[name]


def check_seam(seam: str, seam_px: float) -> None:
    """Refuses unknown seams and widths that are not above 0.

    Args:
        seam: One of `SEAMS`.
        seam_px: Width of the seam to either side of the cut, in pixels.

    Raises:
        ValueError: They are wrong.
    """
    check_choice("seam", seam, SEAMS)
    if not seam_px > 0:
        raise ValueError(f"`seam_px` must be above 0. Received: seam_px={seam_px}.")
