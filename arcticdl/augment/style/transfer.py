"""Images in the style of others, of another season or sensor; labels stay as they are.

What a place is (its phases: where edges lie) is kept, and what it looks like (its level
and contrast, or the amplitudes of its lowest frequencies) is that of another image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arcticdl.augment.batch import (
    Batch,
    BoolArray,
    FloatArray,
    Interval,
    check_interval,
    check_p,
    is_void,
)
from arcticdl.augment.mixing import draw_partners
from arcticdl.augment.radiometry import Bands, valid_moments
from arcticdl.choices import check_choice

WAYS = ("amplitude", "moments", "quantiles")

_RANKS = np.linspace(0.005, 0.995, 100)


@dataclass(frozen=True, kw_only=True)
class Style:
    """Gives samples the style of other images.

    ``how: amplitude`` takes over the amplitudes of the lowest frequencies and keeps the
    phases (Yang and Soatto 2020, arXiv:2004.05498); ``moments`` takes over mean and
    deviation of each band (as Huang and Belongie 2017, arXiv:1703.06868, do of
    features); ``quantiles`` maps the values of all images of one kind to those of all
    of the other, so that an image keeps what sets it apart from others of its kind.
    Pixels that are not valid, or NaN in a band, count for nothing and stay as they are,
    as does a band that the other image lacks. So do samples whose labels are void
    throughout, such as those of the season that is wanted: they teach nothing, and
    normalisations of features shall see them as they are.

    Attributes:
        to: Column of the scenes -> value of the images whose style is taken, such as
            ``{season: summer}``; an experiment draws them from the training part of the
            fold, labelled or not. ``None``: another sample of the batch.
        how: ``"amplitude"``, ``"moments"`` or ``"quantiles"``.
        beta: ``[low, high]`` from 0 to 1: of amplitudes, the share of the frequencies
            that are taken over, the lowest, along each axis; 0 changes nothing.
        strength: ``[low, high]`` from 0 to 1, how far values go towards the new ones.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
        images: float32 ``(image, y, x, band)`` in source units, NaN where not valid:
            those that `to` names. A configuration does not give them.
        own: Likewise, those that are to be changed, of which ``quantiles`` are taken.
    """

    to: Mapping[str, str] | None = None
    how: str = "amplitude"
    beta: Interval = (0.02, 0.1)
    strength: Interval = (1.0, 1.0)
    bands: Bands = None
    p: float = 0.5
    images: FloatArray | None = None
    own: FloatArray | None = None

    def __post_init__(self) -> None:
        check_p(self.p)
        check_choice("how", self.how, WAYS)
        for name in ("beta", "strength"):
            interval = check_interval(name, getattr(self, name), 0, 1)
            object.__setattr__(self, name, interval)

    def apply_all(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with the style of some samples changed, in place.

        Raises:
            ValueError: `to` is told, and not the `images` that it names; or they have
                other bands.
        """
        styles, chosen = self._styles(batch, rng)
        places = list(
            range(batch.image.shape[-1]) if self.bands is None else self.bands
        )
        labelled = _labelled(batch)
        before = batch.image.copy()  # what was changed lends its style as it was
        tables = self._tables() if self.how == "quantiles" and self.to else None
        for sample, (source, number) in zip(chosen, styles, strict=True):
            if labelled is not None and not labelled[sample]:
                continue
            other = (before if source is None else source)[number]
            known = batch.valid[number] if source is None else True
            beta, strength = rng.uniform(*self.beta), rng.uniform(*self.strength)
            for place in places:  # a sensor may have seen part of a scene, or none
                band = slice(place, place + 1)
                image, style = batch.image[sample][..., band], other[..., band]
                valid = batch.valid[sample] & np.isfinite(image[..., 0])
                there = known & np.isfinite(style[..., 0])
                if not valid.any() or not there.any():
                    continue
                if self.how == "amplitude":
                    styled = swap_amplitude(image, valid, style, there, beta)
                elif self.how == "moments":
                    styled = match_moments(image, valid, style, there)
                elif tables is None:
                    own, wanted = map(quantile_table, (image[valid], style[there]))
                    styled = match_quantiles(image, own, wanted)
                else:
                    own, wanted = (table[:, band] for table in tables)
                    styled = match_quantiles(image, own, wanted)
                changed = image + np.float32(strength) * (styled - image)
                batch.image[sample][..., band] = np.where(
                    valid[..., None], changed, image
                )
        return batch

    def _tables(self) -> tuple[FloatArray, FloatArray]:
        """Quantiles of all images of either kind."""
        if "_kinds" not in self.__dict__:
            if self.own is None or self.images is None:
                raise ValueError(
                    "`own` must hold the images that are to be changed where `to` and "
                    "`how: quantiles` are told. Received: none. An experiment draws "
                    "them from its training part."
                )
            own, wanted = (
                quantile_table(every.reshape(-1, every.shape[-1]))
                for every in (self.own, self.images)
            )
            object.__setattr__(self, "_kinds", (own, wanted))
        kinds: tuple[FloatArray, FloatArray] = self.__dict__["_kinds"]
        return kinds

    def _styles(
        self, batch: Batch, rng: np.random.Generator
    ) -> tuple[list[tuple[FloatArray | None, int]], list[int]]:
        """Samples that change, and of each where its style lies."""
        if self.to is None:
            chosen, partner = draw_partners(len(batch), self.p, rng)
            return [(None, int(partner[k])) for k in chosen], chosen.tolist()
        if self.images is None or self.images.shape[-1] != batch.image.shape[-1]:
            given = None if self.images is None else self.images.shape
            raise ValueError(
                "`images` must hold the images that `to` names, of the bands of the "
                f"batch. Received: images of {given}, a batch of {batch.image.shape}. "
                "An experiment draws them from its training part."
            )
        chosen = np.flatnonzero(rng.random(len(batch)) < self.p)
        drawn = rng.integers(0, len(self.images), len(chosen))
        return [(self.images, int(k)) for k in drawn], chosen.tolist()


