"""The ``predict`` section: how a whole scene is mapped."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from arcticdl.config.names import CALIBRATION, POSTPROCESS
from arcticdl.config.section import Named, Section, TileSize


class StepConfig(Named):
    """A name of ``arcticdl.inference.table.STEPS`` and its arguments."""

    name: Annotated[str, POSTPROCESS] = Field(description="Which step.")
    head: str | None = Field(
        None, description="Head whose map it mends; null: that of every head."
    )

    def as_step(self) -> dict[str, Any]:
        """The step as ``predict_scene`` takes it."""
        return {"name": self.name, "head": self.head, **self.options}


class CalibrationConfig(Section):
    """How ``arcticdl calibrate`` makes answers as sure as they are right."""

    method: Annotated[str, CALIBRATION] = Field(
        "temperature", description="How logits are scaled."
    )
    coverage: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="Share of a new unit's scored pixels that sets and intervals hold, "
        "on average over units (folds.group); null: no sets.",
    )


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
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="Class -> least probability; a pixel whose classes all stay below "
        "theirs is void.",
    )
    postprocess: tuple[StepConfig, ...] = Field(
        (), description="Steps that mend the finished class map, one after the other."
    )
    outputs: tuple[str, ...] | None = Field(
        None,
        description="What is written of each pixel, such as class, confidence, "
        "entropy, prob, set_size; null: what the task shows.",
    )
    calibration: CalibrationConfig = Field(
        CalibrationConfig(), description="What arcticdl calibrate does."
    )
    line: str | None = Field(
        None, description="Class to reduce to a one-pixel line as well."
    )

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps as ``predict_scene`` takes them."""
        return [step.as_step() for step in self.postprocess]
