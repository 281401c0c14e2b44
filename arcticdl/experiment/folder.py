"""The run folder: what lies where, and who may write it."""

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock, Timeout
from rich.console import Console

from arcticdl.config import Experiment, dump_config, load_config
from arcticdl.errors import ConfigError
from arcticdl.files import write_json, write_text
from arcticdl.inference.exports.formats import FORMATS


def check_run(config: Experiment, folder: Path, *, overwrite: bool) -> None:
    """Checks, without writing, that a run folder may be used by this experiment.

    Raises:
        FileExistsError: The folder holds another experiment, or no experiment.
    """
    # Locks and unfinished files of a job that starts beside this one are hidden.
    if not folder.exists() or all(p.name.startswith(".") for p in folder.iterdir()):
        return
    stored = folder / "config.yaml"
    if not stored.exists():
        raise FileExistsError(
            f"{folder} exists and is no run folder (no config.yaml). Choose another "
            "with --run-dir."
        )
    if overwrite or stored.read_text(encoding="utf-8") == dump_config(config):
        return
    raise FileExistsError(
        f"{folder} holds a run with another configuration. Give this one another "
        "--run-dir, or replace the old one with --overwrite."
    )


_PATIENCE_S = 3.0
_POOLED_ENTRIES = ("autoice*.json", "report.html", "robustness.*", "summary.json")
_RUN_ENTRIES = (
    *_POOLED_ENTRIES,
    "batch_size.json",
    "config.yaml",
    "ensemble.keras",
    "ensemble_metrics_*.json",
    "environment.json",
    "map.png",
)
_EXPORTS = tuple(f"model{made.ending}*" for made in FORMATS.values())
_ANSWER_ENTRIES = (
    *("forecast", "importance.json", "metrics*.json", "pictures", "pictures_*"),
    *_EXPORTS,  # with their cards
)
"""What a fold's network answered, or was written as; all of it can be made anew."""
_FOLD_ENTRIES = (
    *_ANSWER_ENTRIES,
    "*.csv",
    "*.json",
    "anomalies.npz",
    "checkpoint",
    "gradients",
    "images",
    "best.keras",
    "last_good.keras",
    "latent.png",
    "member[0-9]*",
    "mlflow",
    "model.keras",
    "novelty.npz",
    "snapshots",
    "tensorboard",
    "wandb",
    ".old-of.*",
)
_MAP_ENTRIES = (
    *("*.csv", "*.gpkg", "*.nc", "*.parquet", "*.png", "*.tif", "*.zarr"),
    *("*.stac.json", "*_ice.json"),  # styles stay: they may be the user's own
)
_BESIDE = (
    *("*_fold*.zip", "*_full.zip", "charts", "drift", "ensemble.keras", "explained"),
    *("label_errors", "maps", "suggestions"),
)
"""What lies in a run folder beside its folds, made with their networks."""

FULL = "full"
"""In place of a fold's number: trained on every scene, so no score is its own."""

Fold: TypeAlias = int | str


def fold_path(folder: Path, fold: Fold) -> Path:
    """Where a fold's model and results lie; of ``FULL`` the model alone."""
    return folder / (FULL if fold == FULL else f"fold{fold}")


