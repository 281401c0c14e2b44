"""What trackers share: a run that goes on after a resume, and what is logged of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from arcticdl.files import write_json

FILE = "run.json"


def read_id(folder: Path) -> str | None:
    """The identifier of the run that an earlier start began; ``None`` without one."""
    try:
        return str(json.loads((folder / FILE).read_text("utf-8"))["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_id(folder: Path, identifier: str) -> None:
    """Keeps the identifier for a resume."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE, {"id": identifier})


def name_of(folder: Path) -> str:
    """A name for people: run and fold, from ``runs/NAME/foldK/TRACKER``."""
    return "-".join(part.name for part in (folder.parent.parent, folder.parent))


def find_config(folder: Path) -> Path | None:
    """The ``config.yaml`` of the run that a tracker's folder lies in."""
    found = (parent / "config.yaml" for parent in list(folder.parents)[:4])
    return next((path for path in found if path.is_file()), None)


def epoch_values(
    model: keras.Model, logs: Mapping[str, float] | None
) -> dict[str, float]:
    """The epoch's scores and the learning rate, as plain numbers."""
    rate = {"learning_rate": float(model.optimizer.learning_rate)}
    return {name: float(value) for name, value in (logs or {}).items()} | rate


def describe_model(model: keras.Model, epochs: Any) -> dict[str, Any]:
    """What identifies a training at a glance."""
    return {
        "network": model.name,
        "num_weights": model.count_params(),
        "optimizer": type(model.optimizer).__name__,
        "epochs": epochs,
    }
