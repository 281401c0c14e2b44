"""Make the Swin references anew, with torchvision.

Usage: python tests/reference/make_swin_reference.py
Needs torch and torchvision; written with torch 2.15.0 and torchvision 0.29.2.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from torchvision.models import swin_transformer as tv

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "models"))
from torch_recipe import make_image, make_state  # noqa: E402

SIZES = {"embed_dim": 4, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 4]}
BANDS = (1, 2, 3, 9, 13)
HEIGHT, WIDTH = 61, 77


def build(version, num_bands):
    window = [8, 8] if version == 2 else [7, 7]
    options = {}
    if version == 2:
        options = {
            "block": tv.SwinTransformerBlockV2,
            "downsample_layer": tv.PatchMergingV2,
        }
    model = tv.SwinTransformer([4, 4], window_size=window, **SIZES, **options)
    model.features[0][0] = torch.nn.Conv2d(num_bands, SIZES["embed_dim"], 4, 4)
    shapes = {
        key: list(value.shape)
        for key, value in model.state_dict().items()
        if "relative_position_index" not in key
        and "coords_table" not in key
        and not key.startswith(("head", "norm"))
    }
    state = {key: torch.tensor(v) for key, v in make_state(shapes).items()}
    model.load_state_dict(state, strict=False)
    return model.eval(), shapes


@torch.no_grad()
def pyramid(model, image):
    # torchvision's patch embedding drops the rest of an odd size; pad it as we do.
    extra = [(-size) % 4 for size in image.shape[1:3]]
    image = np.pad(image, [(0, 0), (0, extra[0]), (0, extra[1]), (0, 0)])
    x = torch.tensor(image).permute(0, 3, 1, 2)
    levels = {}
    for number, stage in enumerate(model.features):
        x = stage(x)
        if number % 2 == 1:
            levels[f"P{number // 2 + 2}"] = x.numpy()
    return levels


for version in (1, 2):
    arrays = {}
    for num_bands in BANDS:
        model, shapes = build(version, num_bands)
        image = make_image(num_bands, HEIGHT, WIDTH, seed=num_bands)
        for level, value in pyramid(model, image).items():
            arrays[f"{level}_{num_bands}"] = value
        arrays[f"shapes_{num_bands}"] = np.array(json.dumps(shapes))
    name = "swin_v2" if version == 2 else "swin"
    np.savez_compressed(HERE / f"{name}.npz", **arrays)
