"""One trial: trained on the training part of a fold, scored on its validation part."""

import contextlib
import gc
import math
import statistics
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from arcticdl.config import Experiment, load_config
from arcticdl.errors import DivergedError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.search.plan import Objective, import_optuna
from arcticdl.experiment.search.study import (
    About,
    open_study,
    read_about,
    training_lock,
    trial_path,
)
from arcticdl.experiment.split import choose_folds
from arcticdl.experiment.train import train_fold
from arcticdl.files import write_json
from arcticdl.training.memory.exhausted import is_memory_error
from arcticdl.training.signals import Preempted


class Pruned(Exception):
    """The pruner gave a trial up."""


class Judge(keras.callbacks.Callback):
    """Tells the study of each epoch, gives a trial up, and scores it in the end.

    Args:
        trial: The trial of Optuna.
        objectives: What is sought.
    """

    def __init__(self, trial: Any, objectives: tuple[Objective, ...]) -> None:
        super().__init__()
        self.trial, self.objectives = trial, objectives
        self.seconds: list[float] = []
        self.feed: Any = None
        self._start = 0.0

    def watch(self, feed: Any) -> "Judge":
        """Takes the validation feed."""
        self.feed = feed
        return self

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"seconds": np.array(self.seconds)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.seconds = np.atleast_1d(state.get("seconds", [])).tolist()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the clock."""
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports the epoch's score; of several objectives none is reported."""
        self.seconds.append(time.monotonic() - self._start)
        if len(self.objectives) > 1:
            return
        score = float((logs or {})[self.objectives[0].name])
        known = self.trial.storage.get_trial(self.trial._trial_id).intermediate_values
        if epoch not in known:  # an epoch that an earlier start has told is the same
            self.trial.report(score, epoch)
        if self.trial.should_prune():
            self.model.stop_training = True  # and, on JAX, gives the model its state
            raise Pruned(f"behind at {score:.4g}")

    def score(self) -> list[float]:
        """The values of the trained model: with its averaged or best weights.

        Raises:
            DivergedError: One is no number.
        """
        found = self.model.evaluate(self.feed, return_dict=True, verbose=0)
        costs = {"parameters": float(self.model.count_params())}
        later = self.seconds[1:] or self.seconds  # the first one compiles
        costs["seconds"] = statistics.median(later) if later else math.nan
        values = [
            costs[o.name] if o.is_cost else float(found[o.name.removeprefix("val_")])
            for o in self.objectives
        ]
        for objective, value in zip(self.objectives, values, strict=True):
            if not math.isfinite(value):
                raise DivergedError(f"{objective.name} became {value}")
        return values


def train_trial(folder: Path, number: int, storage: str) -> None:
    """Trains a trial whose configuration is written, and writes ``outcome.json``.

    What the training says goes to ``trial.log`` beside it. A training that fails is an
    outcome too; memory is given back.

    Args:
        folder: Folder of the study.
        number: Number of the trial.
        storage: As of ``plan_search``.

    Raises:
        Preempted: A termination signal came; the next start goes on.
    """
    place = trial_path(folder, number)
    about = read_about(folder)
    config = load_config(folder / "config.yaml")
    study = open_study(folder, storage, config, about)
    (place / "outcome.json").unlink(missing_ok=True)
    with (
        training_lock(place),
        open(place / "trial.log", "a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
    ):
        outcome = _train(study, load_config(place / "config.yaml"), place, about)
    write_json(place / "outcome.json", outcome)


def _train(study: Any, config: Experiment, place: Path, about: About) -> dict[str, Any]:
    optuna = import_optuna()
    number = int(place.name)
    frozen = study.get_trials(deepcopy=False)[number]
    judge = Judge(optuna.trial.Trial(study, frozen._trial_id), about.objectives)
    outcome: dict[str, Any] = {"state": "complete", "reason": ""}
    try:
        store = open_prepared(config)
        # Its training and validation tiles; those of its test part are never read.
        split = choose_folds(store, config, [about.fold])[about.fold]
        train_fold(config, store, split, place, about.fold, watch=judge.watch)
        outcome["values"] = judge.score()
    except Pruned as error:
        outcome |= {"state": "pruned", "reason": str(error)}
    except Preempted:
        raise
    except Exception as error:  # whatever values of a search may make a library raise
        outcome |= {"state": "failed", "reason": in_a_line(error)}
    finally:
        outcome |= {"epochs": len(judge.seconds), "seconds": sum(judge.seconds)}
        judge = None  # type: ignore[assignment]
        keras.backend.clear_session()
        gc.collect()
    return outcome


def in_a_line(error: Exception) -> str:
    """Why a trial failed, on one line; out of memory is told as such."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if is_memory_error(error):
        return f"out of memory ({kind})"
    return text[:300] if isinstance(error, ValueError) else f"{kind}: {text[:300]}"
