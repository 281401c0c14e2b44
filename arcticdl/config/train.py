"""The ``train`` section: the optimisation."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from arcticdl.config.loss import MetricConfig
from arcticdl.config.names import (
    CALLBACK,
    HEAD_WEIGHTS,
    NORMALIZER,
    OPTIMIZER,
    SAMPLER,
    SCHEDULE,
    STEP,
)
from arcticdl.config.section import Named, Section


class OptimizerConfig(Named):
    """A name of ``arcticdl.training.OPTIMIZERS`` and its arguments."""

    name: Annotated[str, OPTIMIZER] = Field("AdamW", description="Which optimiser.")


class ScheduleConfig(Named):
    """A name of ``arcticdl.training.SCHEDULES`` and its arguments."""

    name: Annotated[str, SCHEDULE] = Field(
        "cosine", description="How the learning rate goes on after the warm-up."
    )


class SamplerConfig(Named):
    """A name of ``arcticdl.experiment.SAMPLERS`` and its arguments."""

    name: Annotated[str, SAMPLER] = Field(
        "uniform", description="Which tiles an epoch visits, and how often."
    )


class CallbackConfig(Named):
    """A name of ``arcticdl.training.CALLBACKS`` and its arguments."""

    name: Annotated[str, CALLBACK] = Field(description="Which callback.")


class HeadWeightsConfig(Named):
    """A name of ``arcticdl.losses.HEAD_WEIGHTS`` and its arguments."""

    name: Annotated[str, HEAD_WEIGHTS] = Field(description="How they are learnt.")


class FreezeConfig(Section):
    """Which part of the backbone keeps the weights that it starts with."""

    stages: int | None = Field(
        None, ge=0, description="First stages, from the image on; null: all of them."
    )
    fix_statistics: bool = Field(
        False, description="Keep the batch statistics of the whole backbone as well."
    )


class UnfreezeConfig(Section):
    """How the backbone begins to learn, stage by stage, from the deepest one on."""

    start: PositiveInt = Field(1, description="Epochs with the whole backbone frozen.")
    every: PositiveInt = Field(1, description="Epochs between two stages.")
    num_frozen: int = Field(
        0, ge=0, description="First stages, from the image on, that never learn."
    )
    fix_statistics: bool = Field(
        False, description="Keep the batch statistics of the whole backbone throughout."
    )


class EarlyStoppingConfig(Section):
    """When training ends before its last epoch; needs ``validation_groups``."""

    monitor: str | None = Field(
        None,
        description="Logged score that decides, such as val_mean_iou; null: the first "
        "metric, or without any the loss.",
    )
    mode: Literal["auto", "min", "max"] = Field(
        "auto", description="Which way is better; auto: as the score says itself."
    )
    patience: PositiveInt = Field(10, description="Epochs without a better score.")
    min_delta: float = Field(0.0, ge=0, description="Least change that counts.")


class SwaConfig(Section):
    """Which epochs are averaged, each alike, to the weights that are kept."""

    start: float = Field(
        0.75, gt=0, lt=1, description="Share of the epochs before the first of them."
    )
    every: PositiveInt = Field(1, description="Epochs from one of them to the next.")


class EnsembleConfig(Section):
    """Several networks in place of one, joined to the fold's model."""

    kind: Literal["bagging", "seeds", "snapshots"] = Field(
        description="bagging: each on training groups drawn with replacement; seeds: "
        "each from other first weights; snapshots: one training, kept at the end of "
        "each cycle of its schedule."
    )
    members: int = Field(5, ge=2, description="Number of networks.")
    combine: Literal["greedy", "mean", "stack"] = Field(
        "mean",
        description="mean of the answers; greedy: weights from the validation part, by "
        "the first head; stack: a linear model on the answers, fitted there.",
    )


