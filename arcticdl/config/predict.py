"""The ``predict`` section: how a whole scene is mapped."""

from typing import Literal

from pydantic import Field, PositiveInt

from arcticdl.config.section import Section, TileSize


class PredictConfig(Section):
    """How a whole scene is mapped."""

    tile_size_px: TileSize | None = Field(
        None, description="Window; null: the tile size of training."
    )
    overlap_px: int | None = Field(
        None, ge=0, description="Overlap of windows, pixels; null: a quarter."
    )
    batch_size: PositiveInt = Field(4, description="Windows at once.")
    tta: Literal["none", "hflip", "d4"] = Field(
        "none", description="Views averaged: none, a mirror image, or all eight."
    )
    line: str | None = Field(
        None, description="Class to reduce to a one-pixel line as well."
    )
