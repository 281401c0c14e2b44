"""Figure: one set of answers, three scores. Command: python docs/figures/pooling.py."""

from pathlib import Path

import numpy as np

from arcticdl import metrics, plots

# [true, predicted] of water and front: the same network, front ever rarer.
MATRICES = {
    "image A": [[880, 10], [15, 95]],
    "image B": [[975, 5], [8, 12]],
    "image C": [[996, 1], [3, 0]],
}


def main():
    counts = {name: np.array(matrix) for name, matrix in MATRICES.items()}
    each = [metrics.scores(matrix)["mean_iou"] for matrix in counts.values()]
    pooled = metrics.scores(sum(counts.values()))
    micro = pooled["micro_iou"]
    bars = {
        **{
            f"{name}: {int(m[1].sum())} front px": score
            for (name, m), score in zip(counts.items(), each, strict=True)
        },
        "mean of the images": float(np.mean(each)),
        "pooled, mean of classes": pooled["mean_iou"],
        "pooled, all pixels alike": micro,
    }
    with plots.house_style():
        figure = plots.new_figure((7.2, 3.6))
        ax = figure.add_subplot()
        colors = ["#9aa3ab"] * 3 + ["#E69F00", "#0072B2", "#009E73"]
        ax.barh(list(bars), list(bars.values()), color=colors, height=0.62)
        for row, value in enumerate(bars.values()):
            ax.text(value + 0.012, row, f"{value:.3f}", va="center", fontweight="bold")
        ax.invert_yaxis()
        ax.set_xlim(0, 1.12)
        ax.set_xticks(np.linspace(0, 1, 6))
        ax.set_xlabel("IoU (1)")
        ax.tick_params(axis="y", length=0)
        ax.grid(True, axis="x")
        ax.set_axisbelow(True)
    plots.write_figure(figure, Path(__file__).parents[1] / "images" / "pooling.png")


if __name__ == "__main__":
    main()
