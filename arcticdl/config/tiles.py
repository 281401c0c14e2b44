"""The ``tiles`` section: how scenes are cut."""

import re
from typing import Literal

from pydantic import Field, field_validator

from arcticdl.config.section import Fraction, Section, TileSize

Fault = Literal[
    "content",
    "duplicates",
    "fingerprint",
    "lost",
    "no_label",
    "one_class",
    "overlap",
    "shared_tiles",
    "undeclared_void",
]
"""Checks of a store that find errors, with which nothing is written or trained."""

_IN_LABELS = ("no_label", "one_class", "undeclared_void")


class TilesConfig(Section):
    """How scenes are cut."""

    size_px: TileSize = Field(256, description="Side, or [height, width], pixels.")
    overlap_px: int = Field(0, ge=0, description="Overlap of neighbours, pixels.")
    edge: Literal["shift", "pad", "drop"] = Field(
        "shift", description="What becomes of a last row or column that is not whole."
    )
    min_valid_fraction: Fraction = Field(
        0.0, description="Tiles with a smaller share of valid pixels are left out."
    )
    store: str | None = Field(
        None,
        description="Folder of tiles, or a file joining some; null: data/NAME.tiles.",
    )
    pixels_at: str | None = Field(
        None,
        description="Address in a bucket, such as s3://bucket/ponds.zarr, that pixels "
        "are written to and read from; null: they lie in the store's folder.",
    )
    select: str | None = Field(
        None,
        min_length=1,
        description="Tiles to use: a condition on the manifest's columns, such as "
        "`season == 'melt' and valid_fraction > 0.5`; null: all.",
    )
    allow: tuple[Fault, ...] = Field(
        (),
        description="Checks whose errors are known and accepted.",
    )

    @field_validator("pixels_at")
    @classmethod
    def _in_a_bucket(cls, address: str | None) -> str | None:
        if address is not None and not re.match("(s3|gs|gcs)://[^/]+/.", address):
            raise ValueError("must be s3://BUCKET/NAME or gs://BUCKET/NAME")
        return address

    @property
    def quality(self) -> dict[str, str]:
        """What `tiles.prepare` is told of the errors in labels that are accepted."""
        return {check: "keep" for check in _IN_LABELS if check in self.allow}
