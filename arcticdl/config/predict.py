"""The ``predict`` section: how a whole scene is mapped."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from arcticdl.config.names import CALIBRATION, POSTPROCESS, PRODUCT
from arcticdl.config.section import Named, Section, TileSize
from arcticdl.config.sources import GridConfig


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


class ProductConfig(Named):
    """A name of ``arcticdl.inference.products.table.PRODUCTS`` and its arguments."""

    name: Annotated[str, PRODUCT] = Field(description="Which product.")

    def as_product(self) -> dict[str, Any]:
        """The product as ``write_products`` takes it."""
        return {"name": self.name, **self.options}


class ObjectsConfig(Section):
    """Which of a detector's boxes stand for objects."""

    min_score: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Least score of a box that is written or scored at all.",
    )
    count_score: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Least score of a box that counts as an object. Choose it on "
        "training data.",
    )
    max_overlap: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Intersection over union that two boxes of a class may have.",
    )
    max_objects: PositiveInt = Field(100, description="Most objects of a window.")


class LineConfig(Section):
    """A thin class that is reduced to a line; its name alone may stand."""

    alone = "name"

    name: str = Field(description="The thin class.")
    between: tuple[str, str] | None = Field(
        None,
        description="Classes that the line divides, that of the side of the first row "
        "before the other; the line is then traced where both lie beside it. null: "
        "where the class itself is likeliest.",
    )
    width_px: PositiveInt = Field(
        20, description="How far to either side what the line divides is looked at."
    )
    min_confidence: float = Field(
        0.0,
        ge=0,
        le=1,
        description="A line below it is none. With `between` the least mean share of "
        "its two sides that are what they should be, else the least probability at "
        "which it is traced (0.2, or lower where there is none). Choose it on training "
        "data, some of it without a line.",
    )
    toll: float = Field(
        0.4,
        gt=0,
        lt=2,
        description="What each pixel of the line costs, where the contrast of its two "
        "sides and its probability earn up to 1 each. More makes lines shorter. Choose "
        "it on training data.",
    )

    @model_validator(mode="after")
    def _sides_are_told(self) -> "LineConfig":
        changed = self.model_dump(exclude_defaults=True).keys() & {"width_px", "toll"}
        if self.between is None and changed:
            raise ValueError(
                "`width_px` and `toll` are of the two sides of a line, and need "
                "`between`, their classes"
            )
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(
                "`between` names the two classes that a line divides, other than its "
                f"own, {self.name!r}; name three different ones"
            )
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are named: the line's, and those of its sides."""
        return (self.name, *(self.between or ()))


class PredictConfig(Section):
    """How a whole scene is mapped."""

    tile_size_px: TileSize | None = Field(
        None, description="Window; null: the tile size of training."
    )
    overlap_px: int | None = Field(
        None, ge=0, description="Overlap of windows, pixels; null: a quarter."
    )
    batch_size: PositiveInt = Field(4, description="Windows at once.")
    tta: Literal["none", "hflip", "d4", "invert", "hflip+invert", "d4+invert"] = Field(
        "none",
        description="Views averaged: none, a mirror image, or all eight; with invert "
        "also with their contrast turned round about the value that each image is "
        "scaled about, for networks trained with the augmentation invert.",
    )
    mc_dropout: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="Passes with dropout left on, averaged as several models are "
        "(Monte Carlo dropout); null: one pass without.",
    )
    objects: ObjectsConfig = Field(
        ObjectsConfig(), description="Which boxes of a detector stand for objects."
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
    products: tuple[ProductConfig, ...] = Field(
        (ProductConfig(name="png"),),
        description="What is made of the finished maps; a name alone will do.",
    )
    grid: GridConfig | None = Field(
        None,
        description="Bring the maps of swaths onto a grid; null: they keep the "
        "latitude and longitude of each pixel.",
    )
    allow: tuple[Literal["resolution", "scale"], ...] = Field(
        (),
        description="What may differ from the training scenes beyond the limit: the "
        "size of the bands' numbers, that of the pixels.",
    )
    line: LineConfig | None = Field(
        None, description="Class to reduce to a one-pixel line as well."
    )

    @field_validator("products")
    @classmethod
    def _products_differ(
        cls, products: tuple[ProductConfig, ...]
    ) -> tuple[ProductConfig, ...]:
        names = [product.name for product in products]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                "each product is made once, since a second one would have the files "
                f"of the first; got {twice} twice"
            )
        return products

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps as ``predict_scene`` takes them."""
        return [step.as_step() for step in self.postprocess]
