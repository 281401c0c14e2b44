"""The whole of a configuration, and what its sections must agree on."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from arcticdl.choices import check_choice
from arcticdl.config.data import DataConfig
from arcticdl.config.folds import FoldsConfig
from arcticdl.config.heads import HeadConfig, check_fit, check_task
from arcticdl.config.loss import LossConfig
from arcticdl.config.model import (
    ModelConfig,
    check_adversarial,
    check_contrastive,
    check_shares,
)
from arcticdl.config.names import STRATUM, TASK
from arcticdl.config.predict import PredictConfig
from arcticdl.config.search.section import SearchConfig
from arcticdl.config.section import Section
from arcticdl.config.tiles import TilesConfig
from arcticdl.config.train import TrainConfig
from arcticdl.tasks.table import label_task


class StratumConfig(Section):
    """One way to tell the pixels of a scene apart."""

    by: Annotated[str, STRATUM] = Field(
        description="`band`: the value of a band; `distance`: to the truth's class "
        "boundaries, or to a class; `object_size`: the area of the connected part of "
        "its true class."
    )
    edges: tuple[float, ...] = Field(
        min_length=1,
        description="Where one stratum ends and the next begins, rising; each belongs "
        "to the upper one.",
    )
    of: str | None = Field(
        None,
        description="The band; of a distance `edge` or a class, such as land; null: "
        "`edge`.",
    )
    units: Literal["px", "m", "km2"] | None = Field(
        None,
        description="Of `edges`: px (null) or m of distances, px or km2 of sizes; a "
        "band has its own.",
    )


class Experiment(Section):
    """One experiment, complete."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Names the run folder and the tile store: letters, digits, and "
        "within them `_`, `.` and `-`.",
    )
    description: str = Field("", description="One line for the report.")
    limits: str = Field(
        "", description="What the network does badly, or not at all; told by bundles."
    )
    seed: int = Field(0, ge=0, description="Of order, augmentation and first weights.")
    data: DataConfig = Field(description="Which scenes, with which bands and labels.")
    tiles: TilesConfig = Field(TilesConfig(), description="How scenes are cut.")
    folds: FoldsConfig = Field(
        FoldsConfig(), description="Which tiles train, which are held out."
    )
    label: str | None = Field(
        None, description="Label to learn; null: the only, or the first, one."
    )
    task: Annotated[str, TASK] | None = Field(
        None,
        description="What the network answers; null: what its label is for.",
    )
    loss: LossConfig | None = Field(
        None, description="What training makes small; null: the task's own."
    )
    heads: dict[str, HeadConfig] = Field(
        default_factory=dict,
        description="Label -> its task, loss and metrics, to learn several at once; "
        "in place of label, task, loss and train.metrics.",
    )
    model: ModelConfig = Field(ModelConfig(), description="The network.")
    train: TrainConfig = Field(TrainConfig(), description="The optimisation.")
    predict: PredictConfig = Field(
        PredictConfig(), description="How a whole scene is mapped."
    )
    baselines: bool = Field(
        False,
        description="Score classical methods on the same folds as well: majority or "
        "mean, linear models, forests and boosting, thresholds of Otsu; beside radar "
        "textures, and beside a detector on radar a constant false-alarm rate; "
        "concentration from brightness temperatures.",
    )
    strata: tuple[str, ...] = Field(
        (),
        description="Columns of the scenes, such as season or sensor, by whose values "
        "the scores are told as well.",
    )
    strata_within: tuple[StratumConfig, ...] = Field(
        (),
        description="What the pixels of a scene are told apart by, such as the angle "
        "of incidence or the distance to an edge, to score each part by itself.",
    )
    instances: str | None = Field(
        None,
        description="Label that numbers the objects one by one (a quantity: 0 is "
        "background, NaN void), by which `evaluate` scores the product `instances`; "
        "null: nothing does.",
    )
    search: SearchConfig | None = Field(
        None, description="What `arcticdl tune` tries; null: nothing."
    )

    @model_validator(mode="after")
    def _validation_is_its_own(self) -> "Experiment":
        if self.train.early_stopping and not self.folds.validates:
            raise ValueError(
                "`train.early_stopping` needs `folds.validation_groups` >= 1 or a "
                "given `folds.validation`: the held-out fold must not choose the epoch"
            )
        if self.train.schedule.name == "plateau" and not self.folds.validates:
            raise ValueError(
                "`train.schedule` plateau needs `folds.validation_groups` >= 1 or a "
                "given `folds.validation`: the held-out fold must not choose the rate"
            )
        ensemble = self.train.ensemble
        chosen = ensemble is not None and ensemble.combine != "mean"
        if chosen and not self.folds.validates:
            raise ValueError(
                "`train.ensemble.combine` greedy and stack need "
                "`folds.validation_groups` >= 1 or a given `folds.validation`: the "
                "held-out fold must not choose the weights"
            )
        if self.train.early_stopping and self.train.ema:
            raise ValueError(
                "`train.ema` and `train.early_stopping` do not go together: validation "
                "would score the weights of the moment, not their average"
            )
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> "Experiment":
        if not self.data.labels:
            asked = {"label": self.label, "heads": self.heads, "task": self.task,
                     "loss": self.loss, "predict.line": self.predict.line}  # fmt: skip
            needing = [name for name, value in asked.items() if value]
            if needing:
                raise ValueError(f"{needing} need a label under `data.labels`")
            return self
        for label in self.heads or [self.label_name]:
            check_choice("heads" if self.heads else "label", label, self.data.answered)
        line, classes = self.predict.line, self.data.answered[self.label_name].classes
        for name in line.classes if line else ():
            check_choice("predict.line", name, classes)
        return self

    @model_validator(mode="after")
    def _weights_are_learnt_or_told(self) -> "Experiment":
        if self.train.head_weights is None:
            return self
        if len(self.heads) < 2:
            raise ValueError(
                "`train.head_weights` weighs several heads against each other; name "
                "them under `heads`, or leave it out"
            )
        told = [name for name, head in self.heads.items() if head.weight != 1.0]
        if told:
            raise ValueError(
                f"`train.head_weights` learns the weights; leave out the `weight` of "
                f"{told}, or `train.head_weights`"
            )
        return self

    @model_validator(mode="after")
    def _heads_stand_alone(self) -> "Experiment":
        given = {
            "label": self.label,
            "task": self.task,
            "loss": self.loss,
            "train.metrics": self.train.metrics,
        }
        beside = [name for name, value in given.items() if value is not None]
        if self.heads and beside:
            raise ValueError(
                f"`heads` says for each label what {beside} would say of the only one; "
                "give one or the other"
            )
        return self

    @model_validator(mode="after")
    def _heads_fit_their_labels(self) -> "Experiment":
        for name, head in self.each_head.items():
            check_task(name, self.task_of(name), self.data.answered[name])
            check_fit(self.task_of(name), head.loss, head.metrics)
        return self

    @model_validator(mode="after")
    def _instances_are_mapped(self) -> "Experiment":
        if self.instances is None:
            return self
        products = [p for p in self.predict.products if p.name == "instances"]
        if not products or not products[0].options.get("of"):
            raise ValueError(
                "`instances` scores the product `instances`; add it to "
                "`predict.products` with the classes that objects are made of: "
                "{name: instances, options: {of: [floe]}}"
            )
        check_choice("instances", self.instances, self.data.labels)
        label = self.data.labels[self.instances]
        if label.kind != "value" or label.target != "pixel" or label.outputs:
            raise ValueError(
                f"`instances` must name a label that is one quantity of each pixel, "
                f"the number of its object; {self.instances!r} is not"
            )
        if self.instances in self.each_head or self.data.series is not None:
            raise ValueError(
                f"`instances` goes with single scenes, and with a label that is not "
                f"learnt; leave {self.instances!r} out of the heads, and `data.series`"
            )
        of = {str(name).replace(" ", "_") for name in products[0].options["of"]}
        heads = [self.data.answered[name].classes for name in self.each_head]
        if not any(of <= {c.replace(" ", "_") for c in classes} for classes in heads):
            raise ValueError(
                f"the product `instances` is of {sorted(of)}, and no label that is "
                f"learnt has these classes: {[list(classes) for classes in heads]}"
            )
        return self

    @model_validator(mode="after")
    def _restored_is_one_date(self) -> "Experiment":
        restored = [n for n, label in self.data.labels.items() if label.restores]
        if restored and self.data.series is not None:
            raise ValueError(
                f"`restores` of {restored} is of single scenes, and `data.series` puts "
                "several together; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _members_are_drawn(self) -> "Experiment":
        drawn = [n for n in self.each_head if self.task_of(n) == "dense_ensemble"]
        if not drawn:
            if self.model.diffusion is not None:
                raise ValueError("`model.diffusion` is of the task dense_ensemble")
            return self
        if len(self.each_head) > 1 or self.data.answered[drawn[0]].outputs:
            raise ValueError(
                f"the task dense_ensemble of {drawn[0]!r} draws one quantity; leave "
                "further heads and `outputs` out"
            )
        condition, band = self.data.condition, self.data.answered[drawn[0]].band
        if condition is not None and band in condition.bands:
            raise ValueError(
                f"`data.condition.bands` shows {band!r}, which {drawn[0]!r} is to "
                "draw; leave it out"
            )
        asked = {
            "data.gaps": self.data.gaps,
            "data.series": self.data.series,
            "model.architecture": self.model.architecture,
            "model.warm_start": self.model.warm_start,
            "model.weights": self.model.weights,
            "predict.mc_dropout": self.predict.mc_dropout,
            "predict.tta": self.predict.tta != "none",
            "train.ensemble": self.train.ensemble,
            "train.freeze": self.train.freeze,
            "train.callbacks images": [
                c for c in self.train.callbacks if c.name == "images"
            ],
        }
        given = [key for key, value in asked.items() if value]
        if given:
            raise ValueError(
                f"{given} do not go with the task dense_ensemble, whose network sees "
                "noise beside the image, and draws members that are never averaged; "
                "leave them out"
            )
        return self

    @model_validator(mode="after")
    def _trained_beside_others(self) -> "Experiment":
        check_adversarial(self)
        check_contrastive(self)
        check_shares(self)
        return self

    @model_validator(mode="after")
    def _fusion_has_dates(self) -> "Experiment":
        if "series" in self.model.options and self.data.series is None:
            raise ValueError(
                "`model.options.series` fuses the dates of `data.series`; set it too"
            )
        return self

    @model_validator(mode="after")
    def _sampler_has_classes(self) -> "Experiment":
        sampler = self.train.sampler.name
        boxed = bool(self.data.labels) and (
            self.data.answered[self.label_name].target == "object"
        )
        if boxed != (sampler == "objects") and sampler != "uniform":
            raise ValueError(
                f"`train.sampler` {sampler!r} "
                + (
                    "counts pixels of classes; `objects` is for boxes"
                    if boxed
                    else "is for labels of boxes"
                )
            )
        if sampler in ("objects", "uniform"):
            return self
        if not self.data.labels:
            raise ValueError(f"`train.sampler` {sampler!r} counts classes of a label")
        label = self.label_name
        if not self.data.answered[label].classes:
            raise ValueError(
                f"`train.sampler` {sampler!r} counts classes, which {label!r}, a "
                "quantity, has not; leave it out, or let a label with `classes` lead"
            )
        return self

    @model_validator(mode="after")
    def _windows_have_labels_of_pixels(self) -> "Experiment":
        if self.train.feed != "scenes":
            return self
        if self.data.series is not None:
            raise ValueError(
                "`train.feed: scenes` draws windows from single scenes, and "
                "`data.series` puts several together; leave one of them out"
            )
        learnt = {name: self.data.answered[name] for name in self.each_head}
        boxed = [name for name, label in learnt.items() if label.target == "object"]
        if boxed:
            raise ValueError(
                "`train.feed: scenes` draws windows of pixels, and boxes are cut when "
                f"tiles are. Received: {boxed}; leave `train.feed` out"
            )
        whole = [name for name, label in learnt.items() if label.target != "pixel"]
        if whole:
            raise ValueError(
                "`train.feed: scenes` draws windows, of which a label of whole images "
                f"says nothing. Received: {whole}; leave `train.feed` out"
            )
        return self

    @property
    def each_head(self) -> dict[str, HeadConfig]:
        """Label -> its head, also where there is one only; the first leads.

        Empty where nothing is labelled.
        """
        if self.heads or not self.data.labels:
            return self.heads
        only = HeadConfig(task=self.task, loss=self.loss, metrics=self.train.metrics)
        return {self.label_name: only}

    def task_of(self, label: str) -> str:
        """Name of the task that learns a label.

        Args:
            label: A key of ``each_head``.
        """
        task = self.each_head[label].task
        learnt = self.data.answered[label]
        turned = learnt.boxes is not None and learnt.boxes.form == "oriented"
        return task or label_task(learnt.target, learnt.kind, oriented=turned)

    @property
    def label_name(self) -> str:
        """The label that is learnt; of several the first."""
        return self.label or next(iter(self.heads or self.data.answered))

    @property
    def stored_labels(self) -> list[str]:
        """The labels that the store must hold: of a series without their dates."""
        learnt = [self.data.answered[name] for name in self.each_head]
        labels = self.data.labels.items()
        return [n for n, label in labels if label in learnt or n == self.instances]

    @property
    def line_rule(self) -> dict[str, Any] | None:
        """How a line is traced; classes as the store writes them, without blanks."""
        line = self.predict.line
        if line is None:
            return None
        told = line.model_dump(exclude_defaults=True)
        named = [name.replace(" ", "_") for name in line.classes]
        return (
            told | {"name": named[0]} | ({"between": named[1:]} if line.between else {})
        )

    @property
    def store_path(self) -> Path:
        """Where the tile store lies."""
        return Path(self.tiles.store or f"data/{self.name}.tiles")
