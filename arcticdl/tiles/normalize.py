"""Normalisers: source units to the small numbers that a network wants, and JSON."""

from collections.abc import Mapping, Sequence
from math import isfinite, prod
from typing import Any

import numpy as np

from arcticdl.choices import check_choice, check_names
from arcticdl.scene.stats import BandStats, densest_value
from arcticdl.tiles.table import NORMALIZERS
from arcticdl.void import mark_shown

FITTED = ("db", "log", "minmax", "percentile", "robust", "zscore")
"""The methods that are fitted to the statistics of a training fold."""

INVERTIBLE = ("constants", "minmax", "none", "robust", "zscore")
"""The methods whose scaling is the same everywhere and straight, so that answers can be
brought back to the units of a band."""

_IQR_OF_NORMAL = 1.3489795003921634
_TRANSFORMS = {"db": "db", "log": "log"}
DB_FLOOR = 1e-10
"""Least linear intensity that becomes decibels."""
_PART_BYTES = 1 << 18


class Normalizer:
    """Normalises images band by band, as ``(x - offset) / scale``.

    A band that never varies has scale 1 and becomes 0. Pixels that are invalid or not
    finite become 0, the middle of what a network sees.

    Args:
        method: One of `NORMALIZERS`.
        bands: Names of the bands, in order.
        stats: `BandStats` (or `FoldStats`) of the training fold, for the methods that
            are fitted to it.
        constants: For ``"constants"``: {band: (offset, scale)}.
        marks_shown: Whether a valid pixel that is scaled to 0 in every band gets
            another value, for networks that tell nodata by it; see `void.mark_shown`.

    Attributes:
        method: As given.
        bands: As given.
        marks_shown: As given.
        offset_: (band,) float64; None for the per-image methods.
        scale_: (band,) float64; None for the per-image methods.

    Raises:
        ValueError: Unknown method, statistics absent or of other bands, a band without
            a valid pixel, a scale of 0.

    Example:
        >>> normalizer = Normalizer("constants", ["B4"], constants={"B4": (10, 2)})
        >>> normalizer(np.full((1, 1, 1), 14)).tolist()
        [[[2.0]]]
    """

    def __init__(
        self,
        method: str,
        bands: Sequence[str],
        stats: Any = None,
        *,
        constants: Mapping[str, tuple[float, float]] | None = None,
        marks_shown: bool = False,
    ) -> None:
        check_names(bands=bands)
        check_choice("method", method, NORMALIZERS)
        self.method = method
        self.marks_shown = marks_shown
        self.bands = tuple(str(band) for band in bands)
        self.offset_: np.ndarray | None = None
        self.scale_: np.ndarray | None = None
        if method == "constants":
            self.offset_, self.scale_ = _read_constants(self.bands, constants)
        elif not self.needs_image_stats:
            self.offset_, self.scale_ = self._fit(stats)

    @property
    def needs_image_stats(self) -> bool:
        """Whether a call needs the statistics of the pixel's whole scene."""
        return self.method.startswith("per_image")

    def _fit(self, stats: Any) -> tuple[np.ndarray, np.ndarray]:
        if self.method == "none":
            return np.zeros(len(self.bands)), np.ones(len(self.bands))
        if stats is None:
            raise ValueError(
                f"`stats` must be given for method {self.method!r}: those of the "
                "training fold, from `tiles.compute_stats(store, indices)`."
            )
        return self._location_and_scale(
            stats if isinstance(stats, BandStats) else stats.bands
        )

    def _location_and_scale(self, stats: BandStats) -> tuple[np.ndarray, np.ndarray]:
        check_bands(stats, self.bands)
        p = {k: _transform(self.method, v) for k, v in stats.percentiles.items()}
        if self.method in ("zscore", "per_image"):
            offset, scale = stats.mean, stats.std
        elif self.method == "per_image_mode":
            offset = densest_value(stats.percentiles)
            scale = np.hypot(stats.std, stats.mean - offset)
        elif self.method == "minmax":
            offset, scale = stats.min, stats.max - stats.min
        elif self.method == "percentile":
            offset, scale = p[2], p[98] - p[2]
        else:
            offset, scale = p[50], (p[75] - p[25]) / _IQR_OF_NORMAL
        if self.method in ("robust", "per_image_robust"):
            # More than half of the pixels are equal: the deviation still is a scale.
            scale = np.where(scale > 0, scale, stats.std)
        tiny = np.finfo("float32").eps * np.maximum(np.abs(offset), 1e-30)
        return np.asarray(offset), np.where(scale > tiny, scale, 1.0)

    def __call__(
        self,
        image: np.ndarray,
        valid: np.ndarray | None = None,
        image_stats: BandStats | Sequence[BandStats] | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Normalises an image or a batch.

        Args:
            image: (..., y, x, band) in source units, any numeric dtype.
            valid: (..., y, x) booleans; invalid pixels become 0.
            image_stats: For the per-image methods: statistics of the pixels' whole
                scene, or one such a batch item.
            out: C-contiguous float32 of the image's shape to write to.

        Returns:
            float32 of the image's shape, `out` where it is given.

        Raises:
            ValueError: Another number of bands, `image_stats` absent, or an `out` that
                cannot be written to row by row.
        """
        image = np.asarray(image)
        if image.ndim < 3 or image.shape[-1] != len(self.bands):
            raise ValueError(
                f"`image` must be (..., y, x, band) with {len(self.bands)} bands: "
                f"{list(self.bands)}. Received: shape {image.shape}."
            )
        out = np.empty(image.shape, "float32") if out is None else out
        if out.shape != image.shape or not takes_scaled(out):
            layout = "" if out.flags.c_contiguous else ", not C-contiguous"
            raise ValueError(
                "`out` must be a C-contiguous float32 array of the image's shape that "
                f"can be written to. Received: {out.dtype.name} {out.shape}{layout} "
                f"for an image {image.shape}. Leave it out to get a new array."
            )
        whole = (-1, *image.shape[-3:])
        scalings = self.scalings(image.shape[:-3], image.shape[-2], image_stats)
        images = zip(image.reshape(whole), out.reshape(whole), scalings, strict=True)
        for source, target, scaling in images:
            scaling(source, target)
        if valid is not None and not valid.all():
            out[~np.asarray(valid, bool)] = 0
        if valid is not None and self.marks_shown:
            mark_shown(out, np.asarray(valid, bool))
        return out

    def scalings(
        self,
        lengths: tuple[int, ...],
        width: int,
        image_stats: BandStats | Sequence[BandStats] | None = None,
    ) -> list["Scaling"]:
        """What scales each image of a batch, some rows at a time.

        Args:
            lengths: Of the axes before rows: none of one image, else the batch's.
            width: Columns of an image.
            image_stats: As of a call.

        Raises:
            ValueError: `image_stats` absent, or not one an image.
        """
        offset, scale = self._constants_of(lengths, image_stats)
        if offset.ndim == 1:
            count = prod(lengths)
            shared = Scaling(self.method, offset, 1 / scale, width, laid_out=count > 2)
            return [shared] * count
        pairs = zip(offset, 1 / scale, strict=True)
        return [Scaling(self.method, shift, gain, width) for shift, gain in pairs]

    def blank(self, image_stats: BandStats | None = None) -> np.ndarray:
        """What is scaled to 0, as missing values are: (band,) float32, source units.

        Args:
            image_stats: For the per-image methods: statistics of the whole scene.

        Raises:
            ValueError: `image_stats` absent.

        Example:
            >>> constants = {"B4": (10, 2)}
            >>> Normalizer("constants", ["B4"], constants=constants).blank().tolist()
            [10.0]
        """
        offset, _ = self._constants_of((), image_stats)
        kind = _TRANSFORMS.get(self.method)
        if kind == "db":
            offset = 10.0 ** (offset / 10.0)
        elif kind == "log":
            offset = np.expm1(offset)
        return np.asarray(offset, "float32")

    def _constants_of(
        self,
        lengths: tuple[int, ...],
        image_stats: BandStats | Sequence[BandStats] | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Offset and scale: (band,), or (batch, band) for per-image methods."""
        if self.offset_ is not None and self.scale_ is not None:
            return self.offset_, self.scale_
        if image_stats is None:
            raise ValueError(
                f"`image_stats` must be given for method {self.method!r}: those of the "
                "pixel's whole scene, from `arcticdl.scene.scene_band_stats(scene)`."
            )
        if isinstance(image_stats, BandStats):
            return self._location_and_scale(image_stats)
        if (len(image_stats),) != lengths:
            raise ValueError(
                "`image_stats` must be one `BandStats`, or one a batch item. Received: "
                f"{len(image_stats)} for a batch of shape {lengths}."
            )
        pairs = [self._location_and_scale(stats) for stats in image_stats]
        offset, scale = (np.stack(part) for part in zip(*pairs, strict=True))
        return offset, scale

    def to_dict(self) -> dict[str, Any]:
        """The fitted normaliser as plain JSON values."""
        offset, scale = self.offset_, self.scale_
        return {
            "method": self.method,
            "bands": list(self.bands),
            "offset": None if offset is None else offset.tolist(),
            "scale": None if scale is None else scale.tolist(),
            **({"marks_shown": True} if self.marks_shown else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Normalizer":
        """The normaliser from `to_dict`."""
        shown = bool(values.get("marks_shown"))
        if values["offset"] is None:
            return cls(values["method"], values["bands"], marks_shown=shown)
        pairs = zip(values["offset"], values["scale"], strict=True)
        constants = dict(zip(values["bands"], pairs, strict=True))
        normalizer = cls(
            "constants", values["bands"], constants=constants, marks_shown=shown
        )
        normalizer.method = values["method"]
        return normalizer

    def __repr__(self) -> str:
        return f"Normalizer({self.method!r}, bands={list(self.bands)})"


def check_bands(stats: BandStats, bands: tuple[str, ...]) -> None:
    """Refuses statistics of other bands, or of a band without a valid pixel.

    Raises:
        ValueError: As said.
    """
    if stats.bands != bands:
        raise ValueError(
            f"`stats` must be of the same bands in the same order: {list(bands)}. "
            f"Received: {list(stats.bands)}."
        )
    empty = [band for band, n in zip(bands, stats.count, strict=True) if not n]
    if empty:
        raise ValueError(
            f"Every band must have a valid pixel to be normalised. Received: {empty} "
            "without one. Leave these bands out."
        )


def _read_constants(
    bands: tuple[str, ...], constants: Mapping[str, tuple[float, float]] | None
) -> tuple[np.ndarray, np.ndarray]:
    missing = sorted(set(bands) - set(constants or {}))
    if missing or constants is None:
        raise ValueError(
            "`constants` must give (offset, scale) for every band. "
            f"Received: none for {missing}."
        )
    offset = np.array([constants[band][0] for band in bands], "float64")
    scale = np.array([constants[band][1] for band in bands], "float64")
    if not (np.isfinite(offset).all() and np.isfinite(scale).all() and scale.all()):
        raise ValueError(
            "`constants` must be finite and their scales not 0. "
            f"Received: {dict(constants)}."
        )
    return offset, scale


class Scaling:
    """``(image - shift) * gain`` as float32 of images of one width; see `Normalizer`.

    Some rows at a time: all passes then run in the cache. NumPy's inner loop goes over
    a row instead of over a handful of bands, and over all rows in half of that time if
    the constants are laid out for each of them, which pays from a few images on.

    Args:
        method: One of `NORMALIZERS`.
        shift: (band,).
        gain: (band,).
        width: Columns of an image.
        laid_out: Whether constants are laid out for all rows, not for one.

    Attributes:
        num_rows: Rows that are scaled at a time.
    """

    def __init__(
        self,
        method: str,
        shift: np.ndarray,
        gain: np.ndarray,
        width: int,
        *,
        laid_out: bool = False,
    ) -> None:
        self.method = method
        self.num_rows = max(_PART_BYTES // max(4 * width * len(shift), 1), 1)
        self._plain = not shift.any() and bool((gain == 1).all())
        block = (self.num_rows if laid_out else 1, width)
        self._shift = np.tile(shift.astype("float32"), block)
        self._gain = np.tile(gain.astype("float32"), block)

    def __call__(self, image: np.ndarray, out: np.ndarray) -> None:
        """Scales an image; what is not finite becomes 0.

        Args:
            image: (y, x, band) in source units.
            out: float32 of the same shape, C-contiguous; may be the image itself.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            for first in range(0, len(image) if image.size else 0, self.num_rows):
                part = slice(first, first + self.num_rows)
                self.scale_rows(image[part], out[part])

    def scale_rows(self, image: np.ndarray, out: np.ndarray) -> None:
        """Scales at most `num_rows` rows, with NumPy's warnings as they are set."""
        if self.method in _TRANSFORMS:
            image = _transform(self.method, image.astype("float32"))
        count = len(image)
        rows, target = image.reshape(count, -1), out.reshape(count, -1)
        if self._plain:
            np.copyto(target, rows, casting="same_kind")
        else:
            shift = self._shift[:count]
            np.subtract(rows, shift, out=target, dtype="float32", casting="same_kind")
            target *= self._gain[:count]
        # Extremes are quickly found, and show any value that is not finite.
        clean = image.dtype.kind != "f" or (
            isfinite(target.max()) and isfinite(target.min())
        )
        if not clean:
            target[~np.isfinite(target)] = 0
        if self.method == "percentile":
            np.clip(target, 0, 1, out=target)


def takes_scaled(array: np.ndarray) -> bool:
    """Whether scaled pixels can be written over an array, row by row."""
    flags = array.flags
    return array.dtype == "float32" and flags.c_contiguous and flags.writeable


def _transform(method: str, values: np.ndarray) -> np.ndarray:
    kind = _TRANSFORMS.get(method)
    if kind == "db":
        return 10 * np.log10(np.maximum(values, DB_FLOOR))
    if kind == "log":
        return np.log1p(np.maximum(values, 0))
    return values
