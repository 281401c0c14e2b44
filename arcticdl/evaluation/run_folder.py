"""Reads what a run folder holds; what is missing or broken becomes a note."""

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arcticdl.evaluation.pool import pool_folds, results_by_head

_RESULT_KEYS = ("images", "pooled", "scores")
_CLASS_KEYS = ("classes", "colors", "confusion_matrix")
_PICTURES = ("map.png", "maps/*.png", "predictions/*.png")


NETWORKS_TAG = "arcticdl_networks"
"""Tag of a map with digests of the files of the networks that made it."""


@dataclass
class FoldFolder:
    """What one ``foldK`` holds."""

    number: int
    path: Path
    metrics: dict[str, Any] | None = None
    leakage: dict[str, Any] | None = None
    history: Path | None = None
    pictures: list[dict[str, Any]] = field(default_factory=list)
    scenes: list[dict[str, Any]] = field(default_factory=list)
    importance: dict[str, Any] = field(default_factory=dict)
    anomalies: dict[str, Any] = field(default_factory=dict)


@dataclass
class RunFolder:
    """What a run folder holds.

    Attributes:
        path: The folder.
        config: Text of ``config.yaml``.
        environment: ``environment.json``.
        result: The pooled result: ``summary.json``, or pooled here from the folds.
        folds: The folds, in order of their number.
        maps: Pictures of mapped scenes.
        notes: What is missing or broken, and the way out; one sentence each.
    """

    path: Path
    config: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    folds: list[FoldFolder] = field(default_factory=list)
    maps: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_run(run_dir: Path) -> RunFolder:
    """Reads a run folder, whole or not.

    Args:
        run_dir: The folder, as ``arcticdl train`` makes it.

    Returns:
        Its contents, with a note for each part that is missing or broken.

    Raises:
        FileNotFoundError: If the folder is not there, or holds nothing of a run.
    """
    if not run_dir.is_dir():
        raise FileNotFoundError(
            "`run_dir` must be the folder of a run, as `arcticdl train` makes it. "
            f"Received: {run_dir}, which is not a folder."
        )
    run = RunFolder(run_dir)
    run.folds = _read_folds(run)
    if not run.folds and not (run_dir / "config.yaml").is_file():
        held = sorted(p.name for p in run_dir.iterdir())[:8]
        raise FileNotFoundError(
            "`run_dir` must hold config.yaml or folders fold0, fold1, ... "
            f"Received: {run_dir}, which holds {held}."
        )
    run.config = _read_text(run, run_dir / "config.yaml")
    run.environment = _read_json(run, run_dir / "environment.json") or {}
    run.result = _read_result(run)
    run.maps = _find_maps(run)
    return run


def _read_folds(run: RunFolder) -> list[FoldFolder]:
    found = (re.fullmatch(r"fold(\d+)", p.name) for p in run.path.iterdir())
    numbers = sorted(int(match[1]) for match in found if match)
    return [_read_fold(run, number) for number in numbers]


def _read_fold(run: RunFolder, number: int) -> FoldFolder:
    path = run.path / f"fold{number}"
    fold = FoldFolder(number, path)
    fold.metrics = _checked(run, path / "metrics.json", optional=False)
    if (path / "history.csv").is_file():
        fold.history = path / "history.csv"
    elif found := sorted(path.glob("*/history.csv")):
        fold.history = found[0]
        run.notes.append(
            f"fold{number} is an ensemble; its training curves are those of "
            f"{found[0].parent.name}."
        )
    else:
        run.notes.append(
            f"fold{number}/history.csv is missing: no training curves of this fold."
        )
    leakage = _read_json(run, path / "leakage.json", optional=True)
    fold.leakage = leakage if isinstance(leakage, dict) else None
    importance = _read_json(run, path / "importance.json", optional=True)
    fold.importance = importance if isinstance(importance, dict) else {}
    anomalies = _read_json(run, path / "anomalies.json", optional=True)
    fold.anomalies = anomalies if isinstance(anomalies, dict) else {}
    fold.pictures = _read_pictures(run, path / "pictures")
    for folder in (path / "pictures", *sorted((path / "pictures").glob("*/"))):
        head = "" if folder.name == "pictures" else folder.name
        fold.scenes += _read_scenes(run, folder, head)
    return fold


def _read_pictures(run: RunFolder, folder: Path) -> list[dict[str, Any]]:
    """Pictures of the single head, or of each of several in a folder of its own."""
    found = _read_listed(run, folder, "")
    if folder.is_dir():
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            found += _read_listed(run, inner, inner.name)
    return found


def _read_listed(run: RunFolder, folder: Path, head: str) -> list[dict[str, Any]]:
    listed = _read_json(run, folder / "pictures.json", optional=True)
    if not isinstance(listed, list):
        return []
    kept = []
    for entry in listed:
        file = folder / Path(str(entry.get("file", ""))).name
        if not file.is_file():
            run.notes.append(f"{_short(run, file)} is listed but not there.")
            continue
        kept.append({**entry, "path": file, "head": head})
    return kept


