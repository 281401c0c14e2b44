"""Which head of a run the labelling loop asks."""

from pathlib import Path

from arcticdl.choices import check_choice
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.tasks import Head


def choose_head(
    model: Path, label: str | None, *, searched: bool = True
) -> tuple[str, Head]:
    """Name and head of a label, as the model's card has it.

    Args:
        model: A ``.keras`` file.
        label: Its name; ``None``: the only one.
        searched: Whether its labels must be such as can be searched for errors.

    Raises:
        ConfigError: Several heads and no name, or a task with several answers.
        ValueError: No head of that name.
    """
    from arcticdl.inference.load import load_model
    from arcticdl.labelling.suspects import check_searchable
    from arcticdl.models.card import model_heads

    heads = model_heads(load_model(model))
    if label is None and len(heads) > 1:
        raise ConfigError(
            "Of several heads one must be chosen by `label` (--label): "
            f"{sorted(heads)}."
        )
    name = next(iter(heads)) if label is None else label
    check_choice("label", name, heads)
    if searched:
        try:
            check_searchable(heads[name])
        except ValueError as error:
            raise ConfigError(str(error)) from None
    return name, heads[name]


def refuse_series(config: Experiment) -> None:
    """Refuses a run whose scenes are answered together.

    Raises:
        ConfigError: It has ``data.series``.
    """
    if config.data.series is not None:
        raise ConfigError(
            "The labelling loop takes scenes one by one. Received: a run with "
            "`data.series`, whose scenes are answered together."
        )
