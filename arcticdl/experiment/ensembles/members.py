"""The networks of one fold: what each is trained on, and how they become one model."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.ensembles.sample import Sample, sample_answers
from arcticdl.experiment.split import Split, describe_split
from arcticdl.files import write_json
from arcticdl.tasks import SCORES
from arcticdl.tiles import TileStore


@dataclass(frozen=True)
class Part:
    """One training of a fold.

    Attributes:
        folder: Where it writes.
        seed: Of first weights, order and augmentation.
        split: Its tiles.
        snapshots: Folders of the networks that it leaves on its way; mostly none.
    """

    folder: Path
    seed: int
    split: Split
    snapshots: tuple[Path, ...] = ()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return (self.folder / "model.keras").is_file()


def plan_parts(
    config: Experiment, store: TileStore, split: Split, fold_dir: Path, seed: int
) -> list[Part]:
    """The trainings of a fold: one, or those of the members of its ensemble.

    Args:
        config: The experiment.
        store: Its store.
        split: The fold's tiles. All members share validation and test part.
        fold_dir: The fold's folder.
        seed: The fold's own; the first member's as well.
    """
    settings = config.train.ensemble
    if settings is None:
        return [Part(fold_dir, seed, split)]
    folders = member_folders(config, fold_dir)
    if settings.kind == "snapshots":
        return [Part(fold_dir / "snapshots", seed, split, tuple(folders))]
    stride = config.folds.n_splits + 1  # no two members of any folds share a seed
    parts = []
    for number, folder in enumerate(folders):
        own = seed + stride * number
        mine = split
        if settings.kind == "bagging":
            drawn = draw_groups(store, split.train, config.folds.group, own)
            mine = Split(drawn, split.validation, split.test)
        parts.append(Part(folder, own, mine))
    return parts


def member_folders(config: Experiment, fold_dir: Path) -> list[Path]:
    """Where the members of a fold's ensemble lie; empty where it is one network."""
    settings = config.train.ensemble
    count = 0 if settings is None else settings.members
    return [fold_dir / f"member{number}" for number in range(count)]


def draw_groups(
    store: TileStore, tiles: NDArray[np.int64], column: str, seed: int
) -> NDArray[np.int64]:
    """Draws groups of tiles with replacement, as many as there are: bagging.

    Breiman 1996 (doi 10.1007/BF00058655). Scenes are drawn and not tiles: tiles of one
    scene are near copies of each other.

    Args:
        store: The store.
        tiles: Training tiles.
        column: Manifest column of the groups.
        seed: Of the draw.

    Returns:
        Tiles of the groups that were drawn, those of a group drawn twice twice.
    """
    groups = store.manifest[column].astype(str).to_numpy()[tiles]
    _, codes = np.unique(groups, return_inverse=True)
    count = int(codes.max()) + 1
    drawn = np.random.default_rng(seed).integers(count, size=count)
    return np.repeat(tiles, np.bincount(drawn, minlength=count)[codes])


def snapshot_callbacks(config: Experiment, part: Part, num_steps: int) -> list[Any]:
    """The callback that keeps a network at the end of each cycle, where one is due.

    Raises:
        ConfigError: The training has fewer steps than cycles.
    """
    if not part.snapshots:
        return []
    from arcticdl.training.snapshots import Snapshots, cycle_ends

    settings = config.train
    warmup = settings.warmup_fraction
    options = {} if warmup is None else {"warmup_fraction": warmup}
    name, cycles = settings.schedule.name, len(part.snapshots)
    try:
        ends = cycle_ends(name, num_steps, num_cycles=cycles, **options)
    except ValueError as error:
        raise ConfigError(f"`train.ensemble` snapshots: {error}") from error
    return [Snapshots(part.snapshots, ends)]


def write_draw(store: TileStore, part: Part) -> None:
    """Writes ``split.json`` of a member: the scenes that it is trained on."""
    write_json(part.folder / "split.json", describe_split(store, part.split))


def join_members(
    config: Experiment, store: TileStore, split: Split, fold_dir: Path
) -> list[str]:
    """Joins the trained members of a fold to its ``model.keras``.

    Weights and stack come from the validation part alone. ``ensemble.json`` keeps them
    beside what the members and the whole score there, on a sample of pixels.

    Returns:
        Lines that say how the members were combined.

    Raises:
        ConfigError: The validation part cannot teach a stack.
    """
    from arcticdl.inference import build_ensemble
    from arcticdl.training.fit import save_model

    settings = config.train.ensemble
    assert settings is not None  # of a fold that has members
    folders = member_folders(config, fold_dir)
    names = [folder.name for folder in folders]
    paths = [folder / "model.keras" for folder in folders]
    told = describe_split(store, split)
    found: dict[str, Any] = {"kind": settings.kind, "combine": settings.combine}
    options: dict[str, Any] = {}
    if len(split.validation):
        samples = sample_answers(paths, store, split.validation, seed=config.seed)
        options, found["validation"] = _combine(settings.combine, samples, names)
    found["weights"] = dict(
        zip(names, options.get("weights") or [1 / len(names)] * len(names), strict=True)
    )
    write_json(fold_dir / "ensemble.json", found)
    seen = {*told["train"], *told["validation"]}
    joined = build_ensemble(paths, names=names, seen=seen, **options)
    save_model(joined, fold_dir / "model.keras")
    return _in_words(found)


def _combine(
    how: str, samples: dict[str, Sample], names: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of ``build_ensemble``, and scores by head on the validation sample."""
    from arcticdl.evaluation.combine import (
        apply_stack,
        chief_score,
        fit_stack,
        greedy_weights,
    )

    options: dict[str, Any] = {}
    weights = [1 / len(names)] * len(names)
    if how == "greedy":
        first = next(iter(samples.values()))
        score = partial(chief_score, truth=first.truth, head=first.head)
        options["weights"] = weights = greedy_weights(first.answers, score)
    if how == "stack":
        try:
            options["stacks"] = {
                name: fit_stack(one.answers, one.truth, one.head)
                for name, one in samples.items()
            }
        except ValueError as error:
            raise ConfigError(f"`train.ensemble.combine`: {error}") from error
    scores = {}
    for name, one in samples.items():
        answer = np.tensordot(weights, np.stack(one.answers), axes=1)
        if how == "stack":
            answer = apply_stack(options["stacks"][name], one.answers, one.head)
        chief, *_ = SCORES[one.head.form.scored_by]
        sign = -1 if chief.sign < 0 else 1
        scores[name] = {
            "score": chief.key,
            "num_sampled": len(one.truth),
            "members": {
                member: sign * chief_score(own, one.truth, one.head)
                for member, own in zip(names, one.answers, strict=True)
            },
            "ensemble": sign * chief_score(answer, one.truth, one.head),
        }
    return options, scores


def _in_words(found: dict[str, Any]) -> list[str]:
    weights = ", ".join(f"{name} {w:.2f}" for name, w in found["weights"].items())
    how = "a linear stack" if found["combine"] == "stack" else f"weights {weights}"
    lines = [f"ensemble: {found['kind']} of {len(found['weights'])}, {how}"]
    for name, scores in found.get("validation", {}).items():
        members = ", ".join(f"{score:.3f}" for score in scores["members"].values())
        lines.append(
            f"  {name}, {scores['score']} on a sample of the validation scenes: "
            f"members {members}; together {scores['ensemble']:.3f}"
        )
    return lines
