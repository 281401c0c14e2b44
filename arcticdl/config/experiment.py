"""The whole of a configuration, and what its sections must agree on."""

from pathlib import Path

from pydantic import Field, model_validator

from arcticdl.config.data import DataConfig
from arcticdl.config.folds import FoldsConfig
from arcticdl.config.loss import LossConfig
from arcticdl.config.model import ModelConfig
from arcticdl.config.predict import PredictConfig
from arcticdl.config.section import Section
from arcticdl.config.tiles import TilesConfig
from arcticdl.config.train import TrainConfig


class Experiment(Section):
    """One experiment, complete."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Names the run folder and the tile store.",
    )
    description: str = Field("", description="One line for the report.")
    seed: int = Field(0, ge=0, description="Of order, augmentation and first weights.")
    data: DataConfig = Field(description="Which scenes, with which bands and labels.")
    tiles: TilesConfig = Field(TilesConfig(), description="How scenes are cut.")
    folds: FoldsConfig = Field(
        FoldsConfig(), description="Which tiles train, which are held out."
    )
    label: str | None = Field(
        None, description="Label to learn; null: the only, or the first, one."
    )
    model: ModelConfig = Field(ModelConfig(), description="The network.")
    loss: LossConfig = Field(LossConfig(), description="What training makes small.")
    train: TrainConfig = Field(TrainConfig(), description="The optimisation.")
    predict: PredictConfig = Field(
        PredictConfig(), description="How a whole scene is mapped."
    )
    baselines: bool = Field(
        False, description="Score a majority map and a per-pixel classifier as well."
    )

    @model_validator(mode="after")
    def _validation_is_its_own(self) -> "Experiment":
        if self.train.early_stopping and not self.folds.validation_groups:
            raise ValueError(
                "`train.early_stopping` needs `folds.validation_groups` >= 1: the "
                "held-out fold must not choose the epoch"
            )
        if self.train.early_stopping and self.train.ema:
            raise ValueError(
                "`train.ema` and `train.early_stopping` do not go together: validation "
                "would score the weights of the moment, not their average"
            )
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> "Experiment":
        label = self.label_name
        if label not in self.data.labels:
            raise ValueError(
                f"`label` must be one of {sorted(self.data.labels)}, got {label!r}"
            )
        line = self.predict.line
        if line is not None and line not in self.data.labels[label].classes:
            raise ValueError(
                "`predict.line` must be one of "
                f"{sorted(self.data.labels[label].classes)}, got {line!r}"
            )
        return self

    @property
    def label_name(self) -> str:
        """The label that is learnt."""
        return self.label or next(iter(self.data.labels))

    @property
    def line_class(self) -> str | None:
        """Name of the line's class as the store writes it, without blanks."""
        line = self.predict.line
        return None if line is None else line.replace(" ", "_")

    @property
    def store_path(self) -> Path:
        """Where the tile store lies."""
        return Path(self.tiles.store or f"data/{self.name}.tiles")
