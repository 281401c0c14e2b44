"""``arcticdl bundle`` and ``verify``: a model to pass on, that can check itself."""

from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import OneFold, Overwrite, Run
from arcticdl.cli.start import start_for


def bundle(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="NAME.zip, or a folder. Default: RUN/NAME_foldK.zip."
        ),
    ] = None,
    fold: OneFold = None,
    license_: Annotated[
        str | None,
        typer.Option("--license", help="Licence of the model: an SPDX name, or a URL."),
    ] = None,
    sample: Annotated[
        bool,
        typer.Option(
            help="Put in a tile of the data; without it random pixels, for data that "
            "must not be passed on."
        ),
    ] = True,
    overwrite: Overwrite = False,
) -> None:
    """Pack a trained model with its card, scores, checksums and a checked answer.

    Whoever receives the file runs `arcticdl verify` on it, and uses it as a run:
    predict, explain and export take it, and `arcticdl evaluate BUNDLE --data STORE`
    scores it on labelled scenes of their own. Nothing in it is code. Run `arcticdl
    evaluate RUN` first, so that its README tells how good the model is.

    Example: `arcticdl bundle runs/demo --license CC-BY-4.0`
    """
    from arcticdl import experiment

    start_for(run, fold=fold, model=True)
    options = {"fold": fold, "license": license_, "sample": sample}
    typer.echo(experiment.bundle(run, out, overwrite=overwrite, **options))  # type: ignore[arg-type]


def verify(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle: zip file or folder.")
    ],
) -> None:
    """Check a bundle: its files, its card, and the network against its own answer.

    Exit status 1 when anything is another than the bundle says.

    Example: `arcticdl verify runs/demo/demo_fold0.zip`
    """
    from arcticdl import experiment

    start_for(bundle)
    for head, difference in experiment.verify_bundle(bundle).items():
        typer.echo(f"{head}: answers as told, to {difference:.1e} of their span")
    typer.echo(f"{bundle} is whole")
