"""Figure: a recorded search on melt ponds. Command: python docs/figures/search.py."""

from pathlib import Path

import pandas as pd

from arcticdl import plots

TRIALS = Path(__file__).resolve().parents[2] / "benchmarks" / "search_ponds.csv"
PARAMETERS = ["train.learning_rate", "train.normalizer", "loss"]


def main():
    table = pd.read_csv(TRIALS)
    done = table[table["state"] == "done"].reset_index(drop=True)
    figure = plots.parameter_slices(
        done[PARAMETERS].to_dict("records"),
        done["val_mean_iou"].tolist(),
        label="mean IoU of validation",
        log=["train.learning_rate"],
        best=int(done["val_mean_iou"].idxmax()),
    )
    folder = Path(__file__).resolve().parent.parent / "images"
    plots.write_figure(figure, folder / "search.png")


if __name__ == "__main__":
    main()
