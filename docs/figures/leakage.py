"""Figure: why tiles must lie apart. Command: python docs/figures/leakage.py."""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch, Rectangle

import arcticdl
from arcticdl import plots
from arcticdl.simulate import simulate_scenes

SIDE = 16
TRAIN, TEST = "#56B4E9", "#E69F00"


def semivariance(band, lags):
    """Half the mean squared difference at each lag along rows (Matheron 1963)."""
    return [np.mean((band[:, lag:] - band[:, :-lag]) ** 2) / 2 for lag in lags]


def sides():
    """Tiles drawn at random; and blocks of 4 x 4 tiles with a buffer of one."""
    rng = np.random.default_rng(0)
    random = np.where(rng.random((SIDE, SIDE)) < 0.25, 2, 1)
    blocks = np.ones((SIDE, SIDE), int)
    for row, col in ((0, 4), (4, 12), (8, 0), (12, 8)):
        blocks[max(row - 1, 0) : row + 5, max(col - 1, 0) : col + 5] = 0
    for row, col in ((0, 4), (4, 12), (8, 0), (12, 8)):
        blocks[row : row + 4, col : col + 4] = 2
    return {"random tiles": random, "blocks and a buffer": blocks}


def draw_sides(ax, title, codes):
    for (row, col), code in np.ndenumerate(codes):
        color = ("none", TRAIN, TEST)[code]
        hatch = "///" if code == 2 else None
        ax.add_patch(
            Rectangle((col, row), 1, 1, fc=color, ec="white", lw=0.8, hatch=hatch)
        )
    ax.set(xlim=(0, SIDE), ylim=(SIDE, 0), aspect="equal", title=title)
    ax.set_xticks([0, 8, 16])
    ax.set_yticks([0, 8, 16])
    ax.set_xlabel("tiles of 5 km")


def main():
    with tempfile.TemporaryDirectory() as folder:
        (path,) = simulate_scenes(folder, num_scenes=1, size_px=1024, progress=False)
        with arcticdl.open_scene(path, bands=["HH"]) as scene:
            band = scene["image"].values[0].astype("float64")
    lags = np.unique(np.geomspace(1, 400, 30).astype(int))
    curve = np.array(semivariance(band, lags)) / band.var()
    with plots.house_style():
        figure = plots.new_figure((10.2, 3.9))
        left, *others = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
        left.plot(lags * 0.08, curve, color="#0072B2")
        left.set(ylim=(0, None), title="likeness ends with distance")
        left.set_xlabel("distance (km)")
        left.set_ylabel("semivariance / variance (1)")
        left.grid(True)
        for ax, (title, codes) in zip(others, sides().items(), strict=True):
            draw_sides(ax, title, codes)
        handles = [
            Patch(fc=TRAIN, label="training"),
            Patch(fc=TEST, hatch="///", ec="white", label="test"),
            Patch(fc="none", ec="#8a8f94", label="left out"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    plots.write_figure(
        figure, Path(__file__).parents[1] / "images" / "leakage.png", dpi=130
    )


if __name__ == "__main__":
    main()
