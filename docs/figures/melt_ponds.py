"""Figure: melt ponds that the network did not see, as labelled and as it mapped them.

Commands: arcticdl prepare configs/meltpond.yaml; arcticdl train configs/meltpond.yaml
--fold 1; arcticdl predict runs/meltpond --fold 1; then this file.

Usage: python docs/figures/melt_ponds.py RUN IMAGE DATA: the run's folder, the number of
an image of its held-out part, and the folder that holds meltpond_tir.
"""

import sys
from pathlib import Path

import numpy as np
import rasterio

from arcticdl import plots
from arcticdl.plots.maps import class_legend
from arcticdl.plots.style import house_style, new_figure
from arcticdl.void import VOID_CLASS

CLASSES = ("melt pond", "sea ice", "ocean")
COLORS = ("#5ab4e6", "#f2f2f2", "#08306b")
AGREE, DIFFER = "#e8e8e8", "#c2410c"


def draw(thermal, truth, mapped):
    """The image, the truth, the map and where the two differ, one beside the other."""
    with house_style():
        figure = new_figure((11.0, 3.5))
        axes = figure.subplots(1, 4)
        low, high = np.percentile(thermal, (1, 99))
        axes[0].imshow(thermal, cmap="gray", vmin=low, vmax=high)
        plots.class_map(truth, CLASSES, COLORS, axes[1], legend=False)
        plots.class_map(mapped, CLASSES, COLORS, axes[2], legend=False)
        wrong = ((truth != mapped) & (truth != VOID_CLASS)).astype(np.uint8)
        plots.class_map(wrong, ("same", "not"), (AGREE, DIFFER), axes[3], legend=False)
        share = wrong[truth != VOID_CLASS].mean()
        titles = ("thermal infrared", "reference labels", "mapped by the network")
        for ax, title in zip(axes, (*titles, f"differ: {share:.1%}"), strict=True):
            ax.set_title(title)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        boxes = class_legend((*CLASSES, "differs"), (*COLORS, DIFFER))
        figure.legend(handles=boxes, loc="outside lower center", ncols=4, frameon=False)
    return figure


def main(run, number, data):
    thermal = np.load(data / "train_images.npy", mmap_mode="r")[number]
    truth = np.load(data / "train_masks.npy", mmap_mode="r")[number]
    (path,) = (run / "maps").glob(f"*train_images_{number:03d}.tif")
    with rasterio.open(path) as source:
        mapped = source.read(1)
    for code, name in enumerate(CLASSES):
        both = np.sum((truth == code) & (mapped == code))
        either = np.sum(((truth == code) | (mapped == code)) & (truth != VOID_CLASS))
        print(f"{path.name}: IoU of {name} {both / either:.3f}")
    target = Path(__file__).parents[1] / "images" / "melt_ponds.png"
    plots.write_figure(draw(np.squeeze(thermal), truth, mapped), target, dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) / "meltpond_tir")
