"""Figure: superpixels and their graph. Command: python docs/figures/superpixels.py."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import arcticdl
from arcticdl import plots
from arcticdl.models.layers.superpixels import RegionGraph, Superpixels
from arcticdl.plots.style import house_style, new_figure
from arcticdl.simulate import simulate_scenes

SIZE, CELL = 192, 8


def draw(image, index, edges):
    """The scene, its superpixels, who touches whom, and what the nodes know."""
    count = index.max() + 1
    sizes = np.bincount(index.ravel(), minlength=count).clip(1)
    y, x = np.mgrid[:SIZE, :SIZE]
    row, column, mean = (
        np.bincount(index.ravel(), part.ravel(), count) / sizes
        for part in (y, x, image)
    )
    border = np.zeros(index.shape, bool)
    border[:, 1:] |= index[:, 1:] != index[:, :-1]
    border[1:] |= index[1:] != index[:-1]
    low, high = np.percentile(image, (1, 99))
    titles = ("HH", "superpixels", "who touches whom", "mean HH of each node")
    with house_style():
        figure = new_figure((11.0, 3.0))
        axes = figure.subplots(1, 4)
        for ax, title in zip(axes, titles, strict=True):
            shown = mean[index] if title == titles[3] else image
            ax.imshow(shown, cmap="gray", vmin=low, vmax=high)
            ax.set(title=title, xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        axes[1].imshow(np.where(border[..., None], (1, 0.75, 0, 1.0), (0, 0, 0, 0)))
        for a, b in edges:
            axes[2].plot(column[[a, b]], row[[a, b]], color="#ffbf00", linewidth=0.5)
    return figure


def main():
    with tempfile.TemporaryDirectory() as folder:
        (path,) = simulate_scenes(
            folder, num_scenes=1, size_px=512, seed=4, progress=False
        )
        with arcticdl.open_scene(path) as scene:
            cut = scene["image"].isel(y=slice(0, SIZE), x=slice(0, SIZE))
            hh = cut.sel(band="HH").values
            image = cut.sel(band=["HH", "HV"]).transpose("y", "x", "band").values
    image = (image - image.mean((0, 1))) / image.std((0, 1))
    image = image[None].astype("float32")
    index = Superpixels(CELL)(image)
    _, neighbours, touching = RegionGraph(CELL)([image, index])
    index, neighbours, touching = (
        keras.ops.convert_to_numpy(part)[0] for part in (index, neighbours, touching)
    )
    edges = [(n, neighbours[n, k]) for n, k in np.argwhere(touching)]
    target = Path(__file__).parents[1] / "images" / "superpixels.png"
    plots.write_figure(draw(hh, index, edges), target, dpi=120)


if __name__ == "__main__":
    main()
