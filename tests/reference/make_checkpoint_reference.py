"""Make the small checkpoints anew that PyTorch itself has written.

Usage: python tests/reference/make_checkpoint_reference.py
Written with torch 2.15.0 and safetensors 0.8.0.
"""

import collections
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
generator = torch.Generator().manual_seed(0)
base = torch.randn(4, 6, generator=generator)
tensors = collections.OrderedDict(
    float32=base.clone(),
    transposed=base.t(),
    part=base[1:3, ::2],
    parameter=torch.nn.Parameter(base[:2].clone()),
    float16=base.half(),
    bfloat16=base.bfloat16(),
    count=torch.tensor(7),
    empty=torch.zeros(0, 3),
    flags=torch.tensor([True, False]),
)
content = {"epoch": 3, "name": "small", "best": 0.25, "state_dict": tensors}
torch.save(content, HERE / "small_zip.pth")
torch.save(content, HERE / "small_stream.pth", _use_new_zipfile_serialization=False)
save_file(
    {key: value.detach().contiguous() for key, value in tensors.items()},
    HERE / "small.safetensors",
)
np.savez(
    HERE / "small.npz",
    **{
        key: value.detach().float().numpy() if value.is_floating_point() else value
        for key, value in tensors.items()
    },
)
