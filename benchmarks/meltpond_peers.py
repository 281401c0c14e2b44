"""U-Nets of segmentation-models-pytorch on the melt ponds, for as much computing.

    python benchmarks/meltpond_peers.py DATA --peers PYTHON [--minutes 7] [--json FILE]

``DATA`` is the folder with ``meltpond_tir`` and ``weights``; ``PYTHON`` an interpreter
with torch, segmentation-models-pytorch, timm and h5py. The folds are those of
`configs/meltpond.yaml`. Minutes are those of the processor, of all threads together:
a training ends when its process has had so many, whatever runs beside it. Crops, turns,
scales, shades, noise, loss, optimiser, rate, mean of the weights and the eight views of
prediction are as there; the decoder is that of the peer.

``--scaling image`` is what most would write: each image by its mean and deviation.
``--scaling mode`` adds what was found for these data: scaling about the commonest
value, contrast turned round about it.

The encoder ``mobilenetv2`` is timm's MobileNetV2-0.35 with the ImageNet weights that
the configuration begins with, carried over from Keras's file; how far its features are
from Keras's is told first. ``resnet18`` begins at random, since no file of its weights
is at hand.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TESTED = ((2, 4, 5, 8), (0, 1, 6, 10), (3, 7, 9))
CLASSES = ("melt pond", "sea ice", "ocean")
ENCODERS = ("resnet18", "mobilenetv2")
WEIGHTS = "weights/mobilenetv2_035_224_imagenet_notop.weights.h5"
CROP, BATCH, RATE = 256, 8, 0.002
# Layers of Keras's network after which timm's halves its maps.
STAGES = (
    "expanded_conv_project_BN",
    "block_2_add",
    "block_5_add",
    "block_12_add",
    "block_16_project_BN",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", help="interpreter with torch, timm, smp and h5py")
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=ENCODERS)
    parser.add_argument("--scaling", choices=("image", "mode"), default="image")
    parser.add_argument("--folds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="a line a training is added to it")
    parser.add_argument("--work", choices=("features", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work == "features":
        compare_features(given.data / WEIGHTS, given.features)
    elif given.work == "train":
        train(given)
    else:
        run_all(given)


def run_all(given: argparse.Namespace) -> None:
    """Each training in a process of the peers' interpreter, one after the other."""
    call = [given.peers or sys.executable, __file__, str(given.data), "--work"]
    if "mobilenetv2" in given.encoders:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "features.npz"
            write_features(given.data / WEIGHTS, file)
            subprocess.run([*call, "features", "--features", str(file)], check=True)
    asked = ["--scaling", given.scaling, "--minutes", str(given.minutes)]
    asked += ["--seed", str(given.seed)]
    for encoder in given.encoders:
        tables = []
        for fold in given.folds:
            one = ["train", "--encoders", encoder, "--folds", str(fold), *asked]
            done = subprocess.run([*call, *one], check=True, stdout=subprocess.PIPE)
            found = json.loads(done.stdout.splitlines()[-1])
            print(json.dumps(found), flush=True)
            if given.json:
                with given.json.open("a") as file:
                    print(json.dumps(found), file=file)
            tables.append(np.array(found["table"]))
        print(f"{encoder}, folds {list(given.folds)}: {scores(sum(tables))}")


def write_features(weights: Path, file: Path) -> None:
    """What Keras's network answers to noise in one band, after each halving."""
    import keras

    network = keras.applications.MobileNetV2(
        (CROP, CROP, 3), alpha=0.35, include_top=False, weights=None
    )
    network.load_weights(weights)
    outputs = [network.get_layer(name).output for name in STAGES]
    image = np.random.default_rng(0).normal(size=(1, CROP, CROP, 1)).astype("float32")
    answers = keras.Model(network.input, outputs)(np.repeat(image, 3, -1))
    features = [np.moveaxis(np.asarray(answer), -1, 1) for answer in answers]
    held = dict(zip(STAGES, features, strict=True))
    np.savez(file, image=np.moveaxis(image, -1, 1), **held)


def compare_features(weights: Path, file: Path) -> None:
    """Prints how far the encoder with carried weights is from Keras's network."""
    import torch

    held = np.load(file)
    encoder = build("mobilenetv2", weights).encoder.eval()
    with torch.no_grad():
        found = encoder(torch.from_numpy(held["image"]))[1:]
    for name, own in zip(STAGES, found, strict=True):
        there = held[name]
        far = np.abs(own.numpy() - there).max() / np.abs(there).max()
        print(f"{name}: {there.shape[1]} features, at most {far:.1e} of their largest")


