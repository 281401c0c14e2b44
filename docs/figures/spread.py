"""Figure: doubt and disagreement. Command: python docs/figures/spread.py."""

from pathlib import Path

import numpy as np

from arcticdl import plots
from arcticdl.tasks import entropy

MEMBERS = {
    "each member doubts": [0.52, 0.47, 0.51, 0.50],
    "members contradict": [0.97, 0.03, 0.95, 0.05],
}


def spread(ice):
    prob = np.stack([1 - np.asarray(ice), np.asarray(ice)], axis=-1)
    shared = entropy(prob.mean(axis=0)) - entropy(prob).mean()
    return float(entropy(prob.mean(axis=0))) / np.log(2), float(shared) / np.log(2)


def main():
    with plots.house_style():
        figure = plots.new_figure((7.4, 3.5))
        axes = figure.subplots(1, 2, sharey=True)
        for ax, (title, ice) in zip(axes, MEMBERS.items(), strict=True):
            whole, part = spread(ice)
            names = [f"fold {number}" for number in range(len(ice))]
            ax.bar(names, ice, color="#0072B2", width=0.6)
            ax.axhline(np.mean(ice), color="#D55E00", ls="--", label="mean")
            ax.set(
                ylim=(0, 1.02), title=f"{title}\nentropy {whole:.2f}, spread {part:.2f}"
            )
            ax.tick_params(axis="x", length=0)
            ax.grid(True, axis="y")
            ax.set_axisbelow(True)
        axes[0].set_ylabel("probability of ice (1)")
        axes[1].legend(loc="upper right", bbox_to_anchor=(1.0, 1.2))
    plots.write_figure(figure, Path(__file__).parents[1] / "images" / "spread.png")


if __name__ == "__main__":
    main()
