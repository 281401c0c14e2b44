"""Sentinel-2 from 20 to 10 m: a network beside a spline, with a real band as its truth.

    python benchmarks/images_sentinel2.py DATA

``DATA`` is the folder with ``REFERENCE_SCENES.npy``: thirteen bands of one place on
five dates, from the examples of eo-learn (MIT; Copernicus Sentinel data). B08, which is
measured at 10 m, is averaged to 20 m, and is to be brought back with the help of B02,
B03 and B04, which stay at 10 m: what is asked of bands that have 20 m alone, with a
truth. The western half of the place teaches on all dates, the eastern one tests, 40 m
apart; then the other way round. Everything is written to a temporary folder.
"""

import argparse
import json
import tempfile
from contextlib import chdir
from pathlib import Path

import numpy as np
import rasterio
from images import CONFIGS, _run, table
from rasterio.transform import from_origin

BANDS = {
    "B02": 1,
    "B03": 2,
    "B04": 3,
}  # places in the file, which has B8A last but four
B08 = 7
HALVES = {"west": slice(0, 48), "east": slice(52, 100)}
SETTINGS = {
    "data.scenes": "data/*[0-9].tif",
    "data.attributes.group": "(west|east)",
    "data.labels.fine.restores": "{bands: [B08_20m], coarse_px: 2}",
    "data.labels.fine.units": "'1'",
    "folds.n_splits": 2,
    "train.repeats": 8,
    "train.epochs": 30,
}


def write_scenes(path: Path) -> None:
    """A scene of 100 x 48 pixels of 10 m for each half and date, and its truth."""
    images = np.load(path)
    Path("data").mkdir()
    for half, columns in HALVES.items():
        for date, image in enumerate(images):
            fine = image[:100, columns, B08]
            means = fine.reshape(50, 2, 24, 2).mean((1, 3))
            coarse = means.repeat(2, 0).repeat(2, 1)
            guides = [image[:100, columns, place] for place in BANDS.values()]
            names = [*BANDS, "B08_20m"]
            stem = f"data/{half}_{date}"
            write(f"{stem}.tif", [*guides, coarse], names, columns.start)
            write(f"{stem}_fine.tif", [fine], ["B08"], columns.start)


def write(path: str, planes: list[np.ndarray], names: list[str], start: int) -> None:
    """The file tells no place; these coordinates are of none, and 10 m apart."""
    height, width = planes[0].shape
    place = from_origin(500_000 + 10 * start, 5_000_000, 10, 10)
    shape = {"count": len(planes), "height": height, "width": width}
    with rasterio.open(
        path, "w", driver="GTiff", dtype="float32", crs="EPSG:32633",
        transform=place, nodata=np.nan, **shape,
    ) as file:  # fmt: skip
        file.write(np.stack(planes))
        file.descriptions = tuple(names)


def measure() -> str:
    """The table of both halves, each held out once."""
    config = str(CONFIGS / "sharpen.yaml")
    words = [w for key, value in SETTINGS.items() for w in ("--set", f"{key}={value}")]
    _run("prepare", config, *words)
    _run("train", config, "--fold", "all", *words)
    _run("evaluate", "runs/sharpen")
    tables = []
    for fold in (0, 1):
        path = Path(f"runs/sharpen/fold{fold}")
        held = json.loads((path / "split.json").read_text())["test"][0].split("_")[0]
        result = json.loads((path / "metrics.json").read_text())
        rows = [result | {"title": "**U-Net**"}, *result["baselines"].values()]
        told = table(
            [in_thousandths(r) for r in rows], "1/1000", "the other half taught"
        )
        tables.append(f"The {held} held out, reflectance:\n\n{told}")
    return "\n\n".join(tables)


def in_thousandths(row: dict) -> dict:
    """Errors of reflectance, which are small numbers, times 1000."""
    scores = {key: 1000 * row["scores"][key] for key in ("rmse", "mae")}
    extra = {key: found for key, found in row["extra"].items() if key != "crps"}
    if "coarse_rmse" in extra:
        extra["coarse_rmse"] = {"mean": 1000 * extra["coarse_rmse"]["mean"]}
    return row | {"scores": scores, "extra": extra}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    given = parser.parse_args().data.resolve() / "REFERENCE_SCENES.npy"
    with tempfile.TemporaryDirectory() as work, chdir(work):
        write_scenes(given)
        print(measure())
