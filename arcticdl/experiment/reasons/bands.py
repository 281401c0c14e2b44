"""The importance of bands, on the scenes that a fold did not see."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run
from arcticdl.files import write_json

FILE = "importance.json"


def band_importance(
    run: str | Path, *, fold: str | int = "all", repeats: int = 3, max_tiles: int = 256
) -> dict[int, dict[str, Any]]:
    """Scores each fold's model on its held-out tiles without what each band tells.

    Args:
        run: Run folder.
        fold: Number, or ``"all"`` that are trained.
        repeats: Permutations of each band.
        max_tiles: Of more held-out tiles this many are drawn.

    Returns:
        Fold -> as of `explain.band_importance`; also in ``foldK/importance.json``,
        which the report shows.

    Raises:
        ConfigError: The fold is not trained, or is the full model.
        ValueError: The model is an ensemble, or too few tiles test the fold.
        FileNotFoundError: No such run or store.
    """
    from arcticdl import explain
    from arcticdl.labelling.unaided import for_tests

    folder, config = load_run(run)
    numbers = chosen_folds(folder, fold)
    store = open_prepared(config)
    splits = folds_of_run(folder, store, config, numbers)
    found = {}
    for number in numbers:
        path = fold_path(folder, number)
        found[number] = explain.band_importance(
            path / "model.keras",
            for_tests(store),
            splits[number].test,
            num_repeats=repeats,
            max_tiles=max_tiles,
            seed=config.seed,
        )
        write_json(path / FILE, found[number])
    return found


def describe_importance(found: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """What was found, in a line for each band."""
    lines = []
    for fold, labels in found.items():
        for label, told in labels.items():
            title = told["score"]["title"]
            lines.append(
                f"fold {fold}, {label}: {title} {_number(told['whole'])}; by how much "
                f"it gets worse on {told['num_tiles']} tiles of {told['num_scenes']} "
                "scenes:"
            )
            bands = told["bands"].items()
            for band, ways in sorted(bands, key=_by_loss):
                permuted, left = _told(ways["permuted"]), _told(ways["left_out"])
                lines.append(f"{band:>14} permuted {permuted}, left out {left}")
    return lines


def _by_loss(item: tuple[str, Mapping[str, Any]]) -> float:
    return -(item[1]["permuted"]["loss"] or 0.0)


def _told(way: Mapping[str, Any]) -> str:
    return _number(way["loss"]) + _within(way["interval"])


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _within(interval: Any) -> str:
    return "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
