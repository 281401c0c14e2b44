"""The ``train`` section: the optimisation."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from arcticdl.config.section import Fraction, Section


class EarlyStoppingConfig(Section):
    """When training ends before its last epoch; needs ``validation_groups``."""

    monitor: str = Field("val_mean_iou", description="Logged score that decides.")
    mode: Literal["min", "max"] = Field("max", description="Which way is better.")
    patience: PositiveInt = Field(10, description="Epochs without a better score.")
    min_delta: float = Field(0.0, ge=0, description="Least change that counts.")


class TrainConfig(Section):
    """The optimisation."""

    batch_size: PositiveInt = Field(8, description="Tiles a step.")
    epochs: PositiveInt = Field(20, description="Epochs of the whole training.")
    repeats: PositiveInt = Field(1, description="Passes over the tiles in an epoch.")
    learning_rate: PositiveFloat = Field(1e-3, description="Peak learning rate.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="How the learning rate goes on after the warm-up."
    )
    warmup_fraction: Fraction = Field(
        0.05, description="Share of the steps in which the rate rises."
    )
    weight_decay: float = Field(
        1e-4, ge=0, description="Decay of kernels; biases and norms have none."
    )
    clip_norm: PositiveFloat | None = Field(
        1.0, description="Largest norm of the whole gradient; null: no limit."
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Momentum of averaged weights, kept at the end."
    )
    normalizer: str = Field("zscore", description="How bands become small numbers.")
    augment: tuple[dict[str, Any], ...] = Field(
        (), description="Steps, each a name, p (its probability) and its arguments."
    )
    early_stopping: EarlyStoppingConfig | None = Field(
        None, description="Stop before the last epoch; null: never."
    )
    jit_compile: bool = Field(True, description="Compile the training step by XLA.")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="Precision in which the network computes."
    )
