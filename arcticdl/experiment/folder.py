"""The run folder: what lies where, and who may write it."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

from arcticdl.config import Experiment, dump_config, load_config
from arcticdl.files import write_json, write_text

_PACKAGES = (
    "arcticdl",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "numpy",
    "xarray",
    "rasterio",
    "zarr",
    "tensorstore",
    "scikit-learn",
)


def check_run(config: Experiment, folder: Path, *, overwrite: bool) -> None:
    """Checks, without writing, that a run folder may be used by this experiment.

    Raises:
        FileExistsError: The folder holds another experiment, or no experiment.
    """
    if not folder.exists() or not any(folder.iterdir()):
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


FULL = "full"
"""In place of a fold's number: trained on every scene, so no score is its own."""

Fold: TypeAlias = int | str


def fold_path(folder: Path, fold: Fold) -> Path:
    """Where a fold's model and results lie; of ``FULL`` the model alone."""
    return folder / (FULL if fold == FULL else f"fold{fold}")


def create_run(
    config: Experiment, folder: Path, fold: Fold, *, overwrite: bool
) -> Path:
    """Makes the fold's folder in the run folder, which holds the configuration.

    Args:
        config: The experiment.
        folder: The run folder.
        fold: Number of the fold, or ``FULL``.
        overwrite: Remove an older run of another configuration whole, and an older
            fold of this one.

    Returns:
        The fold's folder.
    """
    stored, text = folder / "config.yaml", dump_config(config)
    fold_dir = fold_path(folder, fold)
    if overwrite and stored.exists():
        same = stored.read_text(encoding="utf-8") == text
        shutil.rmtree(fold_dir if same else folder, ignore_errors=True)
    fold_dir.mkdir(parents=True, exist_ok=True)
    write_text(stored, text)
    return fold_dir


def claim_fold(folder: Path, fold: Fold, *, resume: bool, overwrite: bool) -> bool:
    """Decides what to do with a fold's folder.

    Returns:
        Whether the fold is still to be trained; ``False`` with ``resume`` when it is
        done.

    Raises:
        FileExistsError: The fold was begun or is done, and neither ``resume`` nor
            ``overwrite`` is given.
    """
    path = fold_path(folder, fold)
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


def load_run(run: str | Path) -> tuple[Path, Experiment]:
    """Reads a run folder's configuration.

    Raises:
        FileNotFoundError: No such folder, or it holds no config.yaml.
    """
    folder = Path(run)
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{folder} is no run folder: config.yaml is missing. Train one first: "
            "arcticdl train CONFIG"
        )
    return folder, load_config(folder / "config.yaml")


def trained_folds(folder: Path) -> list[int]:
    """Numbers of the folds that hold a finished model, ascending."""
    found = []
    for path in folder.glob("fold*/model.keras"):
        number = path.parent.name.removeprefix("fold")
        if number.isdigit():
            found.append(int(number))
    return sorted(found)


def write_environment(folder: Path, config: Experiment, fingerprint: str) -> None:
    """Writes ``environment.json``: versions, backend, commit, seed, data."""
    import keras

    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    environment = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "backend": keras.backend.backend(),
        "versions": versions,
        "commit": _commit(),
        "command": " ".join(["arcticdl", *sys.argv[1:]]),
        "seed": config.seed,
        "data_fingerprint": fingerprint,
    }
    write_json(folder / "environment.json", environment)


def _commit() -> str | None:
    """Commit of the source tree this package runs from, ``None`` when installed."""
    source = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
