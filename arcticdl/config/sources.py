"""Parts of the ``data`` section: tables of scenes, further sources, the grid."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, model_validator

from arcticdl.config.names import READER
from arcticdl.config.section import FileRef, Section
from arcticdl.series import Steps

Resampling = Literal["bilinear", "cubic", "nearest"]


class TableConfig(Section):
    """A table of scenes, one row each; its file alone may stand for it.

    CSV with a head line, Parquet, or a STAC item collection (GeoJSON), whose columns
    are the properties of its items and the names of their assets.
    """

    file: str = Field(min_length=1, description="CSV, Parquet, or STAC items (JSON).")
    path: str | tuple[str, ...] = Field(
        "path",
        description="Column with the scene's file, or several, stacked band by band; "
        "of STAC items the names of assets.",
    )

    @model_validator(mode="before")
    @classmethod
    def _file_alone(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value

    @property
    def paths(self) -> tuple[str, ...]:
        """The columns with files."""
        return (self.path,) if isinstance(self.path, str) else self.path


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

    @model_validator(mode="after")
    def _steps_are_possible(self) -> "SeriesConfig":
        assert self.steps
        return self

    @property
    def steps(self) -> Steps:
        """The dates of a sequence."""
        return Steps(self.history, self.step_h, self.tolerance_h, self.answers)


class GridConfig(Section):
    """The grid on which scenes, with their labels, are brought first."""

    crs: str = Field("EPSG:3413", description="Its CRS, as EPSG:CODE, WKT or PROJ.")
    resolution_m: PositiveFloat = Field(description="Side of a pixel, metres.")
    resampling: Resampling = Field("bilinear", description="Of the bands.")
    label_resampling: Literal["auto", "majority", "nearest"] = Field(
        "auto", description="Of labels; auto: majority where pixels become coarser."
    )


class SourceConfig(Section):
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
    angle_bands: tuple[str, ...] = Field(
        (), description="Bands in degrees of a full circle."
    )
    vector_bands: tuple[tuple[str, str], ...] = Field(
        (), description="Pairs of bands that are components of vectors."
    )
    vector_frame: Literal["east_north", "grid"] | None = Field(
        None, description="What components refer to; null: the file tells."
    )
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
