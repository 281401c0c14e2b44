"""``arcticdl export``: a trained model for programs that do not know Keras."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Run folder, or a .keras file that carries a card."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="NAME.onnx, or a folder for a TensorFlow SavedModel. "
            "Default: model.onnx beside the model.",
        ),
    ] = None,
    fold: Annotated[
        str,
        typer.Option(metavar="K|full", help="Whose model; full: that of every scene."),
    ] = "0",
    normalized: Annotated[
        bool,
        typer.Option(
            "--normalized",
            help="Take pixels that are already scaled as the card says; needed where "
            "the scaling is that of each whole scene.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier call wrote.")
    ] = False,
) -> None:
    """Write a trained model as ONNX or SavedModel, scaling and softmax included.

    The file takes pixels in source units, float32 (batch, y, x, band) of any size with
    NaN where there is no data, and gives probabilities. An ONNX file is run once and
    must answer as Keras does; it carries the card (bands, classes) as metadata.

    Example: `arcticdl export runs/demo --fold 1 -o demo.onnx`
    """
    from arcticdl import experiment
    from arcticdl.cli.start import start_backend

    start_backend()
    written = experiment.export(
        run, out, fold=fold, normalized=normalized, overwrite=overwrite
    )
    typer.echo(written)