def train(given: argparse.Namespace) -> None:
    """One training; prints its scores as JSON."""
    import torch

    torch.manual_seed(given.seed)
    torch.set_num_threads(2)
    images = np.load(given.data / "meltpond_tir/train_images.npy").astype(np.float32)
    masks = np.load(given.data / "meltpond_tir/train_masks.npy").astype(np.int64)
    scaled = np.stack([scale(image, given.scaling) for image in images])
    (encoder,), (fold,) = given.encoders, given.folds
    tested = list(TESTED[fold])
    learnt = [k for k in range(len(images)) if k not in tested]
    weights = given.data / WEIGHTS if encoder == "mobilenetv2" else None
    model = build(encoder, weights)
    parts = torch.from_numpy(scaled[learnt]), torch.from_numpy(masks[learnt])
    inverts = given.scaling == "mode"
    steps = fit(model, *parts, given.minutes * 60, inverts, given.seed)
    spent = time.process_time() / 60
    found = np.stack([answer(model, scaled[k]) for k in tested])
    table = np.bincount(3 * masks[tested].ravel() + found.ravel(), minlength=9)
    table = table.reshape(3, 3)
    told = {"encoder": encoder, "scaling": given.scaling, "fold": fold}
    told |= {"imagenet": weights is not None, "seed": given.seed, "steps": steps}
    told |= {"minutes": round(spent, 2), **scores(table), "table": table.tolist()}
    print(json.dumps(told))


def scale(image: np.ndarray, how: str) -> np.ndarray:
    """An image about its mean, or about the middle of its densest 40 %."""
    if how == "image":
        return (image - image.mean()) / image.std()
    values = np.sort(image.ravel())
    count = int(0.4 * len(values))
    start = np.argmin(values[count:] - values[: len(values) - count])
    centre = np.median(values[start : start + count])
    return (image - centre) / image.std()


def build(encoder: str, weights: Path | None):
    """A U-Net of one band; zeros stand around images as Keras sets them."""
    import torch

    # timm imports torchvision, whose wheel for CUDA lacks its operators beside a torch
    # for processors; no network here calls them.
    operators = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            operators.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
    import segmentation_models_pytorch as smp

    told = {"encoder_weights": None, "in_channels": 1, "classes": len(CLASSES)}
    if encoder == "resnet18":
        return smp.Unet(encoder, **told)
    model = smp.Unet("tu-mobilenetv2_035", pad_type="same", **told)
    carry(model.encoder, weights)
    return model


def carry(encoder, weights: Path) -> None:
    """Fills an encoder with Keras's weights, whose layers come in the same order."""
    import torch

    held = layers_of(weights)
    with torch.no_grad():
        for layer in encoder.modules():
            if isinstance(layer, torch.nn.Conv2d) and layer.groups > 1:
                (kernel,) = held["depthwise_conv2d"].pop(0)
                fill(layer.weight, kernel.transpose(2, 3, 0, 1))
            elif isinstance(layer, torch.nn.Conv2d):
                (kernel,) = held["conv2d"].pop(0)
                kernel = kernel.transpose(3, 2, 0, 1)
                if layer.in_channels == 1:
                    kernel = kernel.sum(1, keepdims=True)  # as `adapter: sum`
                fill(layer.weight, kernel)
            elif isinstance(layer, torch.nn.BatchNorm2d):
                own = layer.weight, layer.bias, layer.running_mean, layer.running_var
                arrays = held["batch_normalization"].pop(0)
                for tensor, array in zip(own, arrays, strict=True):
                    fill(tensor, array)
                layer.eps = 1e-3
    left = {kind: len(arrays) for kind, arrays in held.items()}
    if left != {"conv2d": 1, "depthwise_conv2d": 0, "batch_normalization": 1}:
        raise SystemExit(f"the file has other layers than the encoder: {left} are left")


def layers_of(path: Path) -> dict[str, list]:
    """Arrays of Keras's file by kind of layer, each in the order of the network."""
    import h5py

    found: dict[str, list] = {}
    with h5py.File(path) as file:
        layers = file["layers"]
        for kind in ("conv2d", "depthwise_conv2d", "batch_normalization"):
            own = {int(n[len(kind) + 1 :] or 0): n for n in layers if is_of(n, kind)}
            arrays = [layers[own[number]]["vars"] for number in sorted(own)]
            found[kind] = [[a[key][()] for key in sorted(a, key=int)] for a in arrays]
    return found


