"""``arcticdl synthesize``: scenes made of label maps."""

from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import Overwrite
from arcticdl.cli.start import start_for


def synthesize(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Run folders of generators, one a band, in the order in which they "
            "draw.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the scenes are written.")
    ] = Path("data/synthetic"),
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="K|full",
            help="Of the runs, whose maps are taken. Default: as of predict.",
        ),
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 24,
    size: Annotated[
        int | None,
        typer.Option(
            min=16, help="Rows and columns, px. Default: as of the training tiles."
        ),
    ] = None,
    mix: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the maps that are mixed of two."),
    ] = 0.5,
    seed: Annotated[
        int, typer.Option(min=0, help="Same seed, same scenes, of the same models.")
    ] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make scenes, with their labels, of label maps of the training part of a fold.

    Generators are trained with `data.condition`: they see a map of classes and draw a
    band. Maps are windows of the training maps, turned and mixed. The scenes go to
    `data.synthetic` of an experiment with the same folds; they train, are never tested,
    and refuse a fold that tests what their generator has seen.

    Example: `arcticdl synthesize runs/draw_hh runs/draw_hv --scenes 48`
    """
    from arcticdl import experiment

    for run in runs:
        start_for(run, fold=fold, model=True)
    made = experiment.synthesize(
        runs,
        out,
        fold=fold,
        count=scenes,
        size_px=size,
        mix=mix,
        seed=seed,
        overwrite=overwrite,
    )
    typer.echo(f"{len(made)} scenes in {out}, such as {made[0].name}")
