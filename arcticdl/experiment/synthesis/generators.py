"""Trained runs that draw a band of a map of classes, and which of them go together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.folder import Fold, fold_path, load_run
from arcticdl.experiment.synthesis.ground import Seen, scenes_of


class Generator(NamedTuple):
    """A trained run that draws one band."""

    run: str
    config: Experiment
    model: Any
    normalizer: Any
    beside: tuple[str, ...]
    band: str
    num_classes: int
    weights: str


def load_generator(run: str | Path, fold: Fold | str | int) -> Generator:
    """Loads a trained generator, with what scales its input.

    Args:
        run: Its run folder.
        fold: Of the run.

    Raises:
        ConfigError: The run is none.
        FileNotFoundError: No such run, or no model of the fold.
    """
    from arcticdl.inference.load import load_model
    from arcticdl.inference.novelty.features import weights_digest
    from arcticdl.models import get_card
    from arcticdl.tiles import Normalizer

    folder, config = load_run(run)
    condition = config.data.condition
    label = config.data.labels.get(config.label_name)
    band = None if label is None else label.band
    drawing = config.task_of(config.label_name) == "dense_ensemble"
    if condition is None or not drawing or not isinstance(band, str):
        raise ConfigError(
            "Scenes are made by generators: runs of the task dense_ensemble whose "
            "label is a band (`band: HH`) and whose `data.condition` names a label of "
            f"classes. Received: {folder}, whose task is "
            f"{config.task_of(config.label_name)} and condition "
            f"{condition and condition.label}."
        )
    path = fold_path(folder, fold) / "model.keras"  # type: ignore[arg-type]
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no model of fold {fold}. Train it: arcticdl train CONFIG "
            f"--fold {fold}"
        )
    model = load_model(path)
    card = get_card(model) or {}
    return Generator(
        str(folder),
        config,
        model,
        Normalizer.from_dict(card["normalizer"]),
        condition.bands,
        band,
        len(config.data.labels[condition.label].classes),
        weights_digest(model),
    )


def check_together(generators: Sequence[Generator], fold: str | int) -> Seen:
    """Tells which scenes the generators have seen.

    Args:
        generators: In the order in which they draw.
        fold: Of their runs.

    Raises:
        ConfigError: The generators are of other classes, bands or parts of a fold.
    """
    if not generators:
        raise ConfigError("`runs` must name at least one generator. Received: none.")
    first = generators[0]
    drawn: list[str] = []
    for each in generators:
        late = [g.band for g in generators if g.band in each.beside]
        if each.band in drawn or not set(late) <= set(drawn):
            raise ConfigError(
                "Each generator must draw a band of its own, and come after those "
                f"whose bands it sees. Received: {each.run}, which draws {each.band} "
                f"and sees {list(each.beside)}, after those of {drawn}."
            )
        drawn.append(each.band)
        told = [(g.config.data.condition, g.config.data.labels) for g in (first, each)]
        names = [c.label for c, _ in told if c is not None]
        classes = [
            labels[n].classes for n, (_, labels) in zip(names, told, strict=True)
        ]
        if len({*names}) > 1 or len({*classes}) > 1:
            raise ConfigError(
                "Generators must see the same label of the same classes. Received: "
                f"{names} of {[list(c) for c in classes]}."
            )
    return scenes_of([g.run for g in generators], fold)
