"""The ``folds`` section: which tiles train, which are held out."""

from typing import Annotated

from pydantic import Field

from arcticdl.config.names import SPLITTER
from arcticdl.config.section import Named, Section


class SplitterConfig(Named):
    """A name of ``arcticdl.tiles.SPLITTERS`` and its arguments."""

    name: Annotated[str, SPLITTER] = Field("group", description="Which splitter.")


class FoldsConfig(Section):
    """Which tiles train, which are held out."""

    splitter: SplitterConfig = Field(
        SplitterConfig(), description="What is held out together."
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
    validation_groups: int = Field(
        0,
        ge=0,
        description="Groups of the training fold kept for early stopping; 0: none.",
    )