def _read_scenes(run: RunFolder, folder: Path, head: str) -> list[dict[str, Any]]:
    """Whole scenes with the paths of their panels."""
    kept = []
    for entry in _read_json(run, folder / "scenes.json", optional=True) or []:
        paths = {panel: folder / file for panel, file in entry["files"].items()}
        lacking = [_short(run, path) for path in paths.values() if not path.is_file()]
        run.notes += [f"{name} is listed but not there." for name in lacking]
        if not lacking:
            kept.append({**entry, "paths": paths, "head": head})
    return kept


def _read_result(run: RunFolder) -> dict[str, Any] | None:
    summary = _checked(run, run.path / "summary.json", optional=True)
    if summary is not None:
        return summary
    results = [f.metrics | {"fold": f.number} for f in run.folds if f.metrics]
    if not results:
        run.notes.append(
            "No evaluation to show. Make one with "
            f"`arcticdl evaluate {run.path}`, then write the report again."
        )
        return None
    try:
        return pool_folds(results)
    except (KeyError, TypeError, ValueError) as error:
        run.notes.append(f"The folds cannot be pooled: {error}")
        return results[0]


def _checked(run: RunFolder, path: Path, *, optional: bool) -> dict[str, Any] | None:
    result = _read_json(run, path, optional=optional)
    if result is None:
        return None
    lacking: list[str] = []
    for part in results_by_head(result).values():
        # Results of old do not say by what they are scored: they are class maps.
        kind = part.get("scored_by", "classes")
        keys = (*_RESULT_KEYS, *(_CLASS_KEYS if kind == "classes" else ()))
        lacking += [key for key in keys if key not in part]
    if not isinstance(result, Mapping) or lacking:
        run.notes.append(
            f"{_short(run, path)} is not an evaluation's result: it lacks {lacking}."
        )
        return None
    return dict(result)


def network_tag(models: Iterable[Path]) -> dict[str, str]:
    """The tag of a map by which a report knows whether its networks are still there.

    Args:
        models: The networks' files.
    """
    return {NETWORKS_TAG: ",".join(_digests(models))}


def _digests(models: Iterable[Path]) -> list[str]:
    found = []
    for path in models:
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest()[:16])
    return found


def _find_maps(run: RunFolder) -> list[Path]:
    """Pictures of maps; without those of networks that the run no longer has."""
    roots = [run.path, *(fold.path for fold in run.folds)]
    found = [p for root in roots for glob in _PICTURES for p in sorted(root.glob(glob))]
    makers = {path: _makers(path) for path in found}
    if not any(makers.values()):
        return found
    files = (*run.path.glob("*.keras"), *run.path.glob("*/*.keras"))  # and ensembles
    there = {*_digests(files)}
    outdated = [path for path in found if not makers[path] <= there]
    if outdated:
        run.notes.append(
            f"{len(outdated)} of {len(found)} maps, such as "
            f"{_short(run, outdated[0])}, are not shown: the networks that made them "
            f"are no longer in the run, as where they were trained or calibrated anew. "
            f"Make them anew with `arcticdl predict {run.path} --overwrite`, and "
            "--fold K where it is not the usual one."
        )
    return [path for path in found if path not in outdated]


def _makers(picture: Path) -> set[str]:
    """Digests of the networks that made what a picture shows; none where not told."""
    import rasterio
    import xarray as xr

    told = None
    try:
        if (path := picture.with_suffix(".tif")).is_file():
            with warnings.catch_warnings():  # maps of plain images have no place
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                with rasterio.open(path) as file:
                    told = file.tags().get(NETWORKS_TAG)
        elif (path := picture.with_suffix(".nc")).is_file():
            with xr.open_dataset(path, engine="h5netcdf") as maps:
                told = maps.attrs.get(NETWORKS_TAG)
        elif (path := picture.with_suffix(".json")).is_file():
            about = json.loads(path.read_text(encoding="utf-8"))
            told = about.get(NETWORKS_TAG) if isinstance(about, dict) else None
    except (OSError, ValueError, rasterio.RasterioIOError):
        return set()  # a broken map does not keep its picture from a report
    return set(str(told).split(",")) if told else set()


def _read_text(run: RunFolder, path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        run.notes.append(f"{_short(run, path)} is missing.")
    except (OSError, UnicodeDecodeError) as error:
        run.notes.append(f"{_short(run, path)} cannot be read: {error}")
    return None


def _read_json(run: RunFolder, path: Path, *, optional: bool = False) -> Any:
    if optional and not path.exists():
        return None
    text = _read_text(run, path)
    if text is None:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        run.notes.append(f"{_short(run, path)} is not valid JSON: {error}")
    return None


def _short(run: RunFolder, path: Path) -> str:
    return path.relative_to(run.path).as_posix()
