"""The ``arcticdl`` command: every step of an experiment, from a terminal or a job."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from arcticdl.cli import (
    data,
    demo,
    init,
    labelling,
    machine,
    measure,
    train,
    use,
)
from arcticdl.cli.config import config
from arcticdl.cli.datasets import data as data_sets
from arcticdl.cli.faults import INTERRUPTED, explain, say
from arcticdl.cli.runs.anomalies import anomalies
from arcticdl.cli.runs.bundle import bundle, verify
from arcticdl.cli.runs.calibrate import calibrate
from arcticdl.cli.runs.charts import charts
from arcticdl.cli.runs.compare import compare
from arcticdl.cli.runs.explain import explain as explain_run
from arcticdl.cli.runs.forecast import forecast
from arcticdl.cli.runs.learning import learning_curve
from arcticdl.cli.runs.novelty import novelty
from arcticdl.cli.runs.synthesize import synthesize
from arcticdl.cli.runs.tune import tune
from arcticdl.cli.stores.archive import archive
from arcticdl.cli.weights import weights
from arcticdl.doctor.allocator import keep_memory

app = typer.Typer(
    name="arcticdl",
    help="Deep learning on Arctic imagery: from satellite scenes to maps.\n\n"
    "The usual order is prepare, train, evaluate, predict, report; one YAML file "
    "describes an experiment. Begin with `arcticdl doctor`, then `arcticdl demo`, or "
    "with `arcticdl init FOLDER` for data of your own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_EXPERIMENT, _TRAINING = "An experiment, in its order", "Trainings and their settings"
_ANSWERS, _LABELS = "What trained models answer, and why", "Labels, and new scenes"
_PASSED_ON, _BESIDE = "Models to pass on", "Data, files and the machine"
COMMANDS = {
    _EXPERIMENT: (
        demo.demo,
        init.init,
        data.simulate,
        data.prepare,
        data.check,
        train.train,
        use.evaluate,
        use.predict,
        use.report,
    ),
    _TRAINING: (train.rate, train.pretrain, synthesize, tune, learning_curve, compare),
    _ANSWERS: (calibrate, forecast, charts, explain_run, novelty, anomalies),
    _LABELS: (labelling.label_errors, labelling.suggest, labelling.drift),
    _PASSED_ON: (use.ensemble, use.export, bundle, verify),
    _BESIDE: (machine.doctor,),
}
"""Commands by the panel of ``arcticdl --help`` that they stand in."""

for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(archive, name="archive", rich_help_panel=_BESIDE)
app.add_typer(config, name="config", rich_help_panel=_BESIDE)
app.add_typer(data_sets, name="data", rich_help_panel=_BESIDE)
app.add_typer(labelling.labels, name="labels", rich_help_panel=_LABELS)
app.add_typer(measure.measure, name="measure", rich_help_panel=_ANSWERS)
app.add_typer(weights, name="weights", rich_help_panel=_BESIDE)


def _version(show: bool) -> None:
    if show:
        from arcticdl import __version__

        typer.echo(f"arcticdl {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Show the traceback of an error; anywhere in the line, or "
            "ARCTICDL_DEBUG=1.",
        ),
    ] = False,
) -> None:
    """Takes the options that go before a command; ``main`` reads ``--debug``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    Args:
        arguments: Words after the program's name; default: those of this process.

    Returns:
        0; 1 with one ``error:`` line for a wrong input; 2 for wrong usage; 70 with one
        ``defect:`` line for a mistake in this package; 75 after a termination signal;
        130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in options
    if debug:
        words.remove("--debug")
    debug = debug or os.environ.get("ARCTICDL_DEBUG", "0") not in ("", "0")
    try:
        status = app(args=words, prog_name="arcticdl", standalone_mode=False)
    except Exception as error:
        status = explain(error, debug=debug)
    if status == INTERRUPTED:
        say("interrupted; finished epochs are safe, go on with --resume, or tune again")
    return int(status or 0)


def entry() -> None:
    """The console script."""
    keep_memory(sys.argv[1:])
    sys.exit(main())