def is_of(name: str, kind: str) -> bool:
    """Whether a layer's name is that of a kind, or with a number behind it."""
    return name == kind or name.startswith(f"{kind}_")


def fill(tensor, array: np.ndarray) -> None:
    """Copies an array into a tensor of the same shape."""
    import torch

    if tuple(tensor.shape) != array.shape:
        raise SystemExit(f"{tuple(tensor.shape)} in torch, {array.shape} in the file")
    tensor.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def fit(model, images, masks, seconds: float, inverts: bool, seed: int) -> int:
    """Trains for so many seconds of the processor; returns the number of steps."""
    import torch

    rng = np.random.default_rng(seed)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-4)
    mean = {k: v.clone() for k, v in model.state_dict().items()}
    steps = 0
    model.train()
    while (spent := time.process_time() / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, spent / 0.05) * (1 + np.cos(np.pi * spent)) / 2
        batch = [crop(images, masks, rng, inverts) for _ in range(BATCH)]
        x, y = (torch.stack(part) for part in zip(*batch, strict=True))
        x = x.to(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        dice_focal(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        keep = min(0.98, steps / (steps + 9))
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if value.is_floating_point():
                    mean[key].mul_(keep).add_(value, alpha=1 - keep)
                else:
                    mean[key].copy_(value)
    model.load_state_dict(mean)
    return steps


def crop(images, masks, rng: np.random.Generator, inverts: bool):
    """A window of an image, turned, scaled, mirrored and shaded; and its mask."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    k, turned = rng.integers(len(images)), rng.random() < 0.7
    angle = np.deg2rad(rng.uniform(-20, 20)) if turned else 0.0
    larger = rng.uniform(0.8, 1.25) if turned else 1.0
    reach = CROP / larger / images.shape[1]
    across, down = rng.uniform(reach - 1, 1 - reach, 2)
    cos, sin = reach * np.cos(angle), reach * np.sin(angle)
    theta = torch.tensor([[[cos, -sin, across], [sin, cos, down]]], dtype=torch.float32)
    grid = affine_grid(theta, (1, 1, CROP, CROP), align_corners=False)
    told = {"padding_mode": "reflection", "align_corners": False}
    x = grid_sample(images[None, k : k + 1], grid, mode="bilinear", **told)[0]
    y = masks[None, k : k + 1].float()
    y = grid_sample(y, grid, mode="nearest", **told)[0, 0].long()
    quarters = int(rng.integers(4))
    x, y = torch.rot90(x, quarters, (1, 2)), torch.rot90(y, quarters)
    if rng.random() < 0.5:
        x, y = x.flip(2), y.flip(1)
    if inverts and rng.random() < 0.5:
        x = -x
    if rng.random() < 0.5:
        x = x + rng.uniform(-0.2, 0.2)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(0, 0.15), x.shape)
        x = x + torch.from_numpy(noise.astype(np.float32))
    return x, y


def dice_focal(logits, y):
    """Dice over the classes of a batch, and focal cross-entropy, alike."""
    from torch.nn import functional

    log = functional.log_softmax(logits, 1)
    own = log.gather(1, y[:, None])[:, 0]
    focal = -((1 - own.exp()) ** 2 * own).mean()
    prob = log.exp()
    truth = functional.one_hot(y, len(CLASSES)).permute(0, 3, 1, 2).float()
    shared = (prob * truth).sum((0, 2, 3))
    total = (prob + truth).sum((0, 2, 3))
    return (1 - (2 * shared + 1) / (total + 1)).mean() + focal


def answer(model, image: np.ndarray) -> np.ndarray:
    """Classes of a whole image, probabilities averaged over the eight views."""
    import torch

    model.eval()
    total = np.zeros(())
    with torch.no_grad():
        for quarters in range(4):
            for mirrored in (False, True):
                x = np.rot90(image, quarters)
                x = x[:, ::-1] if mirrored else x
                x = torch.from_numpy(np.ascontiguousarray(x))[None, None]
                prob = model(x).softmax(1)[0].numpy()
                prob = prob[:, :, ::-1] if mirrored else prob
                total = total + np.rot90(prob, -quarters, (1, 2))
    return np.argmax(total, 0)


def scores(table: np.ndarray) -> dict[str, float]:
    """IoU of the classes, of a table of pixels (truth, answer)."""
    iou = np.diag(table) / (table.sum(0) + table.sum(1) - np.diag(table))
    told = {name: round(float(v), 3) for name, v in zip(CLASSES, iou, strict=True)}
    return {"mean IoU": round(float(iou.mean()), 3), **told}


if __name__ == "__main__":
    main()