def _labelled(batch: Batch) -> BoolArray | None:
    """Samples of which a label is known somewhere; ``None`` without any labels."""
    size = len(batch)
    known = [~is_void(label).reshape(size, -1) for label in batch.labels.values()]
    return np.any([each.any(1) for each in known], axis=0) if known else None


def swap_amplitude(
    image: FloatArray,
    valid: BoolArray,
    style: FloatArray,
    there: BoolArray,
    beta: float,
) -> FloatArray:
    """Takes the amplitudes of the lowest frequencies from another image.

    Args:
        image: float32 ``(y, x, band)``.
        valid: Boolean ``(y, x)``; other pixels count as the mean of these.
        style: float32 ``(y, x, band)``, of any size: it is read over from its start.
        there: Its valid pixels.
        beta: Share of the frequencies along each axis, 0 to 1. The mean comes along,
            with its sign, unless it is 0.

    Returns:
        float32 ``(y, x, band)``; what is not valid stays as it is.

    Example:
        >>> image = np.float32([[[0.0], [2.0]], [[2.0], [0.0]]])
        >>> all_valid = np.ones((2, 2), bool)
        >>> swap_amplitude(image, all_valid, image + 5, all_valid, 0.1)[..., 0].tolist()
        [[5.0, 7.0], [7.0, 5.0]]
    """
    rows, cols = image.shape[:2]
    across = np.abs(np.fft.fftfreq(rows))[:, None] < 0.5 * beta
    low = across & (np.fft.rfftfreq(cols) < 0.5 * beta)
    if not low.any():
        return image
    told = _fitted(_filled(style, there), (rows, cols))
    spectrum = np.fft.rfft2(_filled(image, valid), axes=(0, 1))
    other = np.fft.rfft2(told, axes=(0, 1))
    phase = np.exp(1j * np.angle(spectrum))
    mixed = np.where(low[..., None], np.abs(other) * phase, spectrum)
    mixed[0, 0] = other[0, 0]
    found = np.fft.irfft2(mixed, (rows, cols), axes=(0, 1)).astype(np.float32)
    return np.where(valid[..., None], found, image)


def match_moments(
    image: FloatArray, valid: BoolArray, style: FloatArray, there: BoolArray
) -> FloatArray:
    """Brings mean and deviation of each band to those of another image.

    Args:
        image: float32 ``(y, x, band)``.
        valid: Boolean ``(y, x)``.
        style: float32 ``(y, x, band)``, of any size.
        there: Its valid pixels.

    Returns:
        float32 ``(y, x, band)``; what is not valid stays as it is, and a band of one
        value only moves.

    Example:
        >>> image = np.float32([[[0.0], [2.0]]])
        >>> style, both = np.float32([[[10.0], [30.0]]]), np.ones((1, 2), bool)
        >>> match_moments(image, both, style, both).ravel().tolist()
        [10.0, 30.0]
    """
    (mean, std), (other, spread) = (
        [moment[0] for moment in valid_moments(Batch(part[None], {}, seen[None]))]
        for part, seen in ((image, valid), (style, there))
    )
    gain = np.where(std > 0, spread / np.where(std > 0, std, 1), 1)
    found = ((image - mean) * gain + other).astype(np.float32)
    return np.where(valid[..., None], found, image)


def quantile_table(values: FloatArray) -> FloatArray:
    """A hundred quantiles of each band, from 0.5 % to 99.5 %.

    Args:
        values: ``(pixel, band)``, NaN where not valid.

    Returns:
        ``(100, band)``, NaN of a band without values.
    """
    found = np.full((len(_RANKS), values.shape[-1]), np.nan, np.float32)
    for band, column in enumerate(np.moveaxis(values, -1, 0)):
        known = column[np.isfinite(column)]
        if len(known):
            found[:, band] = np.quantile(known, _RANKS)
    return found


def match_quantiles(
    image: FloatArray, own: FloatArray, wanted: FloatArray
) -> FloatArray:
    """Maps the values of each band from one table of quantiles to another.

    Args:
        image: float32 ``(..., band)``.
        own: ``(quantile, band)``, rising: where values lie; NaN: not known.
        wanted: Likewise, where they shall lie. Beyond the ends values move as the ends.

    Returns:
        float32 of the image's shape; a band stays as it is of which one is not known.

    Example:
        >>> own, wanted = np.float32([[0], [1]]), np.float32([[10], [30]])
        >>> match_quantiles(np.float32([[0.5], [2.0]]), own, wanted).ravel().tolist()
        [20.0, 31.0]
    """
    found = np.empty_like(image)
    for band in range(image.shape[-1]):
        values, here, there = image[..., band], own[:, band], wanted[:, band]
        if np.isnan(here[0]) or np.isnan(there[0]):
            found[..., band] = values
            continue
        inside = np.clip(values, here[0], here[-1])
        found[..., band] = np.interp(inside, here, there) + (values - inside)
    return found


def _filled(image: FloatArray, valid: BoolArray) -> FloatArray:
    """Pixels that are not valid become the mean of those that are."""
    if valid.all():
        return image
    return np.where(valid[..., None], image, image[valid].mean(0))


def _fitted(image: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Cut or continued by its mirror image to a shape."""
    short = [max(n - m, 0) for n, m in zip(shape, image.shape, strict=False)]
    if any(short):
        image = np.pad(image, [*((0, n) for n in short), (0, 0)], "symmetric")
    return image[: shape[0], : shape[1]]
