"""Scenes whose labels hold errors that are known."""

import numpy as np
import rasterio
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter

SIZE, NUM_SCENES = 96, 4
CLASSES = ["water", "thin ice", "old ice"]
CONFIG = {
    "name": "loop",
    "data": {
        "scenes": "scenes/*_[0-9].tif",
        "labels": {
            "ice": {
                "classes": CLASSES,
                "colors": ["#96c8ff", "#aa28f0", "#b46432"],
                "file": {"replace": {".tif": "_ice.tif"}},
            }
        },
        "attributes": {"season": r"(melt|frost)_\d", "sensor": r"(melt|frost)_\d"},
        "rename": {"sensor": {"melt": "A", "frost": "B"}},
    },
    "tiles": {"size_px": 32, "overlap_px": 0},
    "folds": {"n_splits": 2},
    "loss": {"name": "Crossentropy"},
    "model": {
        "backbone": "plain",
        "options": {
            "backbone_options": {"width": 8, "depth": 2},
            "decoder_options": {"channels": [8, 8]},
        },
    },
    "train": {
        "epochs": 4,
        "batch_size": 6,
        "repeats": 4,
        "jit_compile": False,
        "learning_rate": 0.01,
    },
}


def truth_of(number):
    """Three classes in blobs, (y, x) uint8."""
    rng = np.random.default_rng(number)
    field = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 8)
    return np.digitize(field, np.quantile(field, [0.4, 0.75])).astype("uint8")


def image_of(truth, number):
    rng = np.random.default_rng(100 + number)
    bands = np.stack([truth * 2.0, truth**2 - 1.0])
    return (bands + rng.normal(0, 0.4, bands.shape)).astype("float32")


def planted(truth, number):
    """The truth with three blocks of another class; and where they are."""
    rng = np.random.default_rng(200 + number)
    label, wrong = truth.copy(), np.zeros(truth.shape, bool)
    for row, col in ((8, 12), (40, 60), (70, 20)):
        block = np.s_[row : row + 14, col : col + 14]
        code = int(np.bincount(truth[block].ravel()).argmax())
        label[block] = (code + rng.integers(1, 3)) % 3
        wrong[block] = label[block] != truth[block]
    return label, wrong


def write(path, values, number):
    values = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path, "w", driver="GTiff", width=SIZE, height=SIZE, count=len(values),
        dtype=values.dtype, crs="EPSG:3413",
        transform=from_origin(number * 100_000, 0, 100, 100),
    ) as file:  # fmt: skip
        file.write(values)


def name_of(number):
    return f"{'melt' if number % 2 else 'frost'}_{number}"
