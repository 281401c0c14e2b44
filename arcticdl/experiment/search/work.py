"""A worker: trials one after the other, until as many are done as were asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arcticdl.config import Experiment, dump_config
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.search.best import best_numbers, tidy, write_best
from arcticdl.experiment.search.page import write_page
from arcticdl.experiment.search.plan import (
    Plan,
    check_search,
    describe_plan,
    find_objectives,
    judged,
    plan_search,
)
from arcticdl.experiment.search.study import (
    About,
    Taken,
    check_about,
    check_folder,
    hold_study,
    open_study,
    read_about,
    take_trial,
    trial_path,
    write_about,
)
from arcticdl.experiment.search.table import say_trial
from arcticdl.experiment.train import split_folds
from arcticdl.files import write_text
from arcticdl.tiles import TileStore, check_store
from arcticdl.tiles.quality.checks import refuse_errors
from arcticdl.training.signals import Preempted, watch_signals

Run = Callable[[Path, int, str], None]
"""Trains a trial: the study's folder, the trial's number, the storage."""

_PATIENCE = 5
"""Trials that fail one after the other, none having come to an end, before it stops."""


def tune(config: Experiment, trials: int, **options: Any) -> Path:
    """Searches the settings of ``config.search`` in this process.

    A trial trains on the training part of a fold and is judged by its validation part;
    the part that is tested is not read. Called again it goes on, with the trials whose
    worker is gone first. Several processes may work on one study.

    Args:
        config: The configuration, with its section ``search``.
        trials: Trials of the whole study, those that are done included.
        **options: ``fold``, ``sampler``, ``study_dir``, ``storage`` and ``keep_best``,
            as of `plan_search`.

    Returns:
        The folder, with ``best.yaml`` (a configuration to train), ``search.html``,
        ``trials.csv`` and a folder for each trial.

    Raises:
        ConfigError: A parameter that is no key, a value that would be refused, or no
            validation part.
        FileNotFoundError: The tile store is not there; run ``prepare`` first.
        FileExistsError: The folder holds another search.
        MissingExtraError: The extra ``tune`` is not installed.
        Preempted: A termination signal came; go on by calling again.
    """
    plan = plan_search(config, trials, **options)
    begin_search(plan)
    work(plan, train_here)
    return plan.folder


def train_here(folder: Path, number: int, storage: str) -> None:
    """Trains a trial in this process; as ``train_trial``, which loads Keras."""
    from arcticdl.experiment.search.trial import train_trial

    train_trial(folder, number, storage)


def begin_search(plan: Plan) -> None:
    """Checks a search against signatures and data, and says what it will do.

    What was checked by the first worker of a study is not checked again.

    Args:
        plan: The search.

    Raises:
        ConfigError: As for ``tune``; and so are the others.
        SplitError: The fold leaks.
        StoreError: Errors were found in the store.
    """
    check_folder(plan)
    config = judged(plan.config)
    store = open_prepared(config)
    fingerprint = str(getattr(store, "fingerprint", ""))
    split = split_folds(config, store, [plan.fold])[plan.fold]
    path = plan.folder / "study.json"
    fresh = None if path.exists() else _check(plan, store, fingerprint)
    with hold_study(plan.folder):
        if fresh is None or path.exists():
            about = read_about(plan.folder)
            check_about(plan, about, fingerprint)
        else:
            about = fresh
            write_text(plan.folder / "config.yaml", dump_config(plan.config))
            write_about(plan.folder, about)
        open_study(plan.folder, plan.storage, plan.config, about)
    told = describe_plan(plan, store, split, list(about.objectives), about.epochs)
    print("\n".join(told))  # noqa: T201  a statement, as training makes one


def _check(plan: Plan, store: TileStore, fingerprint: str) -> About:
    found = check_store(store.path, deep=False).findings
    refuse_errors(found, allow=plan.config.tiles.allow)
    epochs = check_search(plan.config)
    objectives = tuple(find_objectives(plan.config))
    return About(plan.fold, plan.sampler, epochs, fingerprint, objectives)


def work(plan: Plan, run: Run) -> None:
    """Runs trials until the study has as many as were asked for.

    Args:
        plan: A search that ``begin_search`` accepted.
        run: Trains a trial. It returns once ``outcome.json`` is there, or raises
            ``Preempted``; a training that left no outcome has failed.

    Raises:
        Preempted: A termination signal came, or the training had one.
        ConfigError: The first trials fail one after the other.
    """
    about = read_about(plan.folder)
    study = open_study(plan.folder, plan.storage, plan.config, about)
    failed = 0
    with watch_signals() as watch:
        watch.waits = True  # the record is never left half-written
        while (taken := take_trial(study, plan)) is not None:
            try:
                outcome = _outcome(plan, taken, run)
                watch.waits = True
                _record(study, taken, outcome)
            finally:
                taken.lock.release()
            tidy(study, plan, taken.number)
            write_best(study, plan, about)
            say_trial(study, about, taken.number, plan.trials)
            failed = failed + 1 if outcome["state"] == "failed" else 0
            if failed >= _PATIENCE and not best_numbers(study):
                raise ConfigError(
                    f"{failed} trials failed one after the other, and none came to an "
                    f"end. The last one: {outcome['reason']}"
                )
            watch.check(_SAFE.format(plan.folder))
    finish_search(study, plan, about)


_SAFE = "The search is safe in {}; the same call goes on."


def _outcome(plan: Plan, taken: Taken, run: Run) -> dict[str, Any]:
    path = trial_path(plan.folder, taken.number) / "outcome.json"
    if taken.reason:
        return {"state": "failed", "reason": taken.reason}
    if not path.exists():  # else a worker was killed before it could tell
        try:
            run(plan.folder, taken.number, plan.storage)
        except (Preempted, KeyboardInterrupt) as error:
            # That the worker was told to end is not the trial's doing.
            starts = taken.trial.user_attrs["starts"] - 1
            taken.trial.set_user_attr("starts", starts)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise Preempted(f"{error} {_SAFE.format(plan.folder)}") from error
    outcome: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return outcome


def _record(study: Any, taken: Taken, outcome: dict[str, Any]) -> None:
    from optuna.trial import TrialState

    for name in ("reason", "epochs", "seconds"):
        if outcome.get(name):
            taken.trial.set_user_attr(name, outcome[name])
    if outcome["state"] == "complete":
        study.tell(taken.number, outcome["values"])
    elif outcome["state"] == "pruned":
        study.tell(taken.number, state=TrialState.PRUNED)
    else:
        study.tell(taken.number, state=TrialState.FAIL)


def finish_search(study: Any, plan: Plan, about: About) -> None:
    """Writes the best configuration, the table and the page of a study.

    Args:
        study: The study.
        plan: The search.
        about: What its workers share.
    """
    write_best(study, plan, about)
    write_page(study, plan.folder, plan.search, about)
