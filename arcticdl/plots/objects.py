"""Curves of detectors: precision over recall, FROC, counts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from arcticdl.plots.style import PALETTE, house_style, new_figure, spelled


def detection_curves(
    curves: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str] | None = None
) -> Figure:
    """Draws precision over recall, one line a class or a method.

    Args:
        curves: Name -> what `metrics.precision_recall` gives.
        colors: Of each name; default: colours that any reader can tell apart.

    Returns:
        The figure; a curve ends at the highest recall that any score reaches.

    Raises:
        ValueError: No curve.
    """
    _check_some(curves)
    with house_style():
        ax = new_figure((4.6, 4.0)).add_subplot()
        for number, (name, curve) in enumerate(curves.items()):
            color = (colors or {}).get(name, PALETTE[number % len(PALETTE)])
            label = f"{spelled(name)} ({curve['num_truth']:,.0f} objects)"
            style = ("-", "--", "-.", ":")[number % 4]
            ax.plot(
                curve["recall"], curve["precision"], color=color, ls=style, label=label,
                clip_on=False,
            )  # fmt: skip
        ax.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel="recall (share of objects found)",
            ylabel="precision (share of detections right)",
        )  # fmt: skip
        ax.grid(True)
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.16), borderaxespad=0)
    return ax.get_figure(root=True)  # type: ignore[return-value]


def froc_curves(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draws the share of objects found over false alarms an image.

    Args:
        curves: Name -> what `metrics.froc` gives.

    Returns:
        The figure; false alarms are on a logarithmic axis, and points stand at the
        rates over which sensitivity is averaged.

    Raises:
        ValueError: No curve.
    """
    _check_some(curves)
    with house_style():
        ax = new_figure((4.8, 3.8)).add_subplot()
        for number, (name, curve) in enumerate(curves.items()):
            color = PALETTE[number % len(PALETTE)]
            rates = np.array(list(curve["at"]), float)
            # Who raises no more alarms finds no more either.
            ends = rates[0] / 2, max([rates[-1] * 2, *curve["false_alarms"][-1:]])
            alarms = np.concatenate([ends[:1], curve["false_alarms"], ends[1:]])
            found = np.concatenate([[0.0], curve["sensitivity"]])
            found = np.append(found, found[-1])
            label = f"{spelled(name)} (mean {curve['mean']:.2f})"
            style = ("-", "--", "-.", ":")[number % 4]
            ax.step(alarms, found, where="post", color=color, ls=style, label=label)
            ax.plot(rates, list(curve["at"].values()), "o", color=color, ms=4)
        ax.set_xscale("log", base=2)
        ax.set(
            xlim=(rates[0] / 2, rates[-1] * 2), ylim=(0, 1.02),
            xlabel="false alarms an image", ylabel="share of objects found",
        )  # fmt: skip
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
        ax.minorticks_off()
        ax.grid(True)
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.18), borderaxespad=0)
    return ax.get_figure(root=True)  # type: ignore[return-value]


def count_scatter(errors: Mapping[str, Any]) -> Figure:
    """Draws how many objects were counted over how many there are, image by image.

    Args:
        errors: What `metrics.count_errors` gives.

    Returns:
        The figure; the larger a point, the more images share it.
    """
    pairs = np.stack([errors["truth"], errors["found"]], axis=1)
    places, times = np.unique(pairs, axis=0, return_counts=True)
    most = float(max(pairs.max(initial=1), 1)) + 0.6
    with house_style():
        ax = new_figure((4.2, 4.0)).add_subplot()
        ax.plot([0, most], [0, most], color="#8a8f94", lw=1.0, ls="--", label="equal")
        size = 14 + 160 * np.sqrt(times / times.max())
        ax.scatter(
            places[:, 0], places[:, 1], s=size, color=PALETTE[0], alpha=0.75, lw=0
        )
        ax.set(
            xlim=(-0.6, most), ylim=(-0.6, most), aspect="equal",
            xlabel="objects in an image", ylabel="objects counted",
        )  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(True)
        told = f"{len(pairs):,} images, {errors['mae']:.2f} off on average"
        ax.set_title(told, fontsize="medium")
    return ax.get_figure(root=True)  # type: ignore[return-value]


def _check_some(curves: Mapping[str, Any]) -> None:
    if not curves:
        raise ValueError("`curves` must hold at least one. Received: none.")
