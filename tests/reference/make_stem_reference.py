"""Make the reference of the first convolution's rule anew, with timm and smp.

Usage: python tests/reference/make_stem_reference.py
Written with torch 2.15.0, timm 1.0.31 and segmentation-models-pytorch 0.6.0.
"""

import pathlib

import numpy as np
import torch
from segmentation_models_pytorch.encoders._utils import patch_first_conv
from timm.models import adapt_input_conv

kernel = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
arrays = {"kernel": kernel.numpy()}
for num_bands in (1, 2, 3, 4, 7, 13):
    arrays[f"timm_{num_bands}"] = adapt_input_conv(num_bands, kernel.clone()).numpy()
    convolution = torch.nn.Conv2d(3, 4, 3, bias=False)
    convolution.weight.data = kernel.clone()
    patch_first_conv(torch.nn.Sequential(convolution), num_bands, pretrained=True)
    arrays[f"smp_{num_bands}"] = convolution.weight.detach().numpy()
np.savez_compressed(pathlib.Path(__file__).with_name("stem.npz"), **arrays)
