"""What all sections of a configuration share: they are frozen, and refuse typos."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PositiveInt,
    model_validator,
)
from pydantic_core import core_schema

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
TileSize = PositiveInt | tuple[PositiveInt, PositiveInt]


class Section(BaseModel):
    """A part of a configuration; an unknown key or a number like NaN is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )

    alone: ClassVar[str | None] = None
    """Key whose value may stand for the whole section."""

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """A section whose keys are all commented out has its defaults."""
        if value is None:
            return {}
        if cls.alone is None or isinstance(value, Mapping | Section):
            return value
        return {cls.alone: value}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        whole = handler(schema)
        if cls.alone is None:
            return whole
        known = handler.resolve_ref_schema(whole)["properties"]
        return {"anyOf": [known[cls.alone], whole]}


class Named(Section):
    """A choice by name with its options; the name alone may stand for both."""

    alone = "name"

    name: str = Field(description="Which one.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of what is named, by keyword."
    )


class FileRef(Section):
    """A file that goes with a scene; a path alone is one file for all scenes."""

    alone = "path"

    replace: dict[str, str] | None = Field(
        None,
        min_length=1,
        description="Text of the scene's path -> what stands there instead.",
    )
    path: str | None = Field(
        None, min_length=1, description="One file, the same for every scene."
    )
    column: str | None = Field(
        None, min_length=1, description="Column of `data.table` that tells the file."
    )

    @model_validator(mode="after")
    def _one_way(self) -> "FileRef":
        ways = (self.replace, self.path, self.column)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("give one of `replace`, `path` and `column`")
        return self
