"""The study: its folder, its record at Optuna, and which trial is to do next."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from arcticdl.config import Experiment, dump_config
from arcticdl.config.search.space import apply_values
from arcticdl.errors import ConfigError
from arcticdl.experiment.search.plan import (
    SEARCH_SAMPLERS,
    Objective,
    Plan,
    import_optuna,
    judged,
)
from arcticdl.files import write_json, write_text

MAX_STARTS = 3
"""How often a trial may end its worker, as one that takes all memory does."""


class About(NamedTuple):
    """What all workers of a study share, from its ``study.json``."""

    fold: int
    sampler: str
    epochs: int
    fingerprint: str
    objectives: tuple[Objective, ...]


def write_about(folder: Path, about: About) -> None:
    """Writes ``study.json``."""
    objectives = [vars(objective) for objective in about.objectives]
    write_json(folder / "study.json", about._asdict() | {"objectives": objectives})


def read_about(folder: Path) -> About:
    """Reads ``study.json``.

    Raises:
        FileNotFoundError: There is no study in the folder.
    """
    path = folder / "study.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no search in {folder}. Begin one: arcticdl tune CONFIG "
            "--trials N"
        )
    told = json.loads(path.read_text(encoding="utf-8"))
    objectives = tuple(Objective(**one) for one in told.pop("objectives"))
    return About(**told, objectives=objectives)


def trial_path(folder: Path, number: int) -> Path:
    """Folder of a trial, which is a run folder."""
    return folder / "trials" / f"{number:04d}"


def check_folder(plan: Plan) -> None:
    """Checks, without writing, that a folder may hold this search.

    Raises:
        FileExistsError: It holds another search, or something else.
    """
    folder = plan.folder
    if not folder.exists() or all(p.name.startswith(".") for p in folder.iterdir()):
        return
    stored = folder / "config.yaml"
    if not stored.exists():
        raise FileExistsError(
            f"{folder} exists and holds no search (no config.yaml). Choose another "
            "with --study-dir."
        )
    if stored.read_text(encoding="utf-8") != dump_config(plan.config):
        raise FileExistsError(
            f"{folder} holds a search with another configuration. Give this one "
            "another --study-dir."
        )


def check_about(plan: Plan, about: About, fingerprint: str) -> None:
    """Refuses to go on with a study of another fold, sampler or store.

    Raises:
        FileExistsError: It is one.
    """
    wanted = {"fold": plan.fold, "sampler": plan.sampler, "tile store": fingerprint}
    stored = {
        "fold": about.fold,
        "sampler": about.sampler,
        "tile store": about.fingerprint,
    }
    for name, value in wanted.items():
        if stored[name] != value:
            raise FileExistsError(
                f"{plan.folder} holds a search with another {name}: {stored[name]}. "
                f"Received: {value}. Give this one another --study-dir."
            )


def open_storage(storage: str) -> Any:
    """Opens what Optuna keeps studies in.

    Args:
        storage: As of ``plan_search``.

    Raises:
        ValueError: It cannot be opened.
    """
    optuna = import_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if "://" not in storage and Path(storage).suffix == ".log":
            backend = optuna.storages.journal.JournalFileBackend(storage)
            return optuna.storages.JournalStorage(backend)
        local = "://" not in storage
        url = f"sqlite:///{Path(storage).absolute()}" if local else storage
        sqlite = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        return optuna.storages.RDBStorage(url, engine_kwargs=sqlite)
    except (ImportError, OSError, SQLAlchemyError) as error:
        name = storage.rpartition("@")[2]  # an address may hold a password
        raise ValueError(
            f"`storage` must be a database that can be opened. Received: {name}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def open_study(folder: Path, storage: str, config: Experiment, about: About) -> Any:
    """Opens the study of a folder, or makes it; of a grid all its cells wait in it.

    Args:
        folder: Folder of the study.
        storage: As of ``plan_search``.
        config: The configuration, with its section ``search``.
        about: What its workers share.
    """
    optuna = import_optuna(about.sampler)
    from arcticdl.experiment.search.samplers import NumberedSampler, build_pruner

    assert config.search is not None
    study = optuna.create_study(
        study_name=folder.name,
        storage=open_storage(storage),
        sampler=NumberedSampler(SEARCH_SAMPLERS[about.sampler], config.seed),
        pruner=build_pruner(config.search.pruner_name, about.epochs),
        directions=[objective.direction for objective in about.objectives],
        load_if_exists=True,
    )
    if not study.user_attrs.get("ready"):
        _begin(study, config, about)
    told = study.user_attrs["ready"]
    if told != (mine := [dump_config(config), about.fingerprint]):
        what = "configuration" if told[0] != mine[0] else "tile store"
        raise FileExistsError(
            f"The storage holds a study {folder.name!r} of another {what}. Give this "
            "search another --study-dir, whose name it takes."
        )
    return study


def _begin(study: Any, config: Experiment, about: About) -> None:
    import numpy as np

    from arcticdl.experiment.search.samplers import list_cells

    assert config.search is not None
    if about.sampler == "grid":
        cells = list_cells(config.search)
        again = bool(study.get_trials(deepcopy=False))  # a worker was killed here
        # In no order, so that the first half of a grid is not one side of it.
        for place in np.random.default_rng(config.seed).permutation(len(cells)):
            study.enqueue_trial(cells[place], skip_if_exists=again)
    study.set_user_attr("ready", [dump_config(config), about.fingerprint])


@contextmanager
def hold_study(folder: Path) -> Iterator[None]:
    """One worker at a time looks at a study as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield


