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
