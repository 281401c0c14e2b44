"""The ``search`` section: parameters, objectives, and when a trial is given up."""

from typing import Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import core_schema

from arcticdl.config.section import Section

Number = int | float


class ParameterConfig(Section):
    """The values that one key may take; a list alone stands for ``choices``."""

    choices: tuple[Any, ...] | None = Field(
        None,
        min_length=2,
        description="Values to choose from, of any kind that the key takes.",
    )
    low: Number | None = Field(
        None, description="Least value; whole bounds mean whole values."
    )
    high: Number | None = Field(None, description="Greatest value.")
    log: bool = Field(
        False, description="Draw evenly in the logarithm, as suits rates and decays."
    )
    step: Number | None = Field(
        None, gt=0, description="Distance of the values from `low` on; null: any value."
    )
    when: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameter above this one -> its value, or values, with which this "
        "one is there; with others its key is left out.",
    )

    @model_validator(mode="before")
    @classmethod
    def _choices_alone(cls, value: Any) -> Any:
        return {"choices": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _one_kind(self) -> "ParameterConfig":
        bounds = (self.low, self.high)
        if (self.choices is None) == (None in bounds):
            raise ValueError(
                "give `choices`, or `low` and `high`, as in [resnet18, resnet34] or "
                "{low: 1e-4, high: 1e-2, log: true}"
            )
        if self.choices is not None:
            if self.log or self.step or bounds != (None, None):
                raise ValueError("`low`, `high`, `log` and `step` do not go with "
                                 "`choices`; give one or the other")  # fmt: skip
            _refuse_repeats(self.choices)
            return self
        self._check_range(*bounds)  # type: ignore[arg-type]
        return self

    def _check_range(self, low: Number, high: Number) -> None:
        if not low < high:
            raise ValueError(f"`low` must be below `high`. Received: {low} and {high}")
        if self.log and (low <= 0 or self.step):
            raise ValueError(
                "`log` needs `low` above 0, and takes no `step`. Received: "
                f"low={low}, step={self.step}"
            )
        if self.step is None:
            return
        if self.is_whole and not isinstance(self.step, int):
            raise ValueError(f"`step` must be whole as the bounds are: {self.step}")
        count = (high - low) / self.step
        if abs(count - round(count)) > 1e-9 * max(count, 1):
            raise ValueError(
                "`high` must be `low` and whole steps. Received: "
                f"low={low}, high={high}, step={self.step}"
            )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "array", "minItems": 2}, handler(schema)]}

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)


def _refuse_repeats(choices: tuple[Any, ...]) -> None:
    repeated = [c for n, c in enumerate(choices) if c in choices[:n]]
    if repeated:
        raise ValueError(f"each choice must be there once. Received: {repeated[0]!r}")


class ObjectiveConfig(Section):
    """A score of the validation part, or a cost, by which trials are compared."""

    monitor: str | None = Field(
        None,
        description="Logged score, such as val_mean_iou; null: the first metric, or "
        "without any the loss.",
    )
    mode: Literal["auto", "min", "max"] = Field(
        "auto", description="Which way is better; auto: as the score says itself."
    )
    cost: Literal["parameters", "seconds"] | None = Field(
        None,
        description="In place of a score: weights of the network, or seconds of a "
        "training epoch (the median, without the first); less is better.",
    )

    @model_validator(mode="after")
    def _score_or_cost(self) -> "ObjectiveConfig":
        if self.cost and (self.monitor or self.mode != "auto"):
            raise ValueError("`cost` stands alone; leave out `monitor` and `mode`")
        return self


class SearchConfig(Section):
    """Which settings `arcticdl tune` tries, and by what it judges them."""

    space: dict[str, ParameterConfig] = Field(
        min_length=1,
        description="Key of this configuration, such as train.learning_rate -> the "
        "values that it may take.",
    )
    objectives: tuple[ObjectiveConfig, ...] = Field(
        (),
        description="What is sought, the first metric where none is told; of several "
        "each trial that none beats in all.",
    )
    pruner: Literal["median", "hyperband", "none"] | None = Field(
        None,
        description="How trials that fall behind end early, by the score of each "
        "epoch; null: median for one objective, none for several.",
    )
    validation_groups: int = Field(
        0,
        ge=0,
        description="Groups of the training part that judge the trials, where `folds` "
        "keeps none; the trained best learns from them as well.",
    )

    @model_validator(mode="after")
    def _something_is_scored(self) -> "SearchConfig":
        if all(objective.cost for objective in self.sought):
            raise ValueError("`objectives` must hold a score, or the cheapest wins")
        told = [(o.monitor, o.cost) for o in self.sought]
        if len(set(told)) < len(told):
            raise ValueError("`objectives` must differ from each other")
        if len(told) > 1 and self.pruner not in (None, "none"):
            raise ValueError(
                "`pruner` compares one score, and several `objectives` have no order. "
                f"Leave it out. Received: pruner={self.pruner!r}"
            )
        return self

    @property
    def sought(self) -> tuple[ObjectiveConfig, ...]:
        """The objectives: one where none is told."""
        return self.objectives or (ObjectiveConfig(),)

    @property
    def pruner_name(self) -> str:
        """The pruner that is used."""
        return self.pruner or ("median" if len(self.sought) == 1 else "none")
