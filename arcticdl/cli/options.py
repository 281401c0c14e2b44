"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="Experiment file, for example configs/meltpond.yaml."
    ),
]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder, for example runs/meltpond.")
]
Model = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Run folder, a bundle, or a .keras file with its card."
    ),
]
OF_RUNS = {"kind": "run folder", "first": "arcticdl train CONFIG"}
OF_STORES = {"kind": "tile store", "first": "arcticdl prepare CONFIG"}
"""What is said where there is none; see `arcticdl.cli.start.look_for`."""

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="Override one value of the configuration; may be given several times. "
        "Example: --set train.epochs=5 --set model.backbone=resnet34",
    ),
]
SetPredict = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="predict.KEY=VALUE",
        help="Replace a value of the run's `predict` section for this call. "
        "Example: --set 'predict.thresholds={old_ice: 0.6}'",
    ),
]
Folds = Annotated[
    str,
    typer.Option(metavar="K|all", help="Number of one trained fold, or all of them."),
]
OneFold = Annotated[
    str | None,
    typer.Option(
        metavar="K|full",
        help="Whose model; full: that of every scene. Default: the only one that is "
        "trained; of several that of fold 0.",
    ),
]
FoldToMeasure = Annotated[
    str | None,
    typer.Option(
        metavar="K|all",
        help="Whose model. Default: for scenes as of predict, for the fit all.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier call wrote.")
]
Allow = Annotated[
    str,
    typer.Option(
        metavar="NAME,NAME",
        help="What may differ from the training scenes beyond the limit: scale (of "
        "the bands' numbers, 10 times), resolution (2 times).",
    ),
]


def split_names(text: str) -> list[str]:
    """Names that are separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
