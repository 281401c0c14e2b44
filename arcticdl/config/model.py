"""The ``model`` section: the network."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from arcticdl.choices import check_choice
from arcticdl.config.names import (
    ADAPTER,
    ARCHITECTURE,
    BACKBONE,
    DECODER,
    DETECTOR,
    check_weights,
)
from arcticdl.config.section import Section
from arcticdl.tasks.table import TASKS


class WarmStartConfig(Section):
    """A trained run whose weights are the first ones; its folder alone may stand."""

    alone = "run"

    run: str = Field(min_length=1, description="Its folder, such as runs/NAME.")
    fold: Annotated[int, Field(ge=0)] | Literal["full"] | None = Field(
        None, description="Which of its models; null: that of the fold in training."
    )


class DiffusionConfig(Section):
    """How an ensemble is drawn, by a network that takes noise away step by step."""

    steps: PositiveInt = Field(
        1000, description="Steps from an image to noise that the network learns."
    )
    sampling_steps: PositiveInt = Field(
        20, description="Steps that sampling takes, at most `steps`."
    )
    members: int = Field(8, ge=2, description="Members of the ensemble.")

    @model_validator(mode="after")
    def _steps_are_there(self) -> "DiffusionConfig":
        if self.sampling_steps > self.steps:
            raise ValueError(
                f"`sampling_steps` must be at most `steps`, {self.steps}; got "
                f"{self.sampling_steps}"
            )
        return self


class AdversarialConfig(Section):
    """A second network judges patches of what a head restores; both learn together."""

    contest: Literal["hinge", "least_squares"] = Field(
        "hinge", description="What the two networks want of its scores."
    )
    weight: PositiveFloat = Field(
        0.01,
        description="Of the adversarial loss beside `loss`, which is in the label's "
        "unit.",
    )


class ContrastiveConfig(Section):
    """The network learns to tell two views of a tile from those of other tiles."""

    temperature: PositiveFloat = Field(
        0.1, description="Of the loss; the smaller, the more the nearest tiles count."
    )
    size: PositiveInt = Field(64, description="Numbers of the code of a tile.")
    reconstruct: float = Field(
        0.0,
        ge=0,
        description="Weight of `loss` beside it; 0: the label is not learnt, nor the "
        "head.",
    )


class ModelConfig(Section):
    """The network; ``options`` go to ``build_multitask``, or ``build_detector``."""

    backbone: Annotated[str, BACKBONE] = Field(
        "resnet18", description="Network that sees the bands."
    )
    decoder: Annotated[str, DECODER] = Field(
        "unet", description="Way back to the image's resolution."
    )
    detector: Annotated[str, DETECTOR] = Field(
        "fcos",
        description="What finds objects on the backbone's levels, where the label "
        "holds boxes; in place of the decoder.",
    )
    architecture: Annotated[str, ARCHITECTURE] | None = Field(
        None,
        description="Whole network of segmentation-models on a backbone sm_..., in "
        "place of the decoder; null: none.",
    )
    weights: str | None = Field(
        None,
        description="imagenet, a name of `arcticdl weights list`, or a checkpoint's "
        "path; null: random.",
    )
    adapter: Annotated[str, ADAPTER] = Field(
        "by_band", description="How pretrained kernels fit the bands of the data."
    )
    warm_start: WarmStartConfig | None = Field(
        None, description="Run whose weights are the first ones; null: none."
    )
    diffusion: DiffusionConfig | None = Field(
        None,
        description="How members are drawn, of the task dense_ensemble; null: its "
        "defaults.",
    )
    adversarial: AdversarialConfig | None = Field(
        None,
        description="A network that judges what a label with `restores` is given "
        "(conditional GAN); null: none.",
    )
    contrastive: ContrastiveConfig | None = Field(
        None,
        description="Learn from two views of each tile, made by `train.augment`, in "
        "place of labels (SimCLR); null: no.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of the builder, such as backbone_options.",
    )

    @field_validator("weights")
    @classmethod
    def _weights_fit(cls, weights: str | None, info: ValidationInfo) -> str | None:
        if weights is None or "backbone" not in info.data:
            return weights
        if info.data.get("architecture") is None:
            check_weights(weights, info.data["backbone"])
        elif weights != "imagenet":
            check_choice("weights", weights, ("imagenet",))
        return weights

    @model_validator(mode="after")
    def _architecture_has_its_encoder(self) -> "ModelConfig":
        if self.architecture is not None and not self.backbone.startswith("sm_"):
            raise ValueError(
                "`architecture` is built on an encoder of segmentation-models, such as "
                f"`backbone: sm_resnet34`. Received: backbone={self.backbone!r}"
            )
        return self

    @model_validator(mode="after")
    def _begins_in_one_way(self) -> "ModelConfig":
        if self.weights is not None and self.warm_start is not None:
            raise ValueError(
                "`weights` and `warm_start` both say how the network begins; give one"
            )
        return self


def check_adversarial(config: Any) -> None:
    """Refuses an experiment in which there is nothing that a network could judge.

    Args:
        config: The experiment.

    Raises:
        ValueError: There is not, or something does not go with it.
    """
    if config.model.adversarial is None:
        return
    heads = list(config.each_head)
    fits = len(heads) == 1 and config.task_of(heads[0]) == "dense_regression"
    if not fits or not config.data.answered[heads[0]].restores:
        raise ValueError(
            "`model.adversarial` judges the answer of one head, of the task "
            "dense_regression and a label with `restores`; give that, or leave it "
            "out"
        )
    _refuse_beside(config, "model.adversarial", {})


def check_contrastive(config: Any) -> None:
    """Refuses an experiment whose tiles have no two views, or nothing that they teach.

    Args:
        config: The experiment.

    Raises:
        ValueError: It is so, or something does not go with it.
    """
    if config.model.contrastive is None:
        return
    tasks = [config.task_of(name) for name in config.each_head]
    spec = TASKS[tasks[0]] if len(tasks) == 1 else None
    if spec is None or not spec.dense or spec.kind in ("boxes", "members"):
        raise ValueError(
            "`model.contrastive` needs one head that answers for pixels, such as a "
            f"label with `restores`; got the tasks {tasks}"
        )
    steps = [step["name"] for step in config.train.augment]
    mixed = sorted(set(steps) & set(MIXING))
    if not steps or mixed:
        raise ValueError(
            "`model.contrastive` compares two views of each tile, which "
            "`train.augment` makes; give it steps, none of which mixes tiles "
            f"({', '.join(MIXING)}); got {mixed or 'none'}"
        )
    if config.train.batch_size in (1, "auto"):  # of which the loss is another
        raise ValueError(
            "`model.contrastive` tells the tiles of a batch from each other, and "
            "`train.batch_size` must be a number, at least 2; got "
            f"{config.train.batch_size}"
        )
    asked = {
        "data.series": config.data.series,
        "model.adversarial": config.model.adversarial,
        "train.layer_decay": config.train.layer_decay,
        "train.unfreeze": config.train.unfreeze,
        "train.callbacks images": [
            c for c in config.train.callbacks if c.name == "images"
        ],
    }
    _refuse_beside(config, "model.contrastive", asked)


MIXING = ("classmix", "copy_paste", "cutmix", "mixup")
"""Steps of augmentation that make one tile of two."""


def _refuse_beside(config: Any, key: str, further: dict[str, Any]) -> None:
    asked = {
        "model.architecture": config.model.architecture,
        "train.ensemble": config.train.ensemble,
        "train.devices": config.train.devices != 1,
        **further,
    }
    given = [name for name, value in asked.items() if value]
    if given:
        raise ValueError(f"{given} do not go with `{key}`; leave one of them out")


def check_shares(config: Any) -> None:
    """Refuses what does not go with a label of shares, of which no pixel is known.

    Args:
        config: The ``Experiment``.

    Raises:
        ValueError: Something does not go with it.
    """
    charted = [n for n in config.each_head if config.data.answered[n].shares]
    joined = config.train.ensemble
    asked = {
        "data.series": config.data.series,
        "strata_within": config.strata_within,
        "train.ensemble.combine stack": joined and joined.combine == "stack",
    }
    given = [key for key, value in asked.items() if value]
    steps = [step["name"] for step in config.train.augment if step["name"] in MIXING]
    given += [f"train.augment {steps}"] if steps else []
    if charted and given:
        raise ValueError(
            f"{given} do not go with the `shares` of {charted}: a polygon is of one "
            "scene, and nobody knows what one of its pixels is; leave them out"
        )