class Taken(NamedTuple):
    """A trial that a worker holds until it lets go of the lock."""

    trial: Any
    number: int
    lock: FileLock
    reason: str


def take_trial(study: Any, plan: Plan) -> Taken | None:
    """Takes the next trial: one whose worker is gone, else a new one.

    Its values are drawn and its configuration is written. A trial that was begun keeps
    its values and goes on from its checkpoint.

    Args:
        study: The study.
        plan: The search.

    Returns:
        The trial, with a reason where its values do not go together; ``None`` where as
        many were begun as are asked for, or a grid is done.
    """
    from arcticdl.experiment.search.samplers import suggest

    with hold_study(plan.folder):
        found = _take_abandoned(study, plan) or _take_new(study, plan)
        if found is None:
            return None
        trial, lock = found
        trial.set_user_attr("starts", trial.user_attrs.get("starts", 0) + 1)
        values = suggest(trial, plan.search)
        folder, reason = trial_path(plan.folder, trial.number), ""
        try:
            config = trial_config(plan, values)
            write_text(folder / "config.yaml", dump_config(config))
        except ConfigError as error:
            reason = str(error)
        return Taken(trial, trial.number, lock, reason)


def trial_config(plan: Plan, values: dict[str, Any]) -> Experiment:
    """The configuration of a trial: its fold alone may be scored with it.

    Raises:
        ConfigError: The values do not go together.
    """
    config = apply_values(judged(plan.config), plan.search, values)
    folds = config.folds.model_copy(update={"only": (plan.fold,)})
    return config.model_copy(update={"folds": folds})


def _take_abandoned(study: Any, plan: Plan) -> tuple[Any, FileLock] | None:
    import optuna

    running = (optuna.trial.TrialState.RUNNING,)
    for frozen in study.get_trials(deepcopy=False, states=running):
        folder = trial_path(plan.folder, frozen.number)
        if not folder.is_dir() and "://" in plan.storage:
            continue  # of a worker with another folder
        lock = _try_lock(folder)
        if lock is None:
            continue
        if frozen.user_attrs.get("starts", 0) >= MAX_STARTS:
            reason = f"it ended its worker {MAX_STARTS} times"
            trial = optuna.trial.Trial(study, frozen._trial_id)
            trial.set_user_attr("reason", reason)
            study.tell(frozen.number, state=optuna.trial.TrialState.FAIL)
            lock.release()
            continue
        return optuna.trial.Trial(study, frozen._trial_id), lock
    return None


def _take_new(study: Any, plan: Plan) -> tuple[Any, FileLock] | None:
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    waiting = [t for t in trials if t.state == TrialState.WAITING]
    if len(trials) - len(waiting) >= plan.trials:
        return None
    if plan.sampler == "grid" and not waiting:
        return None
    trial = study.ask()
    lock = _try_lock(trial_path(plan.folder, trial.number))
    assert lock is not None, "a new trial is nobody else's"
    return trial, lock


def _try_lock(folder: Path) -> FileLock | None:
    """The lock of a trial, unless a worker or its orphaned training holds one."""
    folder.mkdir(parents=True, exist_ok=True)
    lock, training = FileLock(folder / ".worker.lock"), training_lock(folder)
    try:
        lock.acquire(timeout=0)
        training.acquire(timeout=0)
    except Timeout:
        lock.release()
        return None
    training.release()
    return lock


def training_lock(folder: Path) -> FileLock:
    """The lock that the process which trains a trial holds itself."""
    return FileLock(folder / ".training.lock")
