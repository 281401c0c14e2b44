"""The ``model`` section: the network."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from arcticdl.config.names import (
    ADAPTER,
    BACKBONE,
    DECODER,
    WEIGHTS,
    check_weights_of,
    is_path,
)
from arcticdl.config.section import Section


class ModelConfig(Section):
    """The network; ``options`` go to ``build_segmenter``."""

    backbone: Annotated[str, BACKBONE] = Field(
        "resnet18", description="Network that sees the bands."
    )
    decoder: Annotated[str, DECODER] = Field(
        "unet", description="Way back to the image's resolution."
    )
    weights: Annotated[str, WEIGHTS] | None = Field(
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

    @model_validator(mode="after")
    def _weights_fit(self) -> "ModelConfig":
        if self.weights is not None and not is_path(self.weights):
            check_weights_of(self.backbone, self.weights)
        return self
