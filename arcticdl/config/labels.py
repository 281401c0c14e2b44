"""The ``data.labels`` section: where label maps come from, what their codes mean."""

import math
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from arcticdl.config.section import FileRef, Fraction, Section

_NUMBER = r"\s*-?\d+(\.\d+)?\s*"
RawValue = int | Annotated[str, Field(pattern=f"^{_NUMBER}(-{_NUMBER})?$")]
Code = Annotated[int, Field(ge=0, le=255)] | Literal["void"]


class ThresholdRule(Section):
    """Pixels whose bands all lie in the given closed ranges belong to the class."""

    model_config = ConfigDict(allow_inf_nan=True)

    name: str = Field(description="Class of the pixels, one of `classes`.")
    where: dict[str, tuple[float, float]] = Field(
        min_length=1,
        description="Band -> [lowest, highest] value, in the band's unit; .inf: open.",
    )

    @field_validator("where")
    @classmethod
    def _rising(
        cls, where: dict[str, tuple[float, float]]
    ) -> dict[str, tuple[float, float]]:
        for band, (low, high) in where.items():
            if not low <= high or math.isnan(low):
                raise ValueError(
                    f"the range of {band!r} must rise from its lowest to its highest "
                    "value"
                )
        return where


class SidesConfig(Section):
    """Strips beside a thin class, named after the side: teaches what a line divides."""

    line: str = Field(description="The thin class.")
    upper: str = Field(description="Class of the side of the first row.")
    lower: str = Field(description="Class of the other side.")
    width_px: PositiveFloat = Field(40.0, description="Width of each strip, pixels.")
    beyond_ends: bool = Field(
        True,
        description="Whether the strips go around the ends of the line, onto what it "
        "ends at.",
    )


class BoxesConfig(Section):
    """Objects with a box each, in place of a map; the form alone may stand for all."""

    alone = "form"

    form: Literal["horizontal", "oriented"] = Field(
        "horizontal", description="Upright boxes, or turned ones around outlines."
    )
    min_share: Fraction = Field(
        0.25,
        description="Share of a box that a tile must show; with less it is ignored, "
        "neither object nor background.",
    )
    max_boxes: PositiveInt | None = Field(
        None, description="Most boxes in a tile; null: as many as the fullest has."
    )
    columns: tuple[str, ...] = Field(
        (),
        description="What the file says of an image (COCO) that becomes a column, to "
        "split by, such as flight or photo.",
    )
    absent_images: Literal["refuse", "leave_out"] = Field(
        "refuse",
        description="What becomes of annotations of images (COCO) that are no scenes, "
        "or that the file does not list.",
    )


class RestoresConfig(Section):
    """Bands that a label is the better form of; a list of bands alone may stand."""

    alone = "bands"

    bands: tuple[str, ...] = Field(
        min_length=1,
        description="One for each quantity of the label, in its order and its unit: "
        "the answer begins as them, and filters of them are scored beside it.",
    )
    coarse_px: int = Field(
        8,
        ge=2,
        description="Side of the blocks whose means the answer must keep: of a coarse "
        "band how many pixels one of its own spans.",
    )


