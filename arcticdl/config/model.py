"""The ``model`` section: the network."""

from typing import Any

from pydantic import Field

from arcticdl.config.section import Section


class ModelConfig(Section):
    """The network; ``options`` go to ``build_segmenter``."""

    backbone: str = Field("resnet18", description="Network that sees the bands.")
    decoder: str = Field("unet", description="Way back to the image's resolution.")
    weights: str | None = Field(
        None,
        description="imagenet, a name of `arcticdl weights list`, or a checkpoint's "
        "path; null: random.",
    )
    adapter: str = Field(
        "by_band", description="How pretrained kernels fit the bands of the data."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of the builder, such as backbone_options.",
    )
