"""The gradient watch: which part of a network learns nothing, and which too much."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console

from arcticdl.files import write_text
from arcticdl.models.finetune import BACKBONE, stage_layers
from arcticdl.plots.style import house_style, new_figure, write_figure
from arcticdl.training.batches import check_at_least
from arcticdl.training.watch.losses import Gradients

VANISHED = 1e-4
EXPLODED = 10.0
_COLUMNS = ("epoch", "group", "gradient_norm", "weight_norm", "ratio")


class GradientWatch(keras.callbacks.Callback):
    """Measures gradients against weights, by parts of the network, every few epochs.

    Of each part it keeps the norm of the gradient, the norm of the weights and their
    ratio, in ``gradients.csv`` and drawn in ``gradients.png``. The ratio is what tells
    parts of different size apart. Gradients *vanish* where a part's ratio is below
    1e-4 of the largest (Glorot and Bengio 2010 compare layers likewise, PMLR 9:249),
    and *explode* where they are no numbers or ten times as large as the weights, so
    that a step at a rate of 0.1 replaces them (Pascanu et al. 2013,
    doi:10.48550/arXiv.1211.5063). Either is said once a part, with the cure.

    It looks at one batch, always the same, before an epoch, and changes nothing: a
    training ends with the same weights with and without it. On TensorFlow and JAX.

    Args:
        training_feed: Batches; the first of its present epoch is looked at.
        folder: Where table and drawing lie; ``None``: in `rows` alone.
        every: Epochs between two looks, >= 1.

    Attributes:
        rows: What was measured, a dict for each look and part.

    Raises:
        ValueError: `every` below 1, or another backend.

    Example:
        ``model.fit(feed, callbacks=[GradientWatch(feed, "gradients")])``
    """

    def __init__(
        self,
        training_feed: keras.utils.PyDataset,
        folder: str | Path | None = None,
        *,
        every: int = 1,
    ) -> None:
        super().__init__()
        check_at_least("every", every, 1)
        self.every = every
        self.folder = None if folder is None else Path(folder)
        self.batch = training_feed[0]
        self.rows: list[dict[str, Any]] = []
        self._told: set[tuple[str, str]] = set()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reads what an interrupted training has measured."""
        if self.folder is not None and (self.folder / "gradients.csv").is_file():
            text = (self.folder / "gradients.csv").read_text(encoding="utf-8")
            self.rows = [
                {
                    key: value if key == "group" else float(value)
                    for key, value in r.items()
                }
                for r in csv.DictReader(io.StringIO(text))
            ]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks, where it is time."""
        if epoch % self.every:
            return
        found = measure_gradients(self.model, self.batch)
        old = [row for row in self.rows if row["epoch"] <= epoch]
        self.rows = old + [{"epoch": epoch + 1.0, **row} for row in found]
        for kind, group, words in judge_gradients(found):
            if (kind, group) not in self._told:
                self._told.add((kind, group))
                say = Console(highlight=False, markup=False, soft_wrap=True).print
                say(f"gradients, epoch {epoch + 1}: {words}")
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(self.folder)

    def _write(self, folder: Path) -> None:
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, _COLUMNS)
        writer.writeheader()
        for row in self.rows:
            writer.writerow(row | {"epoch": int(row["epoch"])})
        write_text(folder / "gradients.csv", table.getvalue())
        write_figure(draw_gradients(self.rows), folder / "gradients.png", dpi=110)


def layer_groups(model: keras.Model) -> dict[str, list[Any]]:
    """Trainable variables by parts of a network, from the image on.

    Args:
        model: Any model. Of one of ours parts are stages of the backbone, the decoder,
            and what follows it, by layer; of another each layer is one.

    Returns:
        Name of the part -> its variables; parts without any are left out.

    Example:
        >>> from arcticdl.models import build_segmenter
        >>> model = build_segmenter("plain", num_bands=2, num_classes=3)
        >>> list(layer_groups(model))[-2:]
        ['decoder', 'segmentation_conv']
    """
    groups: dict[str, list[Any]] = {}
    for layer in model.layers:
        if layer.name == BACKBONE:
            for number, stage in enumerate(stage_layers(model), start=1):
                inside = [v for part in stage for v in part.trainable_variables]
                groups[f"backbone stage {number}"] = inside
            continue
        name = "decoder" if layer.name.startswith("decoder") else layer.name
        groups.setdefault(name, []).extend(layer.trainable_variables)
    return {name: variables for name, variables in groups.items() if variables}


def measure_gradients(model: keras.Model, batch: Any) -> list[dict[str, Any]]:
    """Norms of gradients and weights of each part, for one batch.

    Args:
        model: A compiled model.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``.

    Returns:
        A dict for each part: ``group``, ``gradient_norm``, ``weight_norm`` and their
        ``ratio``, NaN where all weights are 0.
    """
    _, gradients = Gradients(model)(batch)
    place = {id(v): number for number, v in enumerate(model.trainable_variables)}
    rows = []
    for name, variables in layer_groups(model).items():
        own = [gradients[place[id(v)]] for v in variables]
        gradient = _norm([g for g in own if g is not None])
        weight = _norm(variables)
        ratio = gradient / weight if weight > 0 else float("nan")
        rows.append(
            {
                "group": name,
                "gradient_norm": gradient,
                "weight_norm": weight,
                "ratio": ratio,
            }
        )
    return rows


def _norm(arrays: Sequence[Any]) -> float:
    squares = [
        np.square(np.asarray(keras.ops.convert_to_numpy(a), "float64")).sum()
        for a in arrays
    ]
    return float(np.sqrt(sum(squares)))


def judge_gradients(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Which parts of one look have gradients that vanish or explode.

    Args:
        rows: As `measure_gradients` gives them.

    Returns:
        Kind, part, and what to say of it with the cure.
    """
    ratios = {row["group"]: float(row["ratio"]) for row in rows}
    largest = max((r for r in ratios.values() if np.isfinite(r)), default=0.0)
    found = []
    for row in rows:
        name, ratio = row["group"], ratios[row["group"]]
        if not np.isfinite(row["gradient_norm"]) or ratio > EXPLODED:
            words = (
                f"{name} has gradients {ratio:.2g} times its weights: they explode. "
                "Clip them (`train.clip_norm`), lower the learning rate, or add "
                "normalisation."
            )
            found.append(("explode", name, words))
        elif ratio < VANISHED * largest:
            words = (
                f"{name} has gradients {ratio:.2g} times its weights, the largest part "
                f"{largest:.2g}: they vanish, it hardly learns. Add normalisation or "
                "shortcuts, take an activation that does not saturate, begin with "
                "trained weights, or look whether a loss reaches this part."
            )
            found.append(("vanish", name, words))
    return found


