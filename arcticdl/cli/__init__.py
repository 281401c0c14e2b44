"""The ``arcticdl`` command: every step of an experiment, from a terminal or a job."""

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.export import export
from arcticdl.cli.start import start_backend
from arcticdl.cli.weights import weights

PREEMPTED = 75
"""Exit status after a termination signal: temporary failure, start again."""

app = typer.Typer(
    name="arcticdl",
    help="Deep learning on Arctic imagery: from satellite scenes to maps.\n\n"
    "The usual order is prepare, train, evaluate, predict, report; one YAML file in "
    "configs/ describes an experiment. Begin with `arcticdl doctor`, then `make demo`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="Experiment file, for example configs/meltpond.yaml."
    ),
]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder, for example runs/meltpond.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="Override one value of the configuration; may be given several times. "
        "Example: --set train.epochs=5 --set model.backbone=resnet34",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier call wrote.")
]


class Schema(StrEnum):
    """File layouts that the simulator writes."""

    geotiff = "geotiff"
    ai4arctic = "ai4arctic"
    safe = "safe"
    optical = "optical"


class Tta(StrEnum):
    """Views averaged in prediction."""

    none = "none"
    hflip = "hflip"
    d4 = "d4"


def _version(show: bool) -> None:
    if show:
        from arcticdl import __version__

        typer.echo(f"arcticdl {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="And exit."),
    ] = False,
) -> None:
    pass


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the scenes.")],
    scenes: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 4,
    size: Annotated[int, typer.Option(min=64, help="Rows and columns, px.")] = 1024,
    seed: Annotated[int, typer.Option(help="Same seed, same scenes.")] = 0,
    schema: Annotated[Schema, typer.Option(help="File layout.")] = Schema.geotiff,
    charts: Annotated[
        bool,
        typer.Option(
            "--charts",
            help="Also write each scene's ice chart, NAME_chart.gpkg (SIGRID-3). Not "
            "for optical scenes.",
        ),
    ] = False,
) -> None:
    """Write simulated polar SAR scenes with known ice types.

    The scenes hold HH and HV backscatter (dB) and the incidence angle (degrees), in the
    same file layouts as real ones, so that every later step can be tried without a
    download. Simulated results say nothing about real ice.

    Example: `arcticdl simulate data/demo --scenes 4 --size 768`
    """
    from arcticdl.simulate import simulate_scenes

    paths = simulate_scenes(
        out,
        num_scenes=scenes,
        size_px=size,
        seed=seed,
        schema=schema.value,
        charts=charts,
    )
    for path in paths:
        typer.echo(path)


@app.command()
def prepare(config: Config, set_: Set = None, overwrite: Overwrite = False) -> None:
    """Cut the scenes of a configuration into a tile store.

    The store (NAME.tiles) is Zarr with a GeoParquet manifest; xarray and geopandas read
    it without arcticdl. An interrupted call goes on where it ended.

    Example: `arcticdl prepare configs/calving_front.yaml`
    """
    from arcticdl import experiment
    from arcticdl.config import load_config

    store = experiment.prepare(load_config(config, tuple(set_ or ())), overwrite)
    scenes = store.manifest["scene_id"].nunique()
    typer.echo(f"{store.path}: {len(store)} tiles of {scenes} scenes")


