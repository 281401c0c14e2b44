"""The feeds and the log of a network that learns from two views of each tile."""

from typing import Any

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError


def pair_feeds(config: Experiment, feeds: tuple[Any, Any]) -> tuple[Any, Any]:
    """Feeds of two views of each tile, from those of tiles.

    Args:
        config: The experiment.
        feeds: For training, and for validation or ``None``.

    Returns:
        The same feeds, changed; those of any other experiment stay as they are.

    Raises:
        ConfigError: A batch holds one tile, which can be told from no other.
    """
    if config.model.contrastive is None:
        return feeds
    from arcticdl.training import pair_views

    for part, feed in zip(("training", "validation"), feeds, strict=True):
        try:
            _ = feed and pair_views(feed)
        except ValueError as error:
            raise ConfigError(
                f"`model.contrastive`: the tiles of the {part} are too few. {error}"
            ) from None
    return feeds


def describe_contrast(config: Experiment) -> list[str]:
    """Says in a line what is compared; nothing of any other experiment."""
    told = config.model.contrastive
    if told is None:
        return []
    steps = ", ".join(step["name"] for step in config.train.augment)
    own = f"{told.reconstruct:g} times that" if told.reconstruct else "not"
    return [
        f"learns from two views of each tile ({steps}), and {own} of the label: codes "
        f"of {told.size} numbers, temperature {told.temperature:g}"
    ]


def watch_collapse(config: Experiment) -> list[Any]:
    """The callback that says whether tiles are told apart, where they should be."""
    if config.model.contrastive is None:
        return []
    from arcticdl.training import CollapseWatch

    return [CollapseWatch()]