def draw_gradients(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draws the ratio of gradient to weight by part and epoch, the image at the top."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    epochs = sorted({row["epoch"] for row in rows})
    ratios = np.full((len(groups), len(epochs)), np.nan)
    for row in rows:
        place = groups.index(row["group"]), epochs.index(row["epoch"])
        ratios[place] = row["ratio"] if np.isfinite(row["ratio"]) else np.nan
    with np.errstate(divide="ignore"):
        powers = np.log10(ratios)
    powers[~np.isfinite(powers)] = np.nan
    with house_style():
        figure = new_figure((7.2, 1.6 + 0.28 * len(groups)))
        ax = figure.add_subplot()
        edges = np.arange(len(epochs) + 1) + 0.5
        ax.set_facecolor("#c8c8c8")
        drawn = ax.pcolormesh(
            edges, np.arange(len(groups) + 1) - 0.5, powers, cmap="viridis"
        )
        ax.set_yticks(range(len(groups)), groups)
        ax.invert_yaxis()
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ax.xaxis.set_major_formatter(
            lambda x, _: f"{epochs[round(x) - 1]:g}" if 1 <= x <= len(epochs) else ""
        )
        ax.set(xlabel="epoch", title="gradients against weights")
        bar = figure.colorbar(drawn, ax=ax)
        bar.set_label("norm of gradient / norm of weights (1)")
        bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        bar.ax.yaxis.set_major_formatter(lambda power, _: f"{10.0**power:.0e}")
    return figure
