"""Whole networks of ``segmentation-models`` by name, listed without loading Keras."""

ARCHITECTURES: dict[str, tuple[str, int]] = {
    "FPN": ("segmentation_models.models.fpn", 32),
    "Linknet": ("segmentation_models.models.linknet", 32),
    "PSPNet": ("segmentation_models.models.pspnet", 48),
    "Unet": ("segmentation_models.models.unet", 32),
}
"""The package's models: module, and the number of which sizes must be multiples."""
