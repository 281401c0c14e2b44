"""``arcticdl anomalies``: what an autoencoder rebuilds worse than normal scenes."""

from typing import Annotated

import typer

from arcticdl.cli.options import FoldToMeasure, Model
from arcticdl.cli.start import start_for


def anomalies(
    run: Model,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Scene files to measure. Without: fit what is normal, on the scenes "
            "that validate each fold.",
        ),
    ] = None,
    fold: FoldToMeasure = None,
    quantile: Annotated[
        float,
        typer.Option(help="Share of a normal scene that is normal (for the fit)."),
    ] = 0.99,
    window: Annotated[
        int,
        typer.Option(
            help="Side of the square that errors are averaged over, px, odd (for the "
            "fit): about as large as what is looked for."
        ),
    ] = 5,
    clusters: Annotated[
        int, typer.Option(help="Groups of codes, 2 to 20 (for the fit).")
    ] = 6,
) -> None:
    """Find what an autoencoder rebuilds worse than it does normal scenes.

    First without INPUT, on a run with `model.options.latent`: foldK/anomalies.npz then
    lies beside the model, the outputs `anomaly` (error over the limit: above 1 is
    anomalous) and `cluster` can be mapped, and bundles carry them; latent.png shows
    what the numbers of the code mean. The limit is that of the scenes that validate the
    fold, which must be normal; training and test take no part. With INPUT: the share of
    each scene beyond the limit.

    Example: `arcticdl anomalies runs/anomalies`
    """
    from arcticdl import experiment

    start_for(run, fold=fold, model=bool(inputs), inputs=inputs or ())
    if not inputs:
        told = experiment.fit_anomalies(
            run,
            fold=fold or "all",
            quantile=quantile,
            window_px=window,
            num_clusters=clusters,
        )
        for line in experiment.describe_anomalies(told):
            typer.echo(line)
        return
    for found in experiment.measure_anomalies(run, inputs, fold=fold):
        word = "  unusual" if found.unusual else ""
        typer.echo(f"{found.scene_id} {100 * found.share:.2f} % beyond the limit{word}")
