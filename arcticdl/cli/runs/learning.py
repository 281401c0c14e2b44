"""``arcticdl learning-curve``: would more data help, or a larger network?"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcticdl.cli.faults import say
from arcticdl.cli.options import Config, Folds, Set
from arcticdl.cli.runs.jobs import Job, run_jobs
from arcticdl.cli.start import start_without_gpus

if TYPE_CHECKING:
    from arcticdl.experiment.learning.points import Plan


def learning_curve(
    config: Config,
    fractions: Annotated[
        str,
        typer.Option(
            metavar="F,F,...",
            help="Shares of the training scenes; a smaller one is part of every larger "
            "one. 1 alone: sizes only.",
        ),
    ] = "0.25,0.5,1",
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:KEY=VALUE[;KEY=VALUE]",
            help="Another size of network, trained on all scenes at equal compute; may "
            "be given several times. Example: --size 'deep:model.backbone=resnet50'",
        ),
    ] = None,
    fold: Folds = "all",
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder of all runs. Default: runs/NAME-curve.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Trainings side by side, as of `train`.")
    ] = 1,
    set_: Set = None,
) -> None:
    """Tell whether more data would help, or a larger network.

    Trains on nested shares of the training scenes, and other sizes of network on all of
    them, each for the same compute: steps times the operations of one. The test scenes
    are the same throughout. Writes a run folder for each, and learning_curve.json, .csv
    and .html with intervals over test scenes, fitted power laws and a verdict. The same
    call goes on after an interruption, and does nothing twice.

    Example: `arcticdl learning-curve configs/demo.yaml --fractions 0.25,0.5,1 --jobs 2`
    """
    start_without_gpus()
    from arcticdl.config import load_config
    from arcticdl.evaluation import learning_curve as fitted
    from arcticdl.evaluation import write_learning_curve
    from arcticdl.experiment.learning.points import plan_points, read_points
    from arcticdl.experiment.train import fold_numbers

    checked = load_config(config, tuple(set_ or ()))
    numbers = [int(number) for number in fold_numbers(checked, fold, scored=True)]
    plans = plan_points(
        config,
        fractions=_shares(fractions),
        sizes=_sizes(size or ()),
        folds=numbers,
        overrides=set_ or (),
    )
    folder = run_dir or Path("runs") / f"{plans[0].config.name}-curve"
    for plan in plans:
        typer.echo(
            f"{plan.name}: {plan.num_scenes:g} training scenes, {plan.steps} steps, "
            f"{plan.compute:.2f} of the compute"
        )
    status = train_plans(plans, folder, numbers, jobs=jobs)
    if status:
        say("go on with the same call")
        raise typer.Exit(status)
    found = fitted(read_points(plans, folder, numbers), seed=plans[0].config.seed)
    for verdict in found.verdicts:
        typer.echo(verdict)
    typer.echo(write_learning_curve(found, folder))


def train_plans(
    plans: "Sequence[Plan]", folder: Path, folds: Sequence[int], *, jobs: int
) -> int:
    """Trains and evaluates what is not yet, each in a process of its own.

    Args:
        plans: The runs.
        folder: Where their folders lie.
        folds: Numbers of the folds.
        jobs: How many at a time.

    Returns:
        An exit status; see ``run_jobs``.
    """
    from arcticdl import experiment
    from arcticdl.config import dump_config
    from arcticdl.files import write_text

    program = [sys.executable, "-m", "arcticdl.cli"]
    training, scoring = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for plan in plans:
            path, run = Path(temporary) / f"{plan.name}.yaml", folder / plan.name
            write_text(path, dump_config(plan.config))
            todo = [
                fold
                for fold in folds
                if experiment.folds_to_train(
                    plan.config, fold, run_dir=run, resume=True
                )[1]
            ]
            for fold in todo:
                words = ["train", str(path), "--fold", str(fold), "--resume"]
                command = [*program, *words, "--run-dir", str(run)]
                training.append(Job(f"{plan.name} fold {fold}", command))
            scored = [(run / f"fold{k}" / "metrics.json").is_file() for k in folds]
            if todo or not all(scored):
                command = [*program, "evaluate", str(run)]
                scoring.append(Job(f"{plan.name} evaluation", command))
        status = run_jobs(training, side_by_side=jobs)
        return status or run_jobs(scoring, side_by_side=jobs)


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ValueError(
            "`--fractions` must be numbers with commas between them, such as "
            f"0.25,0.5,1. Received: {text!r}."
        ) from None


def _sizes(texts: Sequence[str]) -> dict[str, list[str]]:
    sizes = {}
    for text in texts:
        name, _, changes = text.partition(":")
        words = [word.strip() for word in changes.split(";") if word.strip()]
        plain = name.replace("_", "").isalnum() and name != "base"
        if not plain or not words or name in sizes:
            raise ValueError(
                "`--size` must be NAME:KEY=VALUE, with a name of its own that is not "
                f"`base`. Received: {text!r}."
            )
        sizes[name] = words
    return sizes
