"""Figure: pixels and polygons. Command: python docs/figures/products.py."""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

import arcticdl
from arcticdl import plots
from arcticdl.inference.products.polygons import outline
from arcticdl.inference.products.product import legend_of
from arcticdl.plots.maps import class_legend
from arcticdl.simulate import simulate_scenes

SIDE, TOP, LEFT = 90, 150, 150
TOLERANCES_M = (0, 160)


def label_map(folder):
    """A part of the labels of a simulated scene, as maps."""
    simulate_scenes(folder, num_scenes=1, size_px=512, seed=3)
    (labels,) = Path(folder).glob("*_labels.tif")
    scene = arcticdl.open_scene(labels)
    part = {"y": slice(TOP, TOP + SIDE), "x": slice(LEFT, LEFT + SIDE)}
    labels = scene["image"][0].isel(part).drop_vars("band").load()
    return labels.to_dataset(name="class")


def draw(ax, codes, shapes, colors):
    for code in np.unique(codes):
        patches = [
            PathPatch(Outline.make_compound_path(*rings(shape)))
            for shape in shapes[codes == code]
        ]
        style = {"facecolor": colors[code], "edgecolor": "#1b1f23", "linewidth": 0.5}
        ax.add_collection(PatchCollection(patches, **style))
    ax.set(xlim=(0, SIDE), ylim=(SIDE, 0), aspect="equal", xticks=[], yticks=[])


def rings(shape):
    return [Outline(np.array(r.coords)) for r in (shape.exterior, *shape.interiors)]


def main():
    with tempfile.TemporaryDirectory() as folder:
        maps = label_map(folder)
        legend = legend_of(maps["class"])
        colors = dict(zip(legend.codes, legend.colors, strict=True))
        with plots.house_style():
            figure = plots.new_figure((8.6, 4.3))
            axes = figure.subplots(1, 2)
            for ax, tolerance in zip(axes, TOLERANCES_M, strict=True):
                codes, shapes = outline(maps, "class", tolerance)
                draw(ax, codes, shapes, colors)
                ax.set_title(f"simplify_m: {tolerance}")
            there = [c for c in legend.codes if (maps["class"].values == c).any()]
            entries = class_legend(
                [legend.names[c] for c in there], [legend.colors[c] for c in there]
            )
            corner = {"bbox_to_anchor": (1.0, 1.0), "loc": "upper left"}
            axes[1].legend(handles=entries, borderaxespad=0.0, **corner)
        target = Path(__file__).parents[1] / "images" / "products.png"
        plots.write_figure(figure, target)


if __name__ == "__main__":
    main()
