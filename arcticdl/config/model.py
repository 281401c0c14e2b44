"""The ``model`` section: the network."""

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from arcticdl.config.names import ADAPTER, BACKBONE, DECODER, check_weights
from arcticdl.config.section import Section


class ModelConfig(Section):
    """The network; ``options`` go to ``build_segmenter``."""

    backbone: Annotated[str, BACKBONE] = Field(
        "resnet18", description="Network that sees the bands."
    )
    decoder: Annotated[str, DECODER] = Field(
        "unet", description="Way back to the image's resolution."
    )
    weights: str | None = Field(
        None,
        description="imagenet, a name of `arcticdl weights list`, or a checkpoint's "
        "path; null: random.",
    )
    adapter: Annotated[str, ADAPTER] = Field(
        "by_band", description="How pretrained kernels fit the bands of the data."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of the builder, such as backbone_options.",
    )

    @field_validator("weights")
    @classmethod
    def _weights_fit(cls, weights: str | None, info: ValidationInfo) -> str | None:
        if weights is not None and "backbone" in info.data:
            check_weights(weights, info.data["backbone"])
        return weights
