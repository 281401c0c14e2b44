"""Make the references of ResNet, ConvNeXt and whole segmenters anew.

Usage: python tests/reference/make_network_reference.py
Needs torch, timm, segmentation-models-pytorch and the sample data's CIFAR checkpoint;
written with torch 2.15.0, timm 1.0.31 and segmentation-models-pytorch 0.6.0.
"""

import json
import os
import pathlib
import sys

import numpy as np
import segmentation_models_pytorch as smp
import timm
import torch
from timm.models.convnext import ConvNeXt
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "models"))
from torch_recipe import make_image, make_state, sample  # noqa: E402

DATA = pathlib.Path(
    os.environ.get("ARCTICDL_SAMPLE_DATA", HERE.parents[2] / "shared" / "data")
)
BANDS = (1, 2, 3, 9, 13)
HEIGHT, WIDTH = 61, 77


def load_recipe(model):
    shapes = {
        key: list(value.shape)
        for key, value in model.state_dict().items()
        if "num_batches_tracked" not in key
    }
    state = {key: torch.tensor(v) for key, v in make_state(shapes).items()}
    model.load_state_dict(state, strict=False)
    model.eval()
    return json.dumps(shapes)


def to_torch(image):
    return torch.tensor(image).permute(0, 3, 1, 2)


@torch.no_grad()
def pyramid(name, num_bands, first):
    if name == "convnext":
        model = ConvNeXt(num_bands, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
    else:
        model = timm.create_model(name, in_chans=num_bands)
    shapes = load_recipe(model)
    image = make_image(num_bands, HEIGHT, WIDTH, seed=num_bands)
    maps = model.forward_intermediates(to_torch(image), intermediates_only=True)
    levels = {
        f"P{k}": sample(value.permute(0, 2, 3, 1))
        for k, value in enumerate(maps, start=first)
    }
    return {**levels, "shapes": np.array(shapes)}


@torch.no_grad()
def segmenter(kind, num_bands):
    model = getattr(smp, kind)(
        "resnet18", encoder_weights=None, in_channels=num_bands, classes=4
    )
    shapes = load_recipe(model)
    image = make_image(num_bands, HEIGHT, WIDTH, seed=num_bands)
    # The package refuses sizes that its stride does not divide; pad and crop as we do.
    stride = 16 if kind == "DeepLabV3Plus" else 32
    extra = [(-size) % stride for size in (HEIGHT, WIDTH)]
    padded = F.pad(to_torch(image), (0, extra[1], 0, extra[0]))
    logits = model(padded)[:, :, :HEIGHT, :WIDTH].permute(0, 2, 3, 1)
    return {"logits": sample(logits, 2000), "shapes": np.array(shapes)}


class CifarBlock(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.extra = stride, width - inputs

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        side = self.extra // 2
        x = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(x, (0, 0, 0, 0, side, side)))


class CifarResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inputs = 16
        for number, width in enumerate((16, 32, 64), 1):
            strides = (1 if number == 1 else 2, 1, 1)
            blocks = []
            for stride in strides:
                blocks.append(CifarBlock(inputs, width, stride))
                inputs = width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


@torch.no_grad()
def cifar():
    path = DATA / "weights" / "cifar10_resnet20-12fca82f.th"
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = CifarResNet20()
    model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    images = [make_image(3, 32, 32, seed=seed) for seed in range(4)]
    logits = model.eval()(to_torch(np.concatenate(images)))
    return {"logits": logits.numpy()}


networks = {f"convnext_{c}": pyramid("convnext", c, 2) for c in BANDS}
networks |= {f"resnet18_{c}": pyramid("resnet18", c, 1) for c in BANDS}
networks["resnet50_13"] = pyramid("resnet50", 13, 1)
networks["unet_3"] = segmenter("Unet", 3)
networks["unet_13"] = segmenter("Unet", 13)
networks["fpn_2"] = segmenter("FPN", 2)
networks["deeplabv3plus_9"] = segmenter("DeepLabV3Plus", 9)
networks["cifar_3"] = cifar()
np.savez_compressed(
    HERE / "networks.npz",
    **{f"{n}_{key}": v for n, arrays in networks.items() for key, v in arrays.items()},
)