@contextmanager
def hold_fold(
    config: Experiment, folder: Path, fold: Fold, *, overwrite: bool
) -> Iterator[Path]:
    """Makes a fold's folder in the run folder, and keeps other jobs out of it.

    Jobs that start together on folds of one run, as array tasks do, each get theirs.
    The lock goes when the process ends, however it ends.

    Args:
        config: The experiment.
        folder: The run folder.
        fold: Number of the fold, or ``FULL``.
        overwrite: Remove what an older run of another configuration left, and of this
            one the older fold with the summary that counts it. What this package did
            not write stays.

    Yields:
        The fold's folder.

    Raises:
        FileExistsError: Another job holds the fold, or one that would be removed; the
            message says who and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        # One job at a time looks at the run as a whole, before it takes its fold: the
        # first removes what is old, while the others hold nothing yet.
        with FileLock(folder.parent / f".{folder.name}.lock"):
            held.enter_context(_lock(folder, fold))
            fold_dir = _create(config, folder, fold, overwrite)
        yield fold_dir


def _create(config: Experiment, folder: Path, fold: Fold, overwrite: bool) -> Path:
    stored, text = folder / "config.yaml", dump_config(config)
    fold_dir = fold_path(folder, fold)
    if overwrite and stored.exists():
        if stored.read_text(encoding="utf-8") == text:
            forget_answers(folder, fold)
            _remove(fold_dir, _FOLD_ENTRIES)
        else:
            _remove_run(folder, fold)
    write_text(stored, text)
    fold_dir.mkdir(exist_ok=True)
    return fold_dir


def forget_answers(folder: Path, fold: Fold) -> None:
    """Removes the scores and exports of a fold's network, which is now another.

    What only commands with a name of their own made, such as maps, stays, and is told.
    """
    _tell_outdated(folder, fold)
    _remove(fold_path(folder, fold), _ANSWER_ENTRIES)
    if fold != FULL:  # they tell the scores of the network that goes
        _remove(folder, _POOLED_ENTRIES)


def _tell_outdated(folder: Path, fold: Fold) -> None:
    """Says what a network has made that is replaced, and that does not go with it."""
    if not (fold_path(folder, fold) / "model.keras").is_file():
        return
    there = sorted({path.name for entry in _BESIDE for path in folder.glob(entry)})
    if there:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(
            f"note: {', '.join(there)} in {folder} stay. What the replaced "
            f"network of {fold_path(folder, fold).name} made there is outdated: make "
            "it anew, with --overwrite"
        )


def _remove_run(folder: Path, mine: Fold) -> None:
    """Removes what a run wrote, unless a job is at work on another fold of it."""
    folds = [p for p in folder.iterdir() if re.fullmatch(r"fold\d+|full", p.name)]
    with ExitStack() as locks:
        for path in folds:
            if path != fold_path(folder, mine):
                locks.enter_context(_lock(folder, path.name.removeprefix("fold")))
        for path in folds:
            _remove(path, _FOLD_ENTRIES)
        _remove(folder / "maps", _MAP_ENTRIES)
        _remove(folder, _RUN_ENTRIES)


def _remove(folder: Path, entries: tuple[str, ...]) -> None:
    """Removes entries of a folder, and the folder where nothing else is left."""
    for path in {found for entry in entries for found in folder.glob(entry)}:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def _lock(folder: Path, fold: Fold) -> Iterator[None]:
    """Keeps other jobs out of a fold; waits as long as one may merely be asking."""
    name = fold_path(folder, fold).name
    lock = FileLock(folder / f".{name}.lock", timeout=_PATIENCE_S)
    note = folder / f".{name}.holder.json"
    try:
        lock.acquire()
    except Timeout as error:
        raise FileExistsError(
            f"One job at a time may train a fold. Received: {folder / name}, which "
            f"{_describe_holder(note)} is training. Wait for it to end, or use another "
            "folder with --run-dir."
        ) from error
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        write_json(note, holder)
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _describe_holder(note: Path) -> str:
    try:
        held = json.loads(note.read_text("utf-8"))
        return f"process {held['pid']} on {held['host']} since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def claim_fold(folder: Path, fold: Fold, *, resume: bool, overwrite: bool) -> bool:
    """Decides what to do with a fold's folder.

    Returns:
        Whether the fold is still to be trained; ``False`` with ``resume`` when it is
        done.

    Raises:
        FileExistsError: The fold was begun or is done, and neither ``resume`` nor
            ``overwrite`` is given; or another job is training it.
    """
    path = fold_path(folder, fold)
    if (folder / f".{path.name}.lock").exists():
        with _lock(folder, fold):
            pass  # that it can be had is all there is to know
    if overwrite or not path.exists():
        return True
    done = (path / "model.keras").exists()
    if not resume:
        state = "is trained" if done else "was interrupted"
        way = "--overwrite" if done else "--resume"
        raise FileExistsError(
            f"{path} {state}. Use {way}, or another folder with --run-dir."
        )
    return not done


def load_run(
    run: str | Path, overrides: tuple[str, ...] = ()
) -> tuple[Path, Experiment]:
    """Reads a run folder's configuration.

    Args:
        run: The folder.
        overrides: As of ``load_config``, for this call alone.

    Raises:
        FileNotFoundError: No such folder, or it holds no config.yaml.
    """
    folder = Path(run)
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{folder} is no run folder: config.yaml is missing. Train one first: "
            "arcticdl train CONFIG"
        )
    return folder, load_config(folder / "config.yaml", overrides)


def trained_folds(folder: Path) -> list[int]:
    """Numbers of the folds that hold a finished model, ascending."""
    found = []
    for path in folder.glob("fold*/model.keras"):
        number = path.parent.name.removeprefix("fold")
        if number.isdigit():
            found.append(int(number))
    return sorted(found)


def meant_fold(folder: Path, fold: Fold | None = None) -> Fold:
    """The fold whose one model is used: the one that is named, or the only one.

    Args:
        folder: The run folder.
        fold: What was named; ``None``: fold 0 where it is trained, else the only model
            that there is, which may be ``FULL``.

    Raises:
        ConfigError: None is named, and there are several without fold 0.
        FileNotFoundError: None is named, and none is trained.
    """
    if fold is not None:
        return fold
    there: list[Fold] = [*trained_folds(folder)]
    if 0 in there:
        return 0
    if (fold_path(folder, FULL) / "model.keras").is_file():
        there.append(FULL)
    if not there:
        raise FileNotFoundError(
            f"{folder} holds no trained fold. Train first: arcticdl train CONFIG"
        )
    if len(there) > 1:
        raise ConfigError(
            f"`fold` (--fold) must say whose model, as there are several and none is "
            f"fold 0. Received: none, of {', '.join(map(str, there))} in {folder}."
        )
    return there[0]


def chosen_folds(folder: Path, fold: str | int | None) -> list[int]:
    """Numbers of the trained folds that are meant; of ``None`` as of ``meant_fold``.

    Raises:
        ConfigError: The fold is not trained, or is the full model, which nothing tests;
            or none is named, and there are several without fold 0.
        FileNotFoundError: None is trained.
    """
    trained = trained_folds(folder)
    fold = (
        trained[0] if fold is None and len(trained) == 1 else meant_fold(folder, fold)
    )
    if fold == FULL:
        raise ConfigError(
            "The full model was trained on every scene, so none is left to score it "
            f"on. Its quality is that of the folds: {trained} are trained."
        )
    if not trained:
        raise FileNotFoundError(
            f"{folder} holds no trained fold. Train first: arcticdl train CONFIG"
        )
    if fold == "all":
        return trained
    if not str(fold).isdigit() or int(fold) not in trained:
        raise ConfigError(
            f"`fold` must be `all` or one of the trained folds {trained}. "
            f"Received: {fold!r}."
        )
    return [int(fold)]


def check_writable(folder: Path) -> None:
    """Refuses a folder that cannot be made or written to, before a day of computing.

    Raises:
        OSError: A file stands in its way, it is read-only, or the disk is full.
    """
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    reason = "is a file, no folder"
    if there.is_dir():
        try:
            with tempfile.TemporaryFile(dir=there) as probe:
                probe.write(b"1")
            return
        except OSError as error:
            reason = f"cannot be written to: {error.strerror}"
    raise OSError(
        f"`out` (--out) must lie in a folder that can be written to. Received: "
        f"{folder}; {there} {reason}."
    )
