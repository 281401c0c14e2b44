"""What a label variable of a store is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arcticdl.void import VOID_CLASS


@dataclass(frozen=True)
class LabelInfo:
    """What a label variable is.

    Attributes:
        name: Of the variable.
        dtype: As stored.
        classes: Names, the position being the code; empty for a float label.
        colors: ``#rrggbb`` of each class, or empty.
        void: The value that is never scored: 255, or NaN for a float label.
    """

    name: str
    dtype: str
    classes: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()

    @property
    def void(self) -> float:
        """The value that is never scored."""
        return float("nan") if self.is_float else VOID_CLASS

    @property
    def is_float(self) -> bool:
        """Whether the label is a quantity rather than a class."""
        return np.dtype(self.dtype).kind == "f"

    def to_dict(self) -> dict[str, Any]:
        """The label as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LabelInfo":
        """The label from `to_dict`."""
        return cls(
            values["name"],
            values["dtype"],
            tuple(values["classes"]),
            tuple(values["colors"]),
        )
