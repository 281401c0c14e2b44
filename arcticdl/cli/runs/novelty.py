"""``arcticdl novelty``: how unlike the training scenes others are."""

from typing import Annotated

import typer

from arcticdl.cli.options import FoldToMeasure, Model
from arcticdl.cli.start import start_for


def novelty(
    run: Model,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Scene files to measure. Without: fit what is usual, on the training "
            "tiles of each fold.",
        ),
    ] = None,
    fold: FoldToMeasure = None,
    quantile: Annotated[
        float,
        typer.Option(
            help="Share of the places in training scenes that are usual (for the fit)."
        ),
    ] = 0.99,
) -> None:
    """Measure how unlike the training scenes others are, by the network's own features.

    First without INPUT: foldK/novelty.npz then lies beside the model, the output
    `novelty` can be mapped, and bundles carry it. A score of 1 is what 99 % of the
    places in training scenes stay below, each scene measured by the others; a scene is
    unusual whose mean is beyond that of every training scene. Validation and test take
    no part.

    Example: `arcticdl novelty runs/demo`
    """
    from arcticdl import experiment

    start_for(run, fold=fold, model=bool(inputs), inputs=inputs or ())
    if not inputs:
        told = experiment.fit_novelty(run, fold=fold or "all", quantile=quantile)
        for line in experiment.describe_novelty(told):
            typer.echo(line)
        return
    for found in experiment.measure_novelty(run, inputs, fold=fold):
        word = "  unusual" if found.unusual else ""
        typer.echo(
            f"{found.scene_id} {found.mean:.3f}; {100 * found.share:.0f} % of its "
            f"places beyond the limit{word}"
        )