class LabelConfig(Section):
    """One label: of a file, the scene itself, band thresholds, or of whole images."""

    classes: tuple[str, ...] = Field(
        (),
        description="Names of the codes 0, 1, 2, ..., with 255 as void; none: a "
        "quantity, with NaN (of bytes 255 too) as void.",
    )
    colors: tuple[str, ...] = Field(
        (), description="One colour a class, such as '#5ab4e6'."
    )
    file: FileRef | None = Field(None, description="File of the label map.")
    optional: bool = Field(
        False, description="Scenes without that file are kept, void throughout."
    )
    boxes: BoxesConfig | None = Field(
        None,
        description="The file holds objects (COCO, YOLO, Pascal VOC, vectors), each "
        "with a box; null: it is a map.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the reader of that file."
    )
    codes: dict[RawValue, Code] | None = Field(
        None,
        description="Raw value, or an interval such as '248-255', -> class code or "
        "'void'; other raw values are an error.",
    )
    rules: tuple[ThresholdRule, ...] = Field(
        (), description="Weak labels: the first rule that holds gives the class."
    )
    carried: str | None = Field(
        None, description="Variable of the scene's own file that holds it."
    )
    band: str | tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Band of the scene that is the quantity itself, such as the one "
        "that a series forecasts; several, such as all that a pretraining restores, "
        "are the label's `outputs`.",
    )
    attribute: str | None = Field(
        None,
        description="Attribute of the scene (or column of `data.table`) that tells the "
        "class, or the number, of the whole image.",
    )
    several: bool = Field(
        False,
        description="Several classes may hold at once: a file with one band of 0 and 1 "
        "a class, or an attribute that lists names, as in 'pond; ridge'.",
    )
    max_time_gap_h: float = Field(
        3.0,
        gt=0,
        allow_inf_nan=True,
        description="Hours that a map with a time of its own, such as a chart, may lie "
        "off the scene's; .inf: any.",
    )
    beyond_gap: Literal["refuse", "void"] = Field(
        "refuse", description="What becomes of a map that lies further off."
    )
    composite: Literal["daily", "weekly"] | None = Field(
        None,
        description="The map stands for the whole day (UTC) of its time, or for the "
        "seven days that end with it; a gap is measured to them. Needed where the map "
        "tells a day and no hour.",
    )
    shares: bool = Field(
        False,
        description="Polygons of which each class covers a known share, and no pixel "
        "is known: `carried`, or a `file` that is a chart or has a column a class.",
    )
    sides: SidesConfig | None = Field(
        None, description="Name the background near a line after its two sides."
    )
    units: str | None = Field(None, description="Unit of a quantity, such as K.")
    outputs: tuple[str, ...] = Field(
        (),
        description="Names of the quantities of a `file` with several bands, in their "
        "order; none: it has one.",
    )
    restores: RestoresConfig | None = Field(
        None,
        description="Bands that the quantity is the better form of, without speckle or "
        "on a finer grid; null: it is something else.",
    )
    corrections: str | None = Field(
        None,
        min_length=1,
        description="Layer of corrections, as `arcticdl labels apply` keeps it: "
        "polygons with `corrected`, `author`, `time` and `origin`.",
    )

    @property
    def kind(self) -> str:
        """What it holds, as `arcticdl.tasks.table` calls it, such as ``"class"``."""
        if self.boxes is not None:
            return "boxes"
        if self.several:
            return "labels"
        if self.shares:
            return "shares"
        return "class" if self.classes else "value"

    @property
    def target(self) -> str:
        """What it holds one of: ``"image"``, ``"object"`` or ``"pixel"``."""
        if self.boxes is not None:
            return "object"
        return "pixel" if self.attribute is None else "image"

    @model_validator(mode="before")
    @classmethod
    def _bands_are_outputs(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("band"), list | tuple):
            return {"outputs": value["band"], **value}
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> "LabelConfig":
        rules = self.rules or None
        origins = (self.file, self.carried, rules, self.attribute, self.band)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError(
                "give one of `file`, `carried`, `rules`, `attribute` and `band`"
            )
        if self.band is not None and self.classes:
            raise ValueError("`band` is a quantity; for its classes give `rules`")
        if self.several and (not self.classes or self.codes or self.rules):
            raise ValueError("`several` needs `classes`, and neither `codes` nor rules")
        if self.several and (self.carried or self.sides):
            raise ValueError("`several` goes with a `file` or an `attribute` alone")
        if self.attribute is not None and (self.codes or self.sides):
            raise ValueError("`codes` and `sides` are of maps, not of whole images")
        if self.composite and self.file is None and self.carried is None:
            raise ValueError("`composite` is of a map with a time of its own")
        if self.options and self.file is None:
            raise ValueError("`options` are of the reader of `file`, which is absent")
        if self.optional and (self.file is None or self.several):
            raise ValueError("`optional` is of a `file` with one band")
        if self.corrections is not None and self.several:
            raise ValueError("`corrections` are of one class or one number a pixel")
        if self.units is not None and self.classes:
            raise ValueError("`units` are of a quantity, and this label has `classes`")
        if not self.classes and (self.codes or self.rules or self.colors or self.sides):
            raise ValueError(
                "`codes`, `rules`, `colors` and `sides` need `classes`: a quantity has "
                "none of them"
            )
        names = {rule.name for rule in self.rules} - set(self.classes)
        if names:
            raise ValueError(
                f"rules name classes that are not in `classes`: {sorted(names)}"
            )
        if self.colors and len(self.colors) != len(self.classes):
            raise ValueError("`colors` needs one colour for each of `classes`")
        repeated = {name for name in self.classes if self.classes.count(name) > 1}
        if repeated:
            raise ValueError(f"`classes` must differ: {sorted(repeated)} come twice")
        return self

    @model_validator(mode="after")
    def _shares_are_of_polygons(self) -> "LabelConfig":
        if not self.shares:
            return self
        if len(self.classes) < 2 or (self.file is None and self.carried is None):
            raise ValueError(
                "`shares` are of two or more `classes`, and of polygons: of a `file` "
                "such as an ice chart, or `carried` by the scene's own file"
            )
        of_pixels = ("boxes", "codes", "corrections", "several", "sides")
        given = [name for name in of_pixels if getattr(self, name)]
        if given:
            raise ValueError(
                f"{given} are of pixels or objects, and this label holds `shares` of "
                "polygons; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _boxes_are_of_a_file(self) -> "LabelConfig":
        if self.boxes is None:
            return self
        if self.file is None or not self.classes:
            raise ValueError("`boxes` need a `file` and the `classes` of its objects")
        maps = {
            "codes": self.codes,
            "corrections": self.corrections,
            "several": self.several,
            "sides": self.sides,
            "composite": self.composite,
        }
        given = sorted(name for name, value in maps.items() if value)
        if given:
            raise ValueError(f"{given} are of maps, and this label holds `boxes`")
        return self

    @model_validator(mode="after")
    def _several_quantities(self) -> "LabelConfig":
        kinds = (self.classes, self.boxes, self.corrections, self.optional)
        own = self.band if isinstance(self.band, tuple) else None
        several = self.file is not None or self.outputs == own
        if self.outputs and (not several or any(kinds)):
            raise ValueError(
                "`outputs` are bands of a `file` that is there for every scene, each a "
                "quantity, without `classes`, `boxes` or `corrections`"
            )
        if len(set(self.outputs)) < len(self.outputs):
            raise ValueError(f"`outputs` must differ: {list(self.outputs)}")
        if self.restores is None:
            return self
        if self.kind != "value" or self.target != "pixel":
            raise ValueError("`restores` is of a quantity of each pixel")
        wanted = max(len(self.outputs), 1)
        if len(self.restores.bands) != wanted:
            raise ValueError(
                f"`restores` must name a band for each of {wanted} quantities; got "
                f"{list(self.restores.bands)}"
            )
        return self

    @model_validator(mode="after")
    def _sides_are_classes(self) -> "LabelConfig":
        if self.sides is None:
            return self
        chosen = [self.sides.line, self.sides.upper, self.sides.lower]
        distinct = len({*chosen, self.classes[0]}) == 4
        if not distinct or not set(chosen) <= set(self.classes):
            raise ValueError(
                "`sides` needs three different names of `classes`, without its "
                f"first, the background; got {chosen} of {list(self.classes)}"
            )
        return self


class VoidConfig(Section):
    """A mask file: where any of its bands is above zero, labels become void."""

    file: FileRef = Field(description="File of the mask, on the scene's grid.")
