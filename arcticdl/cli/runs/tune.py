"""``arcticdl tune``: a search over settings, each trial in a process of its own."""

import csv
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arcticdl.cli.faults import DEFECT, PREEMPTED, explain
from arcticdl.cli.options import Config, Set
from arcticdl.cli.start import quiet, start_backend

if TYPE_CHECKING:
    from arcticdl.experiment.search.plan import Plan


Trials = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Trials of the study in all: done ones and other workers' count.",
    ),
]
Sampler = Annotated[
    str,
    typer.Option(
        metavar="grid|random|tpe|cmaes|nsga2",
        help="How values are drawn: all of a grid, by chance, Bayesian, or "
        "evolutionary for one objective and for several.",
    ),
]
Fold = Annotated[
    int, typer.Option(metavar="K", help="Fold whose training part is searched on.")
]
StudyDir = Annotated[
    Path | None,
    typer.Option(help="Folder of the study. Default: studies/NAME-foldK."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|URL",
        help="A journal (.log), an SQLite file (.db) or a database, such as "
        "postgresql://host/name. Default: a journal in the study's folder.",
    ),
]
KeepBest = Annotated[
    bool, typer.Option("--keep-best", help="Keep the weights of the best trial.")
]
OnlyList = Annotated[
    bool, typer.Option("--list", help="Print the study's trials, and train none.")
]


def tune(
    config: Config,
    trials: Trials = None,
    sampler: Sampler = "tpe",
    fold: Fold = 0,
    study_dir: StudyDir = None,
    storage: Storage = None,
    keep_best: KeepBest = False,
    list_: OnlyList = False,
    set_: Set = None,
) -> None:
    """Search the settings that the section `search` of a configuration names.

    Every trial trains on the training part of one fold and is judged by its validation
    part; what the fold is tested on is never read. Trials that fall behind end early;
    one that diverges or runs out of memory has failed, and ends nothing else. The
    folder gets best.yaml, a configuration to train, and search.html, a page of what was
    found.

    The same call goes on after a stop: SIGTERM and SIGUSR1 end with status 75, and the
    trial goes on at its very batch. Called several times at once, as array tasks are
    (pipelines/tune.sbatch), the calls share one study.

    A space is written as in: `search: {validation_groups: 1, space:
    {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}, model.decoder: [unet,
    fpn]}}`

    Example: `arcticdl tune configs/demo_search.yaml --trials 20`
    """
    from arcticdl.config import load_config

    with quiet():
        from arcticdl.experiment import plan_search

    if trials is None and not list_:
        raise typer.BadParameter("`--trials N` says how many trials the study has.")
    checked = load_config(config, tuple(set_ or ()))
    plan = plan_search(
        checked,
        trials or 1,
        fold=fold,
        sampler=sampler,
        study_dir=study_dir,
        storage=storage,
        keep_best=keep_best,
    )
    if list_:
        _list(plan)
        return
    _begin(plan)
    _work(plan)


def _list(plan: "Plan") -> None:
    """Prints the trials of a study, which other workers may be at."""
    from arcticdl.experiment.search.study import open_study, read_about
    from arcticdl.experiment.search.table import say_trials

    about = read_about(plan.folder)
    study = open_study(plan.folder, plan.storage, plan.config, about)
    say_trials(study, about, plan.folder)


def _begin(plan: "Plan") -> None:
    """Checks the search apart: this process must not take memory of the GPU."""
    from arcticdl.experiment.search.work import begin_search
    from arcticdl.training.signals import watch_signals

    process = start_process(begin_search, (plan,))
    with watch_signals() as watch:
        watch.waits = True
        _wait_for(process)
        watch.check("Nothing was lost; the same call begins again.")
    if process.exitcode:
        raise typer.Exit(process.exitcode if process.exitcode > 0 else DEFECT)


def _work(plan: "Plan") -> None:
    from arcticdl.experiment.search.study import open_study, read_about
    from arcticdl.experiment.search.table import say_trials
    from arcticdl.experiment.search.work import work

    work(plan, run_trial)
    about = read_about(plan.folder)
    study = open_study(plan.folder, plan.storage, plan.config, about)
    say_trials(study, about, plan.folder)
    best = plan.folder / "best.yaml"
    if best.exists():
        typer.echo(f"{plan.folder / 'search.html'}; arcticdl train {best}")


def run_trial(folder: Path, number: int, storage: str) -> None:
    """Trains a trial in a process of its own, whose memory goes with it.

    Args:
        folder: Folder of the study.
        number: Number of the trial.
        storage: Where the study is kept.

    Raises:
        Preempted: A termination signal came, here or there.
    """
    from arcticdl.experiment.search.study import read_about, trial_path
    from arcticdl.experiment.search.work import train_here
    from arcticdl.files import write_json
    from arcticdl.training.signals import Preempted

    place = trial_path(folder, number)
    objective, epochs = read_about(folder).objectives[0].name, read_about(folder).epochs
    log = place / "trial.log"
    process = start_process(train_here, (folder, number, storage), log)
    with _console().status(f"trial {number}") as status:

        def show() -> None:
            status.update(f"trial {number}: {_progress(place, objective, epochs)}")

        told = _wait_for(process, show)
    code = process.exitcode
    if code and (told or code == PREEMPTED):
        raise Preempted("The training was told to end.")
    if code:
        outcome = {"state": "failed", "reason": _reason(code, log)}
        write_json(place / "outcome.json", outcome)


def _wait_for(process: Any, show: Callable[[], None] = lambda: None) -> bool:
    """Waits for a process to end; whether a signal came, which it is told of."""
    from arcticdl.training.signals import watch_signals

    told = False
    while process.exitcode is None:
        process.join(0.5)
        show()
        watch = watch_signals.active
        if watch is not None and watch.received is not None and not told:
            told = True
            process.terminate()
    return told


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, markup=False)


def start_process(
    function: Callable[..., None], arguments: tuple[Any, ...], log: Path | None = None
) -> Any:
    """Starts a function in a new process, which ends with the status of a command.

    Args:
        function: A function of a module.
        arguments: Its arguments.
        log: File that takes what it says; default: the terminal.
    """
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_enter, args=(function, arguments, log))
    process.start()
    return process


def _enter(
    function: Callable[..., None], arguments: tuple[Any, ...], log: Path | None
) -> None:
    if log is not None:
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
    start_backend()
    try:
        function(*arguments)
    except Exception as error:
        sys.exit(explain(error))


def _progress(place: Path, objective: str, epochs: int) -> str:
    """How far a trial is, from its history."""
    rows: list[dict[str, str]] = []
    for path in place.glob("fold*/history.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    if not rows:
        return "begins"
    told = f"epoch {rows[-1]['epoch']} of {epochs}"
    score = rows[-1].get(objective)
    return f"{told}, {objective} {float(score):.4f}" if score else told


def _reason(code: int, log: Path) -> str:
    """Why a process ended without an outcome."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", as by a system that is out of memory" if name == "SIGKILL" else ""
        return f"ended by {name}{hint}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line for line in lines if line.startswith(("error: ", "defect: "))]
    if said:
        return said[-1] if code == DEFECT else said[-1].removeprefix("error: ")
    return f"ended with status {code}; see {log}"
