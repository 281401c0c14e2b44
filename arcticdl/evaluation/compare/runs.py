"""Run folders side by side: read, and refused where they cannot be compared."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from arcticdl.choices import check_names
from arcticdl.evaluation.compare.comparison import Comparison, compare_results
from arcticdl.evaluation.compare.counts import SCENE


class ScoredRun(NamedTuple):
    """What a run folder tells of itself once it is evaluated.

    Attributes:
        fingerprint: Of the store that its folds were made from.
        splits: Fold -> names of its scenes by part.
        results: Fold -> its evaluation's result.
    """

    fingerprint: str
    splits: dict[int, dict[str, list[str]]]
    results: dict[int, dict[str, Any]]


def compare_runs(
    runs: Sequence[str | os.PathLike],
    *,
    fold: int | str = "all",
    unit: str = SCENE,
    scores: Sequence[str] = (),
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compares run folders with the first of them; see ``compare_results``.

    Args:
        runs: Run folders that ``arcticdl evaluate`` has scored; at least two.
        fold: Number of one fold, or ``"all"`` that are scored.
        unit: ``"scene"``, or a column of ``strata`` whose scenes belong together, such
            as a flight or a glacier.
        scores: Keys of scores; default: the chief ones of each task.
        num_resamples: Bootstrap draws, and swaps where not all can be tried.
        seed: Of both.

    Raises:
        FileNotFoundError: A folder is no run, or is not evaluated.
        ValueError: The runs were not made from the same data, their folds hold out
            other scenes, or they answer another question; one scene alone; a score or
            unit that there is not.
    """
    check_names(scores=scores)
    named = _named([Path(run) for run in runs])
    read = {name: read_scored(path, fold) for name, path in named.items()}
    if len(read) > 1:
        _check_together(read)
    found = compare_results(
        {name: list(run.results.values()) for name, run in read.items()},
        unit=unit,
        scores=scores,
        num_resamples=num_resamples,
        seed=seed,
    )
    return replace(found, notes=(*found.notes, *_trained_otherwise(read)))


def read_scored(folder: Path, fold: int | str = "all") -> ScoredRun:
    """Reads what is compared of a run folder.

    Args:
        folder: The run folder.
        fold: Number of one fold, or ``"all"`` that are scored.

    Raises:
        FileNotFoundError: It is no run folder, or the fold is not evaluated.
        ValueError: A file is broken.
    """
    if not (folder / "environment.json").is_file():
        raise FileNotFoundError(
            f"A run folder holds environment.json. Received: {folder}, which does not. "
            "Train first: arcticdl train CONFIG"
        )
    known = {
        int(path.parent.name.removeprefix("fold")): path
        for path in folder.glob("fold*/metrics.json")
        if path.parent.name.removeprefix("fold").isdigit()
    }
    chosen = {k: p for k, p in sorted(known.items()) if str(fold) in ("all", str(k))}
    if not chosen:
        which = "no fold is" if fold == "all" else f"fold {fold} is not"
        raise FileNotFoundError(
            f"Runs are compared by their held-out scenes. Received: {folder}, of which "
            f"{which} evaluated. Do it first: arcticdl evaluate {folder}"
        )
    return ScoredRun(
        str(_read(folder / "environment.json").get("data_fingerprint", "")),
        {k: _read(path.parent / "split.json") for k, path in chosen.items()},
        {k: _read(path) for k, path in chosen.items()},
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"A run's files must be whole. Received: {path}, which is not JSON "
            f"({error}). Evaluate the run again."
        ) from error
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} must hold a table. Received: {type(found).__name__}. Evaluate the "
            "run again."
        )
    return found


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """A name for each run: of its folder, or its whole path where two share that."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(
            "`runs` must be different folders. "
            f"Received: {[str(path) for path in paths]}."
        )
    short = [path.resolve().name for path in paths]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    return dict(zip(names, paths, strict=True))


def _check_together(runs: Mapping[str, ScoredRun]) -> None:
    (first, one), *others = runs.items()
    for name, other in others:
        if one.fingerprint != other.fingerprint:
            raise ValueError(
                "Runs must be made from the same data to be compared. Received: "
                f"{first} from the store {one.fingerprint[:12] or 'unknown'}, {name} "
                f"from {other.fingerprint[:12] or 'unknown'}. Train both on one store."
            )
        if one.results.keys() != other.results.keys():
            raise ValueError(
                "Runs must be evaluated on the same folds to be compared. Received: "
                f"folds {sorted(one.results)} of {first}, {sorted(other.results)} of "
                f"{name}. Train and evaluate the missing ones, or choose one fold with "
                "`fold`."
            )
        for fold, split in one.splits.items():
            if split.get("test") != other.splits[fold].get("test"):
                raise ValueError(
                    "Runs must hold out the same scenes to be compared. Received: "
                    f"other test scenes in fold {fold} of {first} and {name}. Give "
                    "both the same `folds` and train again."
                )


def _trained_otherwise(runs: Mapping[str, ScoredRun]) -> tuple[str, ...]:
    """Says where runs learnt from other scenes, which may be what is compared."""
    told = {
        name: sum(len(split.get("train", ())) for split in run.splits.values())
        for name, run in runs.items()
    }
    (_, one), *others = runs.items()
    same = all(
        run.splits[fold].get(part) == split.get(part)
        for _, run in others
        for fold, split in one.splits.items()
        for part in ("train", "validation")
    )
    if same:
        return ()
    folds = "its fold" if len(one.splits) == 1 else f"its {len(one.splits)} folds"
    counts = ", ".join(f"{name} {count}" for name, count in told.items())
    return (
        "The runs did not learn from the same scenes (training scenes of each run, "
        f"added up over {folds}: {counts}), so the difference is also one of data.",
    )
