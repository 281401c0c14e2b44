"""Make the reference values of the losses anew, with torch, smp, torchvision, MONAI.

Usage: python tests/reference/make_losses_reference.py
Written with torch 2.15.0, torchvision 0.29.2, segmentation-models-pytorch 0.6.0 and
MONAI 1.6.1.
"""

import pathlib

import numpy as np
import segmentation_models_pytorch.losses as smp
import torch
import torchvision
from monai.losses import GeneralizedDiceLoss, SoftclDiceLoss
from torch.nn import functional

SEED = 7
generator = torch.Generator().manual_seed(SEED)
logits = torch.randn(2, 8, 8, 3, generator=generator)
label = torch.randint(0, 3, (2, 8, 8), generator=generator)
void = torch.rand(2, 8, 8, generator=generator) < 0.3
line = torch.zeros(1, 16, 16, dtype=torch.long)
line[:, 3:6] = 1
line[:, :, 9:11] = 1
line_logits = 3.0 * torch.randn(1, 16, 16, 1, generator=generator)
boxes = torch.rand(2, 6, 4, generator=generator)
boxes[..., 2:] += boxes[..., :2]
guess = torch.rand(2, 6, 4, generator=generator)
guess[..., 2:] += guess[..., :2]

masked = torch.where(void, 255, label)
first, planes = logits.movedim(-1, 1), functional.one_hot(label, 3).movedim(-1, 1)
weights = torch.tensor([0.5, 1.0, 2.0])
yes, one = (label > 0).float(), logits[..., 0]
one_masked = torch.where(void, 255, (label > 0).long())
line_first, line_plane = line_logits.movedim(-1, 1), line[:, None].float()


def crossentropy(**options):
    return functional.cross_entropy(first, masked, ignore_index=255, **options)


values = {
    "crossentropy": crossentropy(),
    "crossentropy_weighted": crossentropy(weight=weights),
    "crossentropy_smoothed": crossentropy(label_smoothing=0.1),
    "crossentropy_binary": functional.binary_cross_entropy_with_logits(one, yes),
    "focal_binary": torchvision.ops.sigmoid_focal_loss(
        one, yes, alpha=-1, gamma=2, reduction="mean"
    ),
    "focal_binary_void": smp.FocalLoss("binary", ignore_index=255)(one, one_masked),
    "dice": smp.DiceLoss("multiclass", ignore_index=255)(first, masked),
    "dice_smooth": smp.DiceLoss("multiclass", smooth=1.0)(first, label),
    "dice_binary": smp.DiceLoss("binary", ignore_index=255)(one, one_masked),
    "jaccard": smp.JaccardLoss("multiclass")(first, label),
    "tversky": smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7)(first, label),
    "focal_tversky": smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7, gamma=0.75)(
        first, label
    ),
    "generalized_dice": GeneralizedDiceLoss(
        softmax=True, batch=True, smooth_nr=0.0, smooth_dr=0.0
    )(first, planes),
    "generalized_dice_sample": GeneralizedDiceLoss(
        softmax=True, smooth_nr=0.0, smooth_dr=0.0
    )(first, planes),
    "lovasz": smp.LovaszLoss("multiclass", ignore_index=255)(first, masked),
    "lovasz_sample": smp.LovaszLoss("multiclass", per_image=True, ignore_index=255)(
        first, masked
    ),
    "lovasz_hinge": smp.LovaszLoss("binary", ignore_index=255)(one, one_masked),
    "centerline": SoftclDiceLoss(iter_=4, smooth=1e-9, sigmoid=True)(
        line_first, line_plane
    ),
    "huber": functional.huber_loss(logits[..., 0], logits[..., 1], delta=0.7),
    "gaussian": functional.gaussian_nll_loss(
        logits[..., 0], logits[..., 2], logits[..., 1].exp()
    ),
    "giou": torchvision.ops.generalized_box_iou_loss(guess, boxes, reduction="mean"),
}
arrays = {name: value.detach().numpy() for name, value in values.items()}
arrays |= {"logits": logits.numpy(), "label": label.numpy().astype("uint8")}
arrays |= {"void": void.numpy(), "line": line.numpy().astype("uint8")}
arrays |= {"line_logits": line_logits.numpy()}
arrays |= {"boxes": boxes.numpy(), "guess": guess.numpy()}
np.savez_compressed(pathlib.Path(__file__).with_name("losses.npz"), **arrays)
