"""A detector of torchvision on the seals of `configs/seals.yaml`, at equal minutes.

    PYTHON benchmarks/seals_torchvision.py DATA [--minutes 10] [--held-out 2]

``PYTHON`` is an interpreter with torch, torchvision and this package; ``DATA`` the
folder with ``annotations.json`` and ``images/``. FCOS on MobileNetV3-Large with a
feature pyramid learns from scratch, since no weights come with torchvision: the
detector beside it begins with ImageNet's. Wheels of torchvision are built for CUDA;
where their operators do not load, torch itself suppresses boxes. One flight is held
out, the other teaches, mirrored and turned by quarters; boxes are scored as `arcticdl
evaluate` scores them. Minutes are those that the processor worked, over the number of
threads: what else runs makes the run longer by the clock, and the training no shorter.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

CLASSES, LEAST_SCORE = ["seal"], 0.05
KEPT = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--held-out", type=int, default=2, choices=(1, 2))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, help="At most so many of each part.")
    asked = parser.parse_args()
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    train, test = read(asked.data, asked.held_out)
    train, test = train[: asked.images], test[: asked.images]
    model = build()
    start = time.perf_counter()
    steps = fit(model, train, asked.minutes * 60 * asked.threads, asked.batch)
    wall = (time.perf_counter() - start) / 60
    print(f"{steps} steps of {asked.batch} of {len(train)} images")
    print(f"{asked.minutes:g} minutes, {wall:.1f} by the clock")
    print(json.dumps(score(model, test)))


def read(folder, held_out):
    """Path and boxes (x_min, y_min, x_max, y_max) of each image, by flight."""
    told = json.loads((folder / "annotations.json").read_text())
    boxes = {image["id"]: [] for image in told["images"]}
    for entry in told["annotations"]:
        x, y, width, height = entry["bbox"]
        boxes[entry["image_id"]].append([x, y, x + width, y + height])
    parts = [], []
    for image in told["images"]:
        flight = int(image["flight"].rpartition("_")[2])
        rows = np.array(boxes[image["id"]], "float32").reshape(-1, 4)
        path = folder / "images" / image["file_name"]
        parts[flight == held_out].append((path, rows))
    return parts


def build():
    loaded = declare_operators()
    import torchvision
    from torch import nn
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import mobilenet_backbone

    if not loaded:
        torchvision.ops.boxes.nms = suppress
    sides = ((16,), (32,), (64,))  # of the cells of each level
    return FCOS(
        mobilenet_backbone(
            backbone_name="mobilenet_v3_large",
            weights=None,
            fpn=True,
            trainable_layers=6,
            norm_layer=nn.BatchNorm2d,
        ),
        num_classes=1 + len(CLASSES),
        anchor_generator=AnchorGenerator(sides, ((1.0,),) * len(sides)),
        min_size=640,
        max_size=640,
        score_thresh=LEAST_SCORE,
    )


def declare_operators():
    """Whether torchvision has its operators; else it is told their names to import."""
    import importlib
    import sys

    import torch

    try:
        return importlib.import_module("torchvision").extension._has_ops()
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    declared = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor boxes, Tensor scores, float iou) -> Tensor")
    KEPT.append(declared)  # what it declares is gone when it goes
    return False


def suppress(boxes, scores, iou_threshold):
    """Places of boxes that no surer one overlaps by more, the surest first."""
    import torch

    order, kept = scores.argsort(descending=True), []
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        low = torch.maximum(boxes[first, :2], boxes[order, :2])
        high = torch.minimum(boxes[first, 2:], boxes[order, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        union = areas[first] + areas[order] - shared
        order = order[shared <= iou_threshold * union]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64)


def load(path):
    import torch
    from PIL import Image

    pixels = np.asarray(Image.open(path).convert("RGB"), "float32") / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


def turned(image, boxes, rng):
    """The image and its boxes, mirrored and turned by quarters at random."""
    import torch

    side = image.shape[-1]
    if rng.random() < 0.5:
        image = image.flip(-1)
        boxes = np.stack(
            [side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], 1
        )
    for _ in range(rng.integers(4)):  # anticlockwise: x, y becomes y, side - x
        image = torch.rot90(image, 1, (-2, -1))
        boxes = np.stack(
            [boxes[:, 1], side - boxes[:, 2], boxes[:, 3], side - boxes[:, 0]], 1
        )
    return image, boxes


def fit(model, images, seconds, batch):
    """Trains for so many seconds of work; the rate falls to nothing with them."""
    import torch

    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=5e-4)
    model.train()
    start, steps, order = time.process_time(), 0, []
    while (gone := (time.process_time() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 5e-4 * min(1.0, (steps + 1) / 50) * (1 - gone)
        if len(order) < batch:
            order = rng.permutation(len(images)).tolist()
        chosen, order = order[:batch], order[batch:]
        pairs = [turned(load(images[k][0]), images[k][1], rng) for k in chosen]
        truth = [
            {
                "boxes": torch.from_numpy(np.ascontiguousarray(boxes)),
                "labels": torch.ones(len(boxes), dtype=torch.int64),
            }
            for _, boxes in pairs
        ]
        losses = model([image for image, _ in pairs], truth)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
        steps += 1
    return steps


def score(model, images):
    """AP as `arcticdl evaluate` tells it, with intervals over images."""
    import torch

    from arcticdl import boxes, metrics

    model.eval()
    found = []
    with torch.inference_mode():
        for path, truth in images:
            (answer,) = model([load(path)])
            edges, sure = answer["boxes"].numpy(), answer["scores"].numpy()
            real = (edges[:, 2:] > edges[:, :2]).all(axis=1)
            edges, sure = edges[real], sure[real]
            rows = boxes.boxes_from_edges(edges, np.zeros(len(edges)))
            true = boxes.boxes_from_edges(truth, np.zeros(len(truth)))
            found.append((true, rows, sure))
    scores = metrics.object_scores(metrics.match_objects(found, 1), CLASSES)
    told = {key: round(scores[key], 3) for key in ("ap50", "ap", "ap75")}
    return told | {"ap50_95 %": [round(v, 3) for v in scores["intervals"]["ap50"]]}


if __name__ == "__main__":
    main()
