"""What all sections of a configuration share: they are frozen, and refuse typos."""

from typing import Annotated, Any

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

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """A section whose keys are all commented out has its defaults."""
        return {} if value is None else value


class Named(Section):
    """A choice by name with its options; the name alone may stand for both."""

    name: str = Field(description="Which one.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of what is named, by keyword."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        whole = handler(schema)
        name = handler.resolve_ref_schema(whole)["properties"]["name"]
        return {"anyOf": [name, whole]}


class FileRef(Section):
    """A file that goes with a scene; a path alone is one file for all scenes."""

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

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> "FileRef":
        ways = (self.replace, self.path, self.column)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("give one of `replace`, `path` and `column`")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}
