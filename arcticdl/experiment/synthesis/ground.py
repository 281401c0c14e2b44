"""What generators have seen, and the ground of it that may lend its maps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import FULL, fold_path


class Seen(NamedTuple):
    """Names of the scenes that generators have seen.

    Attributes:
        learnt: Those that they have learnt from, also before they were trained here.
        chosen_on: Those by which their weights were chosen, and which taught nothing.
        train: Those that may lend their maps.
    """

    learnt: set[str]
    chosen_on: set[str]
    train: set[str]


def scenes_of(runs: Sequence[str], fold: str | int) -> Seen:
    """Finds what generators have seen, which were all trained on the same scenes.

    Args:
        runs: Run folders.
        fold: Of them all.

    Raises:
        ConfigError: Their parts differ, or folds cut scenes into parts.
    """
    parts = [_parts(run, fold) for run in runs]
    names = ("train", "validation", "test")
    if any(part[n] != parts[0][n] for part in parts for n in names):
        raise ConfigError(
            f"Generators must be trained on the same scenes. Received: fold {fold} of "
            f"{list(runs)}, whose parts differ. Give them the same `data.scenes` and "
            "`folds`."
        )
    train, validation, test = (set(parts[0][name]) for name in names)
    if both := sorted((train | validation) & test | train & validation):
        raise ConfigError(
            "Scenes are made of maps of training scenes, all of which train. Received: "
            f"folds that cut scenes, such as {both[0]!r}, into parts. Split by "
            "`folds.group`."
        )
    learnt = train.union(*(part.get("before", ()) for part in parts))
    return Seen(learnt, validation - learnt, train)


def _parts(run: str, fold: str | int) -> dict[str, list[str]]:
    path = fold_path(Path(run), fold) / "split.json"  # type: ignore[arg-type]
    found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def trained_windows(
    runs: Mapping[str, Experiment], fold: str | int
) -> list[dict[str, list[tuple[slice, slice]]]]:
    """Finds the windows of scenes that trained each generator.

    What lies beside them was left out, since it is too near to what is tested.

    Args:
        runs: Run folder -> its configuration.
        fold: Of them all.

    Returns:
        Of each run, name of the scene -> rows and columns.

    Raises:
        FileNotFoundError: A store is gone.
        SplitError: A store deals its scenes to other parts than when it trained.
    """
    found = []
    for run, config in runs.items():
        store = open_prepared(config)
        number = FULL if fold == FULL else int(fold)
        split = folds_of_run(Path(run), store, config, [number])[number]
        rows = store.manifest.iloc[split.train]
        height, width = store.tile_size_px
        windows: dict[str, list[tuple[slice, slice]]] = {}
        corners = zip(rows["row"], rows["col"], strict=True)
        for name, (row, col) in zip(rows["scene_id"], corners, strict=True):
            window = slice(row, row + height), slice(col, col + width)
            windows.setdefault(str(name), []).append(window)
        found.append(windows)
    return found


def outside(
    name: str,
    shape: tuple[int, int],
    trained: Sequence[Mapping[str, Sequence[tuple[slice, slice]]]],
) -> np.ndarray:
    """Pixels of a scene that some generator was not trained on: ``(y, x)`` booleans."""
    left = np.zeros(shape, bool)
    for windows in trained:
        covered = np.zeros(shape, bool)
        for window in windows.get(name, ()):
            covered[window] = True
        left |= ~covered
    return left
