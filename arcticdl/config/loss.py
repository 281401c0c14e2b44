"""The ``loss`` section, and metrics: what training makes small, and what it logs."""

from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from arcticdl.config.names import LOSS, METRIC, WEIGHTING
from arcticdl.config.section import Named

Read = TypeVar("Read")

SUM = "Sum"
"""The loss that is built of others."""


class LossConfig(Named):
    """A name of ``arcticdl.losses.NAMED_LOSSES`` and its arguments.

    Two arguments may be told in words: ``class_weights`` by a name of
    ``arcticdl.tiles.table.WEIGHTINGS``, and the ``losses`` of ``Sum`` as any loss is.
    """

    name: Annotated[str, LOSS] = Field(description="Which loss.")

    @field_validator("options")
    @classmethod
    def _words_are_known(cls, options: dict[str, Any]) -> dict[str, Any]:
        _losses_in(options)
        _weighting_in(options)
        return options

    @property
    def parts(self) -> "tuple[LossConfig, ...]":
        """The losses of a sum; of any other loss none."""
        return _losses_in(self.options)

    @property
    def weighting(self) -> "WeightingConfig | None":
        """How class weights follow from the training fold, where they do."""
        return _weighting_in(self.options)


class WeightingConfig(Named):
    """A name of ``arcticdl.tiles.table.WEIGHTINGS`` and its arguments."""

    name: Annotated[str, WEIGHTING] = Field(description="Rule of the weights.")


class MetricConfig(Named):
    """A name of ``arcticdl.metrics.METRICS`` and its arguments."""

    name: Annotated[str, METRIC] = Field(description="Which metric.")


def _losses_in(options: dict[str, Any]) -> tuple[LossConfig, ...]:
    given = options.get("losses", ())
    return _read(tuple[LossConfig, ...], given, "losses")


def _weighting_in(options: dict[str, Any]) -> WeightingConfig | None:
    given = options.get("class_weights")
    if not isinstance(given, str | dict):  # numbers, which the loss itself checks
        return None
    return _read(WeightingConfig, given, "class_weights")


def _read(kind: type[Read], value: Any, name: str) -> Read:
    """What an option says, with the first fault as the option's own.

    Raises:
        ValueError: It says no such thing; the message begins with its place.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *map(str, first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {message}") from error