@app.command()
def train(
    config: Config,
    fold: Annotated[
        str,
        typer.Option(
            metavar="K|all|full",
            help="Number of the fold from 0, all of them, or full: every scene.",
        ),
    ] = "all",
    run_dir: Annotated[
        Path | None, typer.Option(help="Run folder. Default: runs/NAME.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with folds that were interrupted, skip those that are done.",
        ),
    ] = False,
    set_: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """Train one fold, all of them, or the final model.

    Writes runs/NAME/foldK with the model, its history and a checkpoint after every
    epoch. On SIGTERM or SIGUSR1 (as a batch system sends before it takes the node) it
    stops with exit status 75; the same call with --resume goes on. Every fold of `all`
    runs in a process of its own, so that memory never adds up. Once the folds have told
    how good the model will be, --fold full trains it on every scene, in runs/NAME/full.

    Example: `arcticdl train configs/meltpond.yaml --fold 0 --set train.epochs=3`
    """
    from arcticdl import experiment
    from arcticdl.cli.folds import train_each
    from arcticdl.config import load_config

    checked = load_config(config, tuple(set_ or ()))
    folder, folds = experiment.folds_to_train(
        checked, fold, run_dir=run_dir, resume=resume, overwrite=overwrite
    )
    if len(folds) > 1:
        experiment.open_prepared(checked)
        status = train_each(checked, folder, folds, overwrite=overwrite)
        if status:
            raise typer.Exit(status)
        return
    start_backend()
    experiment.train(checked, fold, run_dir=run_dir, resume=resume, overwrite=overwrite)


@app.command()
def evaluate(
    run: Run,
    data: Annotated[
        Path | None,
        typer.Option(help="Another tile store, scored whole. Default: held-out folds."),
    ] = None,
    fold: Annotated[
        str, typer.Option(help="Fold number, or `all` that are trained.")
    ] = "all",
) -> None:
    """Score trained folds on the scenes they did not see.

    Writes foldK/metrics.json and summary.json: confusion matrix pooled over the
    held-out scenes, IoU, precision, recall and F1 of every class, each with a bootstrap
    interval over scenes.

    Example: `arcticdl evaluate runs/meltpond`
    """
    from arcticdl import experiment

    start_backend()
    summary = experiment.evaluate(run, data=data, fold=fold)
    for line in experiment.headline(summary):
        typer.echo(line)


@app.command()
def predict(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Run folder, or a .keras file that carries a card."
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Scene files. Default: the scenes that the fold was tested on.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="GeoTIFF for one scene, or a folder. Default: RUN/maps.",
        ),
    ] = None,
    fold: Annotated[
        str,
        typer.Option(
            metavar="K|all|full",
            help="Whose model; all: their mean, with a map of their disagreement; "
            "full: that of every scene.",
        ),
    ] = "0",
    tta: Annotated[
        Tta | None, typer.Option(help="Views averaged. Default: the configuration's.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Map whole scenes: class, confidence and, for line classes, the line.

    The map has the CRS, transform and shape of its input and the classes' colours;
    nodata stays nodata. Memory does not grow with the scene's length. Where the
    configuration stacks several files to one scene, give the first file of each.
    With --fold all the models of all folds map each INPUT together and
    NAME_spread.tif tells where they disagree; without INPUT each fold maps the scenes
    that it was tested on.

    Example: `arcticdl predict runs/demo data/demo/scene_003.tif -o map.tif`
    """
    from arcticdl import experiment

    start_backend()
    for path in experiment.predict(
        run,
        inputs or (),
        out,
        fold=fold,
        tta=tta.value if tta else None,
        overwrite=overwrite,
    ):
        typer.echo(path)


app.command()(export)


@app.command()
def report(run: Run) -> None:
    """Write RUN/report.html, one file that opens offline.

    Example: `arcticdl report runs/meltpond`
    """
    from arcticdl.evaluation import write_report

    typer.echo(write_report(run))


@app.command()
def check(
    store: Annotated[
        Path, typer.Argument(metavar="STORE", help="Tile store, for example x.tiles.")
    ],
    html: Annotated[
        Path | None, typer.Option(help="Also write the findings as a page.")
    ] = None,
) -> None:
    """Check a tile store: AI-readiness and leakage between its folds.

    Exit status 1 when something is wrong, so that a job script stops.

    Example: `arcticdl check data/demo.tiles --html quality.html`
    """
    from arcticdl.tiles import check_store

    result = check_store(store)
    if html is not None:
        result.write_html(html)
    for finding in result.findings:
        typer.echo(finding)
    raise typer.Exit(0 if result.ok else 1)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Tell what this machine can do, and what is wrong with it.

    Exit status 1 when something would stop an experiment.

    Example: `arcticdl doctor`
    """
    from arcticdl import doctor as machine

    findings = machine.check_machine()
    if as_json:
        typer.echo(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        machine.show(findings)
    raise typer.Exit(machine.exit_code(findings))


app.add_typer(weights, name="weights")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    Args:
        arguments: Words after the program's name; default: those of this process.

    Returns:
        0; 1 with one ``error:`` line for a wrong input; 2 for wrong usage; 75 after a
        termination signal; 130 after Ctrl-C.
    """
    try:
        status = app(args=arguments, prog_name="arcticdl", standalone_mode=False)
        return int(status or 0)
    except KeyboardInterrupt:
        typer.echo(
            "interrupted; finished epochs are safe, go on with --resume", err=True
        )
        return 130
    except Exception as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    """Prints what a user can act on; anything else is a defect and is raised."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's usage errors
        error.show()
        return int(error.exit_code)
    if type(error).__name__ == "Abort":
        return 130
    if type(error).__name__ == "Preempted":
        typer.echo(f"preempted: {error}", err=True)
        return PREEMPTED
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)):
        typer.echo(f"error: {error}", err=True)
        return 1
    raise error


def entry() -> None:
    """The console script."""
    sys.exit(main())
