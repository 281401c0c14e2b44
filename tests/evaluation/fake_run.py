"""A small run folder with known contents, as training and evaluation leave it."""

import json

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from arcticdl.evaluation import SegmentationEvaluation, scores_by_stratum

CLASSES = ("open_water", "young_ice", "old_ice")
COLORS = ("#96C8FF", "#AA28F0", "#B46432")


def classes_map(rng, shape=(96, 96)):
    smooth = gaussian_filter(rng.normal(size=shape), 9)
    return np.digitize(smooth, np.quantile(smooth, [0.5, 0.8])).astype(np.uint8)


def noisy_prob(rng, label, error):
    """Probabilities whose argmax is wrong in about the fraction `error`."""
    shown = np.where(
        rng.random(label.shape) < error, rng.integers(0, 3, label.shape), label
    )
    sharp = rng.uniform(0.5, 0.95, label.shape)[..., None]
    return sharp * np.eye(3)[shown] + (1 - sharp) / 3


def evaluate_fold(rng, fold, error=0.15, num_images=3, bands=("HH", "HV", "inc")):
    evaluation = SegmentationEvaluation(CLASSES, colors=COLORS, bands=bands)
    for number in range(num_images):
        label = classes_map(rng)
        image = np.stack([label + rng.normal(size=label.shape) for _ in bands], axis=-1)
        prob = noisy_prob(rng, label, error * (1 + number))
        label[:10, :10] = 255
        distance = {"front_distance_px": [1.5, 2.5, float("nan")][number % 3]}
        name = f"scene_{fold}{number}"
        evaluation.add(name, label, prob, image=image, extra=distance)
        evaluation.show(name, label, prob, image, np.ones(label.shape, bool))
    return evaluation


def baseline(rng, title, error, num_images):
    return {"title": title, **evaluate_fold(rng, 9, error, num_images).result()}


def write_fake_run(path, num_folds=2, seed=0, num_images=3):
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("name: fake\nmodel: {backbone: resnet18}\n")
    environment = {
        "command": "arcticdl train configs/fake.yaml --fold all",
        "python": "3.11.9",
        "versions": {"keras": "3.9.0", "numpy": "2.1.0"},
        "seed": 0,
    }
    (path / "environment.json").write_text(json.dumps(environment))
    for fold in range(num_folds):
        folder = path / f"fold{fold}"
        folder.mkdir()
        evaluation = evaluate_fold(rng, fold, num_images=num_images)
        evaluation.write_pictures(folder / "pictures")
        evaluation.write_scenes(folder / "pictures")
        result = evaluation.result() | {"fold": fold}
        gaps = ("up to 1 h", "1 to 3 h", "beyond 12 h")
        ids = [entry["image_id"] for entry in result["images"]]
        named = {name: gaps[number % 3] for number, name in enumerate(ids)}
        result["strata"] = scores_by_stratum(result, {"ice_time_gap_h": named})
        result["baselines"] = {
            name: baseline(rng, title, error, num_images)
            for name, title, error in (
                ("majority", "majority class everywhere (open_water)", 0.9),
                ("per_pixel", "each pixel alone (gradient boosting)", 0.4),
            )
        }
        (folder / "metrics.json").write_text(json.dumps(result))
        (folder / "history.csv").write_text(history_csv(rng))
    Image.fromarray(np.full((60, 90, 3), 200, np.uint8)).save(path / "map.png")
    return path


def history_csv(rng, num_epochs=12):
    lines = ["epoch,loss,val_loss,mean_iou,val_mean_iou,learning_rate"]
    for epoch in range(num_epochs):
        loss = np.exp(-epoch / 4) + 0.02 * rng.normal()
        iou = 0.85 - 0.6 * np.exp(-epoch / 4) + 0.02 * rng.normal()
        rate = 1e-3 * 0.8**epoch
        lines.append(f"{epoch},{loss},{loss + 0.1},{iou},{iou - 0.05},{rate}")
    return "\n".join(lines) + "\n"
