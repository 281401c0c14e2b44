"""``arcticdl train``: one fold here, or each in a process of its own."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcticdl.cli.faults import say
from arcticdl.cli.options import Config, Overwrite, Set
from arcticdl.cli.runs.jobs import Job, run_jobs
from arcticdl.cli.start import quiet, start_backend

if TYPE_CHECKING:
    from arcticdl.config import Experiment


Fold = Annotated[
    str,
    typer.Option(
        metavar="K|all|full",
        help="Number of the fold from 0, all of them, or full: every scene.",
    ),
]
RunDir = Annotated[
    Path | None, typer.Option(help="Run folder. Default: runs/, and the run's name.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with folds that were interrupted, skip those that are done.",
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        min=1,
        help="Folds side by side, each with its part of the visible GPUs. On one GPU, "
        "or without, they share it.",
    ),
]


def train(
    config: Config,
    fold: Fold = "all",
    run_dir: RunDir = None,
    resume: Resume = False,
    jobs: Jobs = 1,
    set_: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """Train one fold, all of them, or the final model, on the tiles of `prepare`.

    Writes runs/NAME/foldK with the model, its history and a checkpoint after every
    epoch. On SIGTERM or SIGUSR1 (as a batch system sends before it takes the node) it
    stops with exit status 75; the same call with --resume goes on. Every fold of `all`
    runs in a process of its own, so that memory never adds up, and ends with the same
    weights whatever runs beside it. Where one fails, those beside it are finished and
    no further one begins. Once the folds have told how good the model will be, --fold
    full trains it on every scene, in runs/NAME/full.

    `train.devices` shares every batch over the GPUs of a node. Over several nodes,
    start this command once a node with KERAS_BACKEND=jax and JAX_COORDINATOR_ADDRESS
    set, as pipelines/train_nodes.sbatch does: they train one fold together.

    Example: `arcticdl train configs/demo.yaml --fold 0 --set train.epochs=1`
    """
    from arcticdl.config import load_config

    checked = load_config(config, tuple(set_ or ()))
    _train(checked, fold, run_dir, resume, jobs, overwrite)


def _train(
    checked: "Experiment",
    fold: str,
    run_dir: Path | None,
    resume: bool,
    jobs: int,
    overwrite: bool,
) -> None:
    from arcticdl import experiment

    with quiet():  # it loads Keras
        from arcticdl.experiment import folds_to_train

    folder, folds = folds_to_train(
        checked, fold, run_dir=run_dir, resume=resume, overwrite=overwrite
    )
    if len(folds) > 1:
        refuse_several_processes(fold)
        experiment.split_folds(checked, experiment.open_prepared(checked), folds)
        status = train_each(checked, folder, folds, overwrite=overwrite, jobs=jobs)
        if status:
            say("go on with --resume")
            raise typer.Exit(status)
        return
    start_backend(together=True)
    experiment.train(checked, fold, run_dir=run_dir, resume=resume, overwrite=overwrite)


def pretrain(
    config: Config,
    fold: Fold = "all",
    by: Annotated[
        str, typer.Option(help="masked (hidden patches) or contrastive (views).")
    ] = "masked",
    share: Annotated[
        float, typer.Option(help="Share of the patches that is hidden, 0 to 1.")
    ] = 0.6,
    patch_px: Annotated[
        int, typer.Option("--patch", help="Side of a patch, in pixels.")
    ] = 16,
    temperature: Annotated[
        float, typer.Option(help="Of the contrast: the smaller, the stricter.")
    ] = 0.1,
    run_dir: RunDir = None,
    resume: Resume = False,
    jobs: Jobs = 1,
    set_: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """Train the network of an experiment on its images alone, without labels.

    Patches of the images are hidden, and the network learns to tell them from what is
    around them; or, --by contrastive, each tile is augmented twice, and the network
    learns to tell its two views from those of other tiles. Scenes, tiles, folds,
    network and training are those of the configuration, whose labels need not be there;
    tiles are prepared first, where they are not yet, and anew with --overwrite. Writes
    runs/NAME_pretrained, from which the experiment then begins:

    `arcticdl train CONFIG --set model.warm_start=runs/NAME_pretrained`

    Each fold begins as its own fold there, which has not seen the held-out scenes. An
    interrupted call goes on with --resume.

    Example: `arcticdl pretrain configs/demo.yaml --fold 0 --set train.epochs=30`
    """
    from arcticdl import experiment
    from arcticdl.config import load_config

    checked = load_config(config, tuple(set_ or ()))
    derived = experiment.pretext(
        checked, by=by, share=share, patch_px=patch_px, temperature=temperature
    )
    if overwrite or not derived.store_path.exists():
        experiment.prepare(derived, overwrite=overwrite)
    _train(derived, fold, run_dir, resume, jobs, overwrite)
    folder = run_dir or Path("runs") / derived.name
    typer.echo(f"begin with it: --set model.warm_start={folder}")


def rate(
    config: Config,
    fold: Annotated[
        int, typer.Option(metavar="K", help="Fold whose training tiles are swept.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="The drawing, a PNG.")] = Path("rate.png"),
    lowest: Annotated[float, typer.Option(help="First learning rate.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Last learning rate.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Batches of the sweep.")] = 100,
    set_: Set = None,
) -> None:
    """Find a learning rate: one short sweep from rates too small to rates too large.

    Trains a throw-away network on the fold's training tiles while the rate rises, draws
    the loss over the rate, and says which rate to write into the YAML: a tenth of that
    at the lowest loss (Smith 2017, doi:10.1109/WACV.2017.58). No run folder is made
    or changed, and held-out tiles are not looked at.

    Example: `arcticdl rate configs/demo.yaml --steps 150 --out runs/rate.png`
    """
    from arcticdl import experiment
    from arcticdl.config import load_config

    checked = load_config(config, tuple(set_ or ()))
    start_backend()
    from arcticdl.plots import write_figure

    sweep = experiment.find_rate(
        checked, fold, lowest=lowest, highest=highest, num_steps=steps
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_figure(sweep.draw(), out, dpi=130)
    typer.echo(sweep.describe())
    if sweep.rate is not None:
        typer.echo(f"train: {{learning_rate: {sweep.rate:.1e}}}")
    typer.echo(f"drawn: {out}")


def refuse_several_processes(fold: str) -> None:
    """Refuses several folds where this process is one of several.

    Args:
        fold: The option ``--fold``.

    Raises:
        ConfigError: It is.
    """
    from arcticdl.errors import ConfigError
    from arcticdl.training.devices.processes import ADDRESS, is_one_of_several

    if is_one_of_several():
        raise ConfigError(
            "Several processes train one fold together. Received: "
            f"--fold {fold}, with {ADDRESS} set. Name one by --fold, or unset the "
            "address."
        )


def train_each(
    config: "Experiment",
    folder: Path,
    folds: Sequence[int | str],
    *,
    overwrite: bool,
    jobs: int = 1,
) -> int:
    """Runs ``arcticdl train`` for each fold, in a process of its own.

    Args:
        config: The checked experiment.
        folder: Run folder.
        folds: Numbers of the folds.
        overwrite: Whether they replace what an earlier call wrote.
        jobs: How many at a time.

    Returns:
        An exit status; see ``run_jobs``.
    """
    from arcticdl.config import dump_config
    from arcticdl.files import write_text

    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "config.yaml"
        write_text(path, dump_config(config))
        begin = [sys.executable, "-m", "arcticdl.cli", "train", str(path)]
        end = ["--run-dir", str(folder), "--overwrite" if overwrite else "--resume"]
        each = [Job(f"fold {k}", [*begin, "--fold", str(k), *end]) for k in folds]
        return run_jobs(each, side_by_side=jobs)
