"""Figure: a held-out scene mapped. Commands: make demo, then this file.

Usage: python docs/figures/index_map.py [RUN], a run folder of configs/demo.yaml.
"""

import sys
from pathlib import Path

import numpy as np
import rasterio

import arcticdl
from arcticdl import plots


def main(run):
    (mapped,) = [
        path
        for path in sorted((run / "maps").glob("*.tif"))
        if not path.stem.endswith("_confidence")
    ]
    name = mapped.stem
    image = run.parents[1] / "data" / "demo" / f"{name}.tif"
    scene = arcticdl.open_scene(image, bands=["HH", "HV"], labels={"ice type": mapped})
    with rasterio.open(mapped.with_name(f"{name}_confidence.tif")) as source:
        confidence = source.read(1)
    scene = scene.assign(confidence=(("y", "x"), confidence))
    scene["confidence"].attrs["units"] = "1"
    figure = plots.scene_map(scene, ["ice type", "confidence"])
    target = Path(__file__).parents[1] / "images" / "index_map.png"
    plots.write_figure(figure, target, dpi=100)
    print(target, np.unique(scene["ice type"].values))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
