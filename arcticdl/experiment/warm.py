"""Warm starts: the weights of another run, which must not have seen the test fold."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arcticdl.config import Experiment
from arcticdl.errors import SplitError
from arcticdl.experiment.folder import FULL, Fold, fold_path, load_run, trained_folds
from arcticdl.experiment.split import Split
from arcticdl.tiles import TileStore


def find_start(config: Experiment, fold: Fold) -> Path | None:
    """The folder of the trained fold whose weights are the first ones.

    Args:
        config: The experiment.
        fold: The fold that is to be trained.

    Returns:
        ``None`` where no warm start is configured.

    Raises:
        FileNotFoundError: The run, or its fold, is not there or not trained.
    """
    settings = config.model.warm_start
    if settings is None:
        return None
    folder, _ = load_run(settings.run)
    path = fold_path(folder, fold if settings.fold is None else settings.fold)
    if not (path / "model.keras").is_file():
        known: list[Fold] = [*trained_folds(folder)]
        known += [FULL] if (folder / FULL / "model.keras").is_file() else []
        raise FileNotFoundError(
            f"`model.warm_start`: {path} holds no trained model. Trained folds of "
            f"{folder}: {known}; name one of them by `model.warm_start.fold`."
        )
    return path


def check_start(
    config: Experiment, store: TileStore, splits: Mapping[Any, Split]
) -> None:
    """Refuses a warm start from a model that has seen what a fold is tested on.

    Args:
        config: The experiment.
        store: Its store.
        splits: Fold -> its parts, of the folds that are to be trained.

    Raises:
        FileNotFoundError: As for ``find_start``.
        SplitError: The other model learnt from scenes, or from other scenes of the same
            group, that are in the test part here.
    """
    for fold, split in splits.items():
        start = find_start(config, fold)
        if start is None:
            continue
        leaked = sorted(scenes_seen(start) & _held_out(config, store, split))
        if leaked:
            raise SplitError(
                f"`model.warm_start` must not have seen the scenes that fold {fold} is "
                f"tested on, or others of their {config.folds.group}. Received: "
                f"{start}, which learnt from {len(leaked)}, such as {leaked[0]!r}. "
                "Hold them out there as well, or start from another fold."
            )


def scenes_seen(fold_dir: Path) -> set[str]:
    """Scenes that a trained fold has learnt from, or that those before it have.

    Args:
        fold_dir: Folder of the fold.

    Raises:
        FileNotFoundError: It has no ``split.json``.
    """
    split = json.loads((fold_dir / "split.json").read_text(encoding="utf-8"))
    parts = (split.get(part, ()) for part in ("train", "validation", "before"))
    return {str(name) for names in parts for name in names}


def _held_out(config: Experiment, store: TileStore, split: Split) -> set[str]:
    """Scenes of which a group is in the test part."""
    manifest = store.manifest
    scenes = manifest["scene_id"].astype(str).to_numpy()
    column = config.folds.group
    column = column if column in manifest else "scene_id"
    groups = manifest[column].astype(str).to_numpy()
    tested = set(groups[split.test])
    return {
        scene for scene, group in zip(scenes, groups, strict=True) if group in tested
    }
