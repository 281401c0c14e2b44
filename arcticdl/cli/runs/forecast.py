"""``arcticdl forecast``: what comes, and whether the network knows it better."""

from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import Run
from arcticdl.cli.start import start_for


def forecast(
    run: Run,
    fold: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Number of the trained fold. Default: as of predict."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write. Default: foldK/forecast of the run."),
    ] = None,
) -> None:
    """Forecast with a trained run, and compare with what needs no network.

    For a run with data.series.context. From each date that the fold was tested on, the
    network, the members of an ensemble, persistence, anomaly persistence, damped
    anomalies, climatology and trend forecast the same cells. Writes forecast.nc (CF, by
    issue and lead, with quantiles), latest.nc from the last date, scores.csv,
    forecast.json, forecast.html with maps and curves, and forecast.gif.

    Example: `arcticdl forecast runs/sea_ice_forecast`
    """
    start_for(Path(run))
    from arcticdl.experiment.folder import chosen_folds, fold_path
    from arcticdl.experiment.forecasts.run import FOLDER, describe_forecasts
    from arcticdl.experiment.forecasts.run import forecast as make

    (number,) = chosen_folds(Path(run), fold)
    for line in describe_forecasts(make(run, fold=number, out=out)):
        typer.echo(line)
    target = fold_path(Path(run), number) / FOLDER if out is None else out
    typer.echo(target / "forecast.html")
