"""What a label variable of a store is."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np

from arcticdl.boxes import COLUMNS, PADDING, BoxRule, is_object
from arcticdl.choices import check_names
from arcticdl.scene.codes import count_codes
from arcticdl.scene.shares import POLYGON, expected_counts, is_charted
from arcticdl.void import VOID_CLASS

SCORED = "scored"
"""Column of the manifest with the pixels of a label that are not void."""


@dataclass(frozen=True)
class LabelInfo:
    """What a label variable is.

    Attributes:
        name: Name of the variable.
        dtype: Type as it is stored: ``uint8`` for classes, ``float32`` for quantities.
        classes: Names, the position being the code. With a channel axis: the names of
            the channels, whatever the type. Empty for a float label without one.
        colors: ``#rrggbb`` of each class, or empty.
        target: ``"pixel"``: a value a pixel; ``"image"``: one for the whole image;
            ``"object"``: a box an object, see `arcticdl.boxes.form`.
        num_channels: Length of the channel axis; 0 where there is none. An integer
            label with channels holds 0, 1 or void in each: yes or no to every class.
        units: Unit of a float label, or empty.
        oriented: Whether boxes may be turned.
        max_boxes: Rows for the boxes of a tile; 0 while that is not known.
        min_share: Share of a box that must be seen; with less it is ignored.
        shares: Whether its channels are the number of a polygon and then what each of
            ``classes`` covers of it: see `arcticdl.scene.shares`.

    Example:
        >>> info = LabelInfo("floes", "uint8", ("brash", "pancake"), num_channels=2)
        >>> info.tile_shape((4, 4)), info.max_code, info.to_dict()["num_channels"]
        ((4, 4, 2), 1, 2)
    """

    name: str
    dtype: str
    classes: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    target: str = "pixel"
    num_channels: int = 0
    units: str = ""
    oriented: bool = False
    max_boxes: int = 0
    min_share: float = 0.0
    shares: bool = False

    def __post_init__(self) -> None:
        check_names(classes=self.classes, colors=self.colors)

    @property
    def void(self) -> float:
        """What is never scored: 255, NaN of a float label, padding of boxes."""
        if self.is_object:
            return PADDING
        return float("nan") if self.is_float else VOID_CLASS

    @property
    def is_float(self) -> bool:
        """Whether the label is a quantity rather than a class."""
        return np.dtype(self.dtype).kind == "f" and not self.is_object

    @property
    def is_quantities(self) -> bool:
        """Whether the label has several quantities a pixel, each with a name."""
        named = self.is_float and self.is_pixel and not self.shares
        return named and self.num_channels > 0

    @property
    def is_pixel(self) -> bool:
        """Whether the label has a value a pixel."""
        return self.target == "pixel"

    @property
    def is_image(self) -> bool:
        """Whether the label has one value for the whole image."""
        return self.target == "image"

    @property
    def is_object(self) -> bool:
        """Whether the label is a table of boxes."""
        return self.target == "object"

    @property
    def rule(self) -> BoxRule:
        """What holds of the boxes of the label."""
        return BoxRule(self.oriented, self.min_share)

    @property
    def max_code(self) -> int:
        """The largest code of an integer label that is not void."""
        if self.num_channels:
            return 1
        return (len(self.classes) or VOID_CLASS) - 1

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; empty where there are none."""
        named = self.classes if self.num_channels else ()
        return (POLYGON, *named) if self.shares else named

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of one tile of the label: of ``y``, ``x`` and its channels."""
        if self.is_object:
            return (f"{self.name}_object", "box")
        space = ("y", "x") if self.is_pixel else ()
        return (*space, f"{self.name}_channel") if self.num_channels else space

    def tile_shape(self, tile_size_px: tuple[int, int]) -> tuple[int, ...]:
        """One tile's shape: (y, x), (y, x, channel), (), (channel,) or (box, 6)."""
        if self.is_object:
            return (self.max_boxes, len(COLUMNS))
        space = tuple(tile_size_px) if self.is_pixel else ()
        return (*space, self.num_channels) if self.num_channels else space

    def scored(self, label: np.ndarray) -> np.ndarray:
        """Which entries (of boxes: which rows) are not void: booleans."""
        if self.is_object:
            return is_object(label)
        return np.asarray(np.isfinite(label) if self.is_float else label != VOID_CLASS)

    def scored_places(self, label: np.ndarray) -> np.ndarray:
        """Which pixels (or images) have an entry that is not void, in any channel."""
        if self.shares:
            return is_charted(label)
        scored = self.scored(label)
        return np.asarray(scored.any(-1)) if self.num_channels else scored

    def where(self, label: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """A label of pixels as it is where ``valid`` (y, x), elsewhere void."""
        if not self.is_pixel or valid.all():
            return label
        there = valid[..., None] if label.ndim == 3 else valid
        return np.where(there, label, label.dtype.type(self.void))

    def count(self, label: np.ndarray) -> np.ndarray:
        """Counts what one tile of this label holds, void left out.

        Args:
            label: Of `tile_shape`.

        Returns:
            int64: pixels (for an image label: 0 or 1) of each class; of each channel
            of yes-or-no labels those that say yes, of float channels those scored; of
            shares what these make of each class, rounded; of a float label without
            channels an array of one, those scored. Of boxes those of each class that
            are not ignored. Without class names as long as the largest code asks.
        """
        if label.dtype == np.uint8 and not self.num_channels:
            counts = count_codes(label)[:VOID_CLASS]
            last = np.flatnonzero(counts).max(initial=-1) + 1
            return counts[: max(last, len(self.classes), 1)]
        if self.shares:
            return expected_counts(label)
        scored = self.scored(label)
        if self.is_object:
            codes = label[scored][:, -1].astype("int64")
            return np.bincount(codes, minlength=max(len(self.classes), 1))
        if self.num_channels:
            counted = scored if self.is_float else label == 1
            return counted.reshape(-1, self.num_channels).sum(0)
        if self.is_float:
            return np.array([scored.sum()])
        return np.bincount(label[scored].ravel(), minlength=max(len(self.classes), 1))

    def to_dict(self) -> dict[str, Any]:
        """The label as plain JSON values; what has its default is left out."""
        return {
            field.name: value
            for field, value in zip(fields(self), asdict(self).values(), strict=True)
            if field.default is MISSING
            or field.name in ("classes", "colors")
            or value != field.default
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LabelInfo":
        """The label from `to_dict`, of this or an earlier release."""
        lists = {k: tuple(values[k]) for k in ("classes", "colors")}
        return cls(**{**values, **lists})
