"""Parts of the ``data`` section: tables of scenes, further sources, the grid."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from arcticdl.config.names import READER
from arcticdl.config.section import FileRef, Section
from arcticdl.forecasting.context import CONTEXT_BANDS, Context
from arcticdl.series import Steps

Resampling = Literal["bilinear", "cubic", "nearest"]
_ANGLES = (
    "Bands in degrees of a full circle, besides those whose name and unit tell it."
)
_VECTORS = "Pairs of bands that are components of vectors."
_FRAME = "What components refer to; null: the file tells."


class TableConfig(Section):
    """A table of scenes, one row each; its file alone may stand for it.

    CSV with a head line, Parquet, or a STAC item collection (GeoJSON), whose columns
    are the properties of its items and the names of their assets.
    """

    alone = "file"

    file: str = Field(min_length=1, description="CSV, Parquet, or STAC items (JSON).")
    path: str | tuple[str, ...] = Field(
        "path",
        description="Column with the scene's file, or several, stacked band by band; "
        "of STAC items the names of assets.",
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """The columns with files."""
        return (self.path,) if isinstance(self.path, str) else self.path


class RegionFileConfig(Section):
    """A vector file of named areas, such as seas; its path alone may stand for it."""

    alone = "file"

    file: str = Field(
        min_length=1, description="GeoPackage, GeoJSON, shapefile, GeoParquet, ..."
    )
    names: str = Field(
        "name", description="Column with the names; features of one are one region."
    )
    layer: str | None = Field(None, description="Layer, where the file has several.")
    crs: str | None = Field(
        None, description="CRS of the coordinates, in place of what the file says."
    )


class ContextConfig(Section):
    """What a forecast is told besides the dates seen, from the years of reference.

    Cells that one date lacks are then void at all dates, and each sequence is measured
    by the other years.
    """

    of: str = Field(min_length=1, description="Label that is forecast: a quantity.")
    reference: tuple[int, int] = Field(
        description="First and last year of climatology, trend and damping; a test "
        "must lie outside."
    )
    bands: tuple[str, ...] = Field(
        ("anomaly", "climatology", "season"),
        description=f"Which bands, of {', '.join(CONTEXT_BANDS)}.",
    )
    start_from: str | None = Field(
        None,
        description="Baseline among `bands` that the network's answer is added to; "
        "null: none.",
    )
    window_days: PositiveFloat = Field(
        15.0, description="Days on each side that share a climatology; not of months."
    )
    limits: tuple[float, float] = Field(
        (0.0, 1.0), description="Least and greatest value of the quantity."
    )
    regions: dict[str, tuple[float, float, float, float]] = Field(
        default_factory=dict,
        description="Name -> [west, east, south, north] in degrees, scored apart; west "
        "above east crosses 180 degrees.",
    )
    region_file: RegionFileConfig | None = Field(
        None,
        description="Further regions: named areas of a vector file in any CRS; null: "
        "none.",
    )
    delay_steps: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Band -> steps after its date at which it is known; until then it "
        "is missing.",
    )

    @model_validator(mode="after")
    def _context_is_possible(self) -> "ContextConfig":
        assert self.context
        return self

    @property
    def context(self) -> Context:
        """The context as stores take it."""
        names = type(self).model_fields.keys() - {"regions", "region_file"}
        return Context(**{name: getattr(self, name) for name in names})


class SeriesConfig(Section):
    """Scenes of one place in the order of their times: a network sees several dates.

    Labels of other dates than the last one have the step in their names, such as
    ``ice_t1``, under which ``label`` and ``heads`` name them.
    """

    by: str = Field("group", description="Attribute that names the series of a scene.")
    history: int = Field(3, ge=1, description="Dates seen, the last one included.")
    step_h: PositiveFloat = Field(24.0, description="Hours from date to date.")
    tolerance_h: float | None = Field(
        None, ge=0, description="Hours that a time may lie off; null: a quarter step."
    )
    answers: tuple[int, ...] = Field(
        (0,), min_length=1, description="Steps from the last date whose labels count."
    )
    context: ContextConfig | None = Field(
        None, description="What a forecast is told besides; null: nothing."
    )

    @model_validator(mode="after")
    def _steps_are_possible(self) -> "SeriesConfig":
        assert self.steps
        if self.context is not None:
            bands = tuple(self.context.delay_steps)
            self.context.context.check(self.steps, bands)
        return self

    @property
    def steps(self) -> Steps:
        """The dates of a sequence."""
        return Steps(self.history, self.step_h, self.tolerance_h, self.answers)


class GapsConfig(Section):
    """Gaps, such as under clouds, which labels that `restores` bands are to fill.

    Pixels without data become gaps that a network sees as such, by a band `gap`. For
    training and scores, simulated clouds hide further pixels, whose truth is known.
    """

    share: float = Field(
        0.3, gt=0.0, lt=1.0, description="Share of each scene that is hidden."
    )
    size_px: float = Field(
        24.0, ge=1.0, description="Scale of the largest parts of a cloud, pixels."
    )
    reach_px: PositiveInt = Field(
        32,
        description="Distance from the nearest observed pixel up to which gaps are "
        "filled; deeper ones stay void.",
    )
    seed: int = Field(0, ge=0, description="Of the simulated clouds.")


class Directions(Section):
    """Bands that tell directions, and cannot be averaged as plain numbers."""

    angle_bands: tuple[str, ...] = Field((), description=_ANGLES)
    vector_bands: tuple[tuple[str, str], ...] = Field((), description=_VECTORS)
    vector_frame: Literal["east_north", "grid"] | None = Field(None, description=_FRAME)

    @model_validator(mode="after")
    def _frame_is_of_vectors(self) -> Self:
        named = self.vector_bands or self._names_vectors_itself
        if self.vector_frame is not None and not named:
            raise ValueError(
                "vector_frame says what the components of vector_bands refer to; name "
                "their pairs there, or leave it out"
            )
        return self

    @property
    def _names_vectors_itself(self) -> bool:
        return False


class ConditionConfig(Section):
    """A map of classes in the image's place; the name of its label alone may stand.

    The network sees a band of 0 and 1 for each class, and learns to draw a band of the
    image: `arcticdl synthesize` then makes scenes of such maps.
    """

    alone = "label"

    label: str = Field(description="Label of classes, which is seen.")
    bands: tuple[str, ...] = Field(
        (),
        description="Bands that are seen as well, such as the angle of incidence, or "
        "one that another generator draws first.",
    )


class GridConfig(Directions):
    """The grid on which scenes, with their labels, are brought first."""

    crs: str = Field("EPSG:3413", description="Its CRS, as EPSG:CODE, WKT or PROJ.")
    resolution_m: PositiveFloat = Field(description="Side of a pixel, metres.")
    resampling: Resampling = Field("bilinear", description="Of the bands.")
    label_resampling: Literal["auto", "majority", "nearest"] = Field(
        "auto", description="Of labels; auto: majority where pixels become coarser."
    )


class SourceConfig(Directions):
    """A further source, brought onto the scene's grid and stacked beneath it."""

    file: FileRef = Field(
        description="Its file; a path with `*` is the one nearest in time."
    )
    reanalysis: bool = Field(
        False, description="Weather fields: the time nearest to the scene's is taken."
    )
    reader: Annotated[str, READER] | None = Field(
        None, description="What opens it; null: its content decides."
    )
    reader_options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the reader."
    )
    bands: tuple[str, ...] | None = Field(
        None, description="Names of its bands in file order."
    )
    use_bands: tuple[str, ...] | None = Field(None, description="Bands to keep.")
    resampling: Resampling = Field("bilinear", description="How it is interpolated.")
    max_time_gap_h: PositiveFloat | None = Field(
        None,
        description="Hours that it may lie off the scene's time; null: any, and 3 for "
        "a reanalysis and where files are chosen by time.",
    )

    @model_validator(mode="after")
    def _weather_reads_itself(self) -> "SourceConfig":
        taken = {
            "reader": self.reader,
            "reader_options": self.reader_options,
            "bands": self.bands,
            "angle_bands": self.angle_bands,
            "vector_bands": self.vector_bands,
        }
        given = [name for name, value in taken.items() if value]
        if self.reanalysis and given:
            raise ValueError(
                f"a reanalysis names its fields and vectors itself; leave out {given}"
            )
        return self

    @property
    def _names_vectors_itself(self) -> bool:
        return self.reanalysis