class TrainConfig(Section):
    """The optimisation."""

    feed: Literal["tiles", "scenes"] = Field(
        "tiles",
        description="Where pixels come from: tiles of the store; or scenes, of which "
        "random windows train and the store keeps no pixels.",
    )
    batch_size: PositiveInt | Literal["auto"] = Field(
        8,
        description="Tiles a step, of all devices, at most those that an epoch visits; "
        "auto: the largest of which a step fits the memory, found once a run. The "
        "default is fewer where an epoch visits fewer.",
    )
    epochs: PositiveInt = Field(20, description="Epochs of the whole training.")
    repeats: PositiveInt = Field(1, description="Passes over the tiles in an epoch.")
    sampler: SamplerConfig = Field(
        SamplerConfig(), description="Which tiles an epoch visits, and how often."
    )
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(), description="How weights follow their gradients."
    )
    learning_rate: PositiveFloat = Field(1e-3, description="Peak learning rate.")
    schedule: ScheduleConfig = Field(
        ScheduleConfig(), description="How the learning rate goes on."
    )
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="Share of the steps in which the rate rises; null: the schedule's "
        "own, 0.05 but for constant and those that rise by themselves.",
    )
    weight_decay: float = Field(
        1e-4, ge=0, description="Decay of kernels; biases and norms have none."
    )
    clip_norm: PositiveFloat | None = Field(
        1.0,
        description="Largest norm of the whole gradient, with `model.adversarial` of "
        "that of each weight; null: no limit.",
    )
    accumulate: PositiveInt = Field(
        1, description="Batches whose gradients are averaged for one step."
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Factor of the rate from block to block towards the image, for "
        "Adam, AdamW and SGD; null: one rate.",
    )
    head_weights: HeadWeightsConfig | None = Field(
        None,
        description="How weights of several heads are learnt; null: each has its own.",
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Momentum of averaged weights, kept at the end."
    )
    swa: SwaConfig | None = Field(
        None,
        description="Keep the average of the last epochs' weights (stochastic weight "
        "averaging); null: the last.",
    )
    freeze: FreezeConfig | None = Field(
        None, description="Part of the backbone that does not learn; null: none."
    )
    unfreeze: UnfreezeConfig | None = Field(
        None, description="Let the backbone learn stage by stage; null: from the start."
    )
    normalizer: Annotated[str, NORMALIZER] = Field(
        "zscore", description="How bands become small numbers."
    )
    constants: dict[str, tuple[float, float]] | None = Field(
        None, description="Band -> [offset, scale], for the normaliser constants."
    )
    augment: tuple[Annotated[dict[str, Any], STEP], ...] = Field(
        (), description="Steps, each a name, p (its probability) and its arguments."
    )
    metrics: tuple[MetricConfig, ...] | None = Field(
        None, description="Scores that are logged; null: those of the task."
    )
    early_stopping: EarlyStoppingConfig | None = Field(
        None, description="Stop before the last epoch; null: never."
    )
    ensemble: EnsembleConfig | None = Field(
        None, description="Train several networks a fold; null: one."
    )
    callbacks: tuple[CallbackConfig, ...] = Field(
        (), description="What shows the training while it runs, beside history.csv."
    )
    tensorboard: bool = Field(
        True, description="Write scores and the learning rate for TensorBoard."
    )
    devices: Literal["auto"] | PositiveInt = Field(
        1,
        description="Devices that share every batch, of each process where several "
        "train together; auto: all that the backend sees.",
    )
    jit_compile: bool = Field(
        True, description="Compile the training step by XLA; on JAX always so."
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="Precision in which the network computes."
    )
    remat: bool = Field(
        False,
        description="Keep of each block what goes in, and compute the rest anew for "
        "the gradient: less memory, more time, the same numbers.",
    )

    @model_validator(mode="after")
    def _constants_go_with_their_normalizer(self) -> "TrainConfig":
        if (self.normalizer == "constants") != (self.constants is not None):
            raise ValueError(
                "`constants` and `normalizer: constants` need each other. Received: "
                f"normalizer={self.normalizer!r}, constants={self.constants}"
            )
        return self

    @model_validator(mode="after")
    def _a_log_is_wanted_or_not(self) -> "TrainConfig":
        named = [callback.name for callback in self.callbacks]
        if not self.tensorboard and "tensorboard" in named:
            raise ValueError(
                "`tensorboard` must be true where `callbacks` names it. Received: "
                "tensorboard=False. Leave it out of `callbacks`, or `tensorboard` true"
            )
        return self

    @model_validator(mode="after")
    def _batch_is_found_on_one_device(self) -> "TrainConfig":
        if self.batch_size == "auto" and self.devices != 1:
            raise ValueError(
                "`batch_size: auto` finds the batch of one device. Received: "
                f"devices={self.devices!r}. Find it with `devices: 1`, and give that "
                "number times the devices"
            )
        return self

    @model_validator(mode="after")
    def _averages_stand_alone(self) -> "TrainConfig":
        beside = {
            "early_stopping": self.early_stopping is not None,
            "ema": self.ema is not None,
            "ensemble of kind snapshots": self.ensemble is not None
            and self.ensemble.kind == "snapshots",
            "devices": self.devices != 1,
        }
        given = [key for key, is_given in beside.items() if is_given]
        if self.swa is not None and given:
            raise ValueError(
                "`swa` keeps the average of the last epochs, which all must be "
                f"trained, on one device. Received: {given} too. Leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _windows_are_drawn_alike(self) -> "TrainConfig":
        told = {"sampler": self.sampler.name != "uniform", "repeats": self.repeats != 1}
        beside = [key for key, is_told in told.items() if is_told]
        if self.feed == "scenes" and beside:
            raise ValueError(
                "`feed: scenes` draws its windows from all of each scene alike. "
                f"Received: {beside} too, which are for tiles of a store"
            )
        return self

    @model_validator(mode="after")
    def _backbone_is_frozen_in_one_way(self) -> "TrainConfig":
        if self.freeze is not None and self.unfreeze is not None:
            raise ValueError(
                "`freeze` and `unfreeze` both say which stages learn; give one. Stages "
                "that never learn are `unfreeze.num_frozen`"
            )
        return self

    @model_validator(mode="after")
    def _snapshots_have_cycles(self) -> "TrainConfig":
        if self.ensemble and self.ensemble.kind == "bagging" and self.feed == "scenes":
            raise ValueError(
                "`ensemble` of kind bagging draws scenes more than once, which `feed: "
                "scenes` does not; take kind seeds, or leave `feed` out"
            )
        if self.ensemble is None or self.ensemble.kind != "snapshots":
            return self
        cycles = self.schedule.options.get("num_cycles")
        if self.schedule.name not in CYCLIC or cycles != self.ensemble.members:
            raise ValueError(
                "`ensemble` of kind snapshots takes one at the end of each cycle: "
                f"`schedule` must be one of {list(CYCLIC)} with the option "
                f"num_cycles: {self.ensemble.members}. Received: "
                f"{self.schedule.name}, num_cycles={cycles}"
            )
        if self.early_stopping is not None or self.ema is not None:
            raise ValueError(
                "`ensemble` of kind snapshots needs the last cycle, and weights as "
                "they are: leave out `early_stopping` and `ema`"
            )
        return self

    @model_validator(mode="after")
    def _layers_have_rates(self) -> "TrainConfig":
        if self.layer_decay is not None and self.optimizer.name not in LAYER_DECAY:
            raise ValueError(
                f"`layer_decay` needs `optimizer` to be one of {list(LAYER_DECAY)}. "
                f"Received: optimizer={self.optimizer.name!r}"
            )
        return self


CYCLIC = ("cosine_restarts", "cyclic")
"""Schedules whose rate falls and rises again."""
LAYER_DECAY = ("Adam", "AdamW", "SGD")
"""Optimisers that may have a rate for each layer."""
