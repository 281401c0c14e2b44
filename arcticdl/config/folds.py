"""The ``folds`` section: which tiles train, which are held out."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, model_validator

from arcticdl.config.names import SPLITTER
from arcticdl.config.section import Named, Section

_Value = bool | int | float | str
Part = dict[str, _Value | tuple[_Value, ...]] | str
"""Columns of the manifest with a value or several, or the path of a list of scenes."""

Leak = Literal["drift", "duplicates", "overlap", "shared_tiles"]


class SplitterConfig(Named):
    """A name of ``arcticdl.tiles.SPLITTERS`` and its arguments."""

    name: Annotated[str, SPLITTER] = Field("group", description="Which splitter.")


class FoldsConfig(Section):
    """Which tiles train, which are held out."""

    splitter: SplitterConfig = Field(
        SplitterConfig(), description="What is held out together."
    )
    test: Part | None = Field(
        None,
        min_length=1,
        description="The test part is given: {column: value or values}, or a CSV list "
        "of scenes; what is left trains.",
    )
    validation: Part | None = Field(
        None, min_length=1, description="A given part for early stopping; as `test`."
    )
    n_splits: int = Field(
        3, ge=2, description="Number of folds, where the splitter does not set it."
    )
    group: str = Field(
        "scene_id", description="Manifest column that must not leak, where one is used."
    )
    seed: int = Field(0, ge=0, description="Of the order in which groups are dealt.")
    train_only: dict[str, str] = Field(
        default_factory=dict, description="Column -> value that training tiles have."
    )
    test_only: dict[str, str] = Field(
        default_factory=dict, description="Column -> value that test tiles have."
    )
    train_fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the training groups that is learnt from, for learning "
        "curves; a smaller share is part of every larger one.",
    )
    validation_groups: int = Field(
        0,
        ge=0,
        description="Groups of the training fold kept for early stopping; 0: none.",
    )
    only: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None,
        min_length=1,
        description="Folds that may be trained and scored; null: all. A search sets "
        "it: what other folds are tested on chose its settings.",
    )
    drifts: bool | None = Field(
        None,
        description="Whether the ice drifts, so that its pass is the unit; null: the "
        "scenes' attribute `drifts` says so.",
    )
    drift_km_per_day: PositiveFloat = Field(
        20.0, description="Drifting passes nearer than this a day leak, up to 10 days."
    )
    allow: tuple[Leak, ...] = Field(
        (), description="Leaks that are known and accepted; others refuse the fold."
    )

    @model_validator(mode="before")
    @classmethod
    def _test_is_a_splitter(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("test") is not None:
            return {"splitter": "given", **value}
        return value

    @model_validator(mode="after")
    def _one_way(self) -> "FoldsConfig":
        name = self.splitter.name
        if (self.test is not None) != (name == "given"):
            raise ValueError(
                f"`test` is a split of its own; leave out `splitter`. Received: {name}"
                if self.test is not None
                else "the splitter `given` needs `test`"
            )
        if self.validation is not None and self.test is None:
            raise ValueError(
                "`validation` goes with `test`; other splitters take "
                "`validation_groups`"
            )
        told = self.validation is not None or name == "nested"
        if told and self.validation_groups:
            raise ValueError(
                "`validation_groups` is one validation part too many: "
                f"{'the nested splitter' if name == 'nested' else '`validation`'} "
                "has its own"
            )
        return self

    @property
    def validates(self) -> bool:
        """Whether folds have a validation part."""
        own = self.validation is not None or self.splitter.name == "nested"
        return own or self.validation_groups > 0
