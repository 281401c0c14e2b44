"""Curves of how a classifier ranks: ROC, and precision over recall."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from arcticdl.plots.style import house_style, new_figure, spelled


def ranking_curves(ranking: Mapping[str, Any], colors: Mapping[str, str]) -> Figure:
    """Draws both curves of each class against the rest.

    Args:
        ranking: The ``"ranking"`` entry of a classifier's evaluation: by class
            ``roc_auc``, ``average_precision``, ``share`` and the points of the curves.
        colors: Colour of each class.

    Returns:
        The figure. Of two classes, whose curves say the same, only the last is drawn.
    """
    shown = dict(list(ranking.items())[-1:]) if len(ranking) == 2 else ranking
    with house_style():
        figure = new_figure((8.6, 4.0))
        roc, recall = figure.subplots(1, 2)
        roc.plot([0, 1], [0, 1], color="#8a8f94", lw=1.0, ls="--", label="by chance")
        for name, found in shown.items():
            line = {"color": colors[name], "lw": 1.8, "clip_on": False}
            title = spelled(name)
            x, y = np.transpose(found["roc"])
            roc.plot(x, y, label=f"{title} (area {found['roc_auc']:.3f})", **line)
            x, y = np.transpose(found["precision_recall"])
            area = f"{title} (average {found['average_precision']:.3f})"
            recall.step(x, y, where="post", label=area, **line)
            recall.axhline(found["share"], color=colors[name], lw=1.0, ls="--")
        for ax in (roc, recall):
            ax.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
            ax.grid(True)
        roc.set(xlabel="false positive rate", ylabel="true positive rate")
        recall.set(xlabel="recall", ylabel="precision")
        roc.legend(loc="lower right")
        recall.legend(loc="lower left")
    return figure
