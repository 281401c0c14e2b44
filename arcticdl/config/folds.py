"""The ``folds`` section: which tiles train, which are held out."""

from pydantic import Field

from arcticdl.config.section import Section


class FoldsConfig(Section):
    """Which tiles train, which are held out."""

    n_splits: int = Field(3, ge=2, description="Number of folds.")
    group: str = Field("scene_id", description="Manifest column that must not leak.")
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
