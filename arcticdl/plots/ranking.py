"""Curves of how a classifier ranks: ROC, and precision over recall."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arcticdl.plots.style import house_style, new_figure, spelled


def roc_curve(ranking: Mapping[str, Any], colors: Mapping[str, str]) -> Figure:
    """Draws the share of a class that is found over that of the rest taken for it.

    Args:
        ranking: The ``"ranking"`` entry of a classifier's evaluation: by class
            ``roc_auc``, ``average_precision``, ``share`` and the points of the curves.
        colors: Colour of each class.

    Returns:
        The figure. Of two classes, whose curves say the same, only the last is drawn.
    """
    with house_style():
        ax = _axes("false positive rate", "true positive rate")
        ax.plot([0, 1], [0, 1], color="#8a8f94", lw=1.0, ls="--", label="by chance")
        for name, found in _shown(ranking).items():
            x, y = np.transpose(found["roc"])
            label = f"{spelled(name)} (area {found['roc_auc']:.3f})"
            ax.plot(x, y, label=label, color=colors[name], lw=1.8, clip_on=False)
        ax.legend(loc="lower right")
    return ax.get_figure(root=True)  # type: ignore[return-value]


def precision_recall_curve(
    ranking: Mapping[str, Any], colors: Mapping[str, str]
) -> Figure:
    """Draws precision over recall, and as a dashed line the precision of chance.

    Args:
        ranking: As in ``roc_curve``.
        colors: Likewise.

    Returns:
        The figure, of the same classes.
    """
    with house_style():
        ax = _axes("recall", "precision")
        for name, found in _shown(ranking).items():
            color = colors[name]
            x, y = np.transpose(found["precision_recall"])
            label = f"{spelled(name)} (average {found['average_precision']:.3f})"
            line: dict[str, Any] = {"color": color, "lw": 1.8, "clip_on": False}
            ax.step(x, y, where="post", label=label, **line)
            ax.axhline(found["share"], color=color, lw=1.0, ls="--")
        ax.legend(loc="lower left")
    return ax.get_figure(root=True)  # type: ignore[return-value]


def _shown(ranking: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(list(ranking.items())[-1:]) if len(ranking) == 2 else ranking


def _axes(x: str, y: str) -> Axes:
    ax = new_figure((4.4, 4.0)).add_subplot()
    ax.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal", xlabel=x, ylabel=y)
    ax.grid(True)
    return ax
