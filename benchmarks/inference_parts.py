"""What the contestants of inference.py share: clock, network, scene and its windows."""

import os
import statistics
import time
from pathlib import Path

TILE_PX, NUM_BANDS, NUM_CLASSES, BATCH, OVERLAP_PX = 256, 4, 5, 4, 64
BANDS = tuple("abcd")


def seconds(work):
    """Processor and wall time of a call."""
    used, began = os.times(), time.perf_counter()
    work()
    now = os.times()
    wall = time.perf_counter() - began
    return now.user + now.system - used.user - used.system, wall


def rounds(work, number):
    """Medians over rounds, after one that is not counted."""
    first = seconds(work)
    found = [seconds(work) for _ in range(number)]
    cpu, wall = (statistics.median(part) for part in zip(*found, strict=True))
    return {"cpu_s": round(cpu, 3), "wall_s": round(wall, 3), "first_s": first[1]}


def rss_mib():
    """Resident memory now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def card():
    """What the model would know of its training."""
    from arcticdl.tiles import Normalizer

    classes = [f"class {number}" for number in range(NUM_CLASSES)]
    head = {"task": "segmentation", "num_classes": NUM_CLASSES, "classes": classes}
    return {
        "bands": list(BANDS),
        "normalizer": Normalizer("none", BANDS).to_dict(),
        "tile_size_px": TILE_PX,
        "heads": {"ice": {**head, "colors": ["#0072b2"] * NUM_CLASSES}},
    }


def network():
    """The network that is measured."""
    import keras

    from arcticdl.models import build_segmenter

    keras.utils.set_random_seed(0)
    return build_segmenter(
        "resnet18", "unet", num_bands=NUM_BANDS, num_classes=NUM_CLASSES, card=card()
    )


def write_scene(path, height, width):
    """A smooth field with noise, as a tiled GeoTIFF; `path` is returned."""
    import numpy as np
    import rasterio
    from scipy import ndimage

    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(NUM_BANDS, height // 16 + 1, width // 16 + 1))
    image = ndimage.zoom(coarse, (1, 16, 16), order=1)[:, :height, :width]
    image = (image + rng.normal(0, 0.1, image.shape)).astype("float32")
    profile = {"driver": "GTiff", "height": height, "width": width, "count": NUM_BANDS}
    profile |= {"dtype": "float32", "crs": "EPSG:3413", "nodata": np.nan}
    if min(height, width) >= TILE_PX:
        profile |= {"tiled": True, "blockxsize": TILE_PX, "blockysize": TILE_PX}
    transform = rasterio.Affine(40, 0, -6e5, 0, -40, -1e6)
    with rasterio.open(path, "w", **profile, transform=transform) as file:
        file.write(image)
        for number, band in enumerate(BANDS, 1):
            file.set_band_description(number, band)
    return path


def tiles_of(path):
    """The windows of a scene without overlap, (tile, y, x, band)."""
    import numpy as np
    import rasterio

    with rasterio.open(path) as file:
        image = np.moveaxis(file.read(), 0, -1)
    rows, cols = (-(-size // TILE_PX) for size in image.shape[:2])
    short = [
        (0, n * TILE_PX - s) for n, s in zip((rows, cols), image.shape, strict=False)
    ]
    image = np.pad(image, (*short, (0, 0)), mode="symmetric")
    parts = image.reshape(rows, TILE_PX, cols, TILE_PX, NUM_BANDS).swapaxes(1, 2)
    return np.ascontiguousarray(parts.reshape(-1, TILE_PX, TILE_PX, NUM_BANDS))
