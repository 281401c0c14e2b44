"""``arcticdl calibrate``: answers as sure as they are right."""

from typing import Annotated

import typer

from arcticdl.cli.options import Run, SetPredict
from arcticdl.cli.start import start_for


def calibrate(
    run: Run,
    fold: Annotated[
        str,
        typer.Option(
            metavar="K|all|full",
            help="Number of one trained fold, all of them, or full.",
        ),
    ] = "all",
    method: Annotated[
        str | None,
        typer.Option(
            help="temperature: one factor; vector: a factor and a summand a class; "
            "none: as trained. Default: predict.calibration.method of the run."
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Also find sets of classes, or intervals, that hold this share of a "
            "new scene's pixels, such as 0.9. Default: predict.calibration.coverage."
        ),
    ] = None,
    set_: SetPredict = None,
) -> None:
    """Make the probabilities of a trained run the shares that come true.

    Fits on the validation scenes of each fold, which neither train nor test it, and
    writes the model anew with its logits scaled: evaluate, predict and export then
    follow, and scores and exports of before are removed. With --coverage the outputs
    set and set_size (of values: interval) can be mapped too, for which coverage /
    (1 - coverage) scenes or groups must validate.

    Example: `arcticdl calibrate runs/demo --method temperature`
    """
    from arcticdl import experiment

    start_for(run)
    told = {"method": method, "coverage": coverage}
    given = [f"predict.calibration.{k}={v}" for k, v in told.items() if v is not None]
    found = experiment.calibrate(run, fold=fold, overrides=(*(set_ or ()), *given))
    for line in experiment.describe_calibration(found):
        typer.echo(line)
    typer.echo("scores and exports of before are removed: run arcticdl evaluate again")
