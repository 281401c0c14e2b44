"""Make the references of timm's feature extractors anew.

``timm.create_model(..., features_only=True)`` joins the name of a sequence and the
number of its part by ``_``: ``stages_0.``, ``layers_0.``, ``stem_0.``.

Usage: python tests/reference/make_features_reference.py
Needs torch and timm; written with torch 2.13.0 and timm 1.0.31.
"""

import json
import pathlib
import sys

import numpy as np
import timm
import torch

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "models"))
from torch_recipe import make_image, make_state, sample  # noqa: E402

# A whole number of windows at each stage, where timm and torchvision agree: timm shifts
# a map before it pads it.
SIZE = 224
EXTRACTORS = {
    "convnext": ("convnext_tiny", {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}),
    "resnet": ("resnet18", {}),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4)},
    ),
}
NOT_LEARNT = ("num_batches_tracked", "relative_position_index", "attn_mask")


@torch.no_grad()
def extract(name, options, num_bands=2):
    model = timm.create_model(name, features_only=True, in_chans=num_bands, **options)
    shapes = {
        key: list(value.shape)
        for key, value in model.state_dict().items()
        if not key.endswith(NOT_LEARNT)
    }
    state = {key: torch.tensor(v) for key, v in make_state(shapes).items()}
    model.load_state_dict(state, strict=False)
    image = make_image(num_bands, SIZE, SIZE)
    maps = model.eval()(torch.tensor(image).permute(0, 3, 1, 2))
    levels = {}
    for value, stride in zip(maps, model.feature_info.reduction(), strict=True):
        if value.shape[1] == SIZE // stride:  # (batch, y, x, channel), as Swin gives it
            value = value.permute(0, 3, 1, 2)
        levels[f"P{int(np.log2(stride))}"] = sample(value.permute(0, 2, 3, 1))
    return {**levels, "shapes": np.array(json.dumps(shapes))}


np.savez_compressed(
    HERE / "features.npz",
    **{
        f"{family}_{key}": value
        for family, (name, options) in EXTRACTORS.items()
        for key, value in extract(name, options).items()
    },
)
