"""``arcticdl charts``: ice charts of scenes, as services take them."""

from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import Allow, Overwrite, Run, split_names
from arcticdl.cli.start import start_for


def charts(
    run: Run,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCENE",
            help="Scene files. Default: the scenes that the fold was tested on.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder. Default: RUN/charts.")
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="K|full|all",
            help="Whose model; all: the mean of all folds, of scenes that are named. "
            "Default: as of predict.",
        ),
    ] = None,
    min_area: Annotated[
        float,
        typer.Option(
            metavar="KM2",
            min=0,
            help="Smaller regions of the polygons go to their largest neighbour.",
        ),
    ] = 1.0,
    submission: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.nc",
            help="Also write the maps of all scenes as the AutoICE challenge takes "
            "them, on the pixels of the SAR.",
        ),
    ] = None,
    allow: Allow = "",
    overwrite: Overwrite = False,
) -> None:
    """Draw ice charts: panels in WMO colours, SIGRID-3 polygons, a submission.

    Each SCENE gets a folder with chart.nc (concentration, stage of development, floe
    size), chart.png (radar, charts, truth and error where the file has charts, egg
    codes of the largest regions) and NAME_sigrid3.zip, a shapefile whose polygons bear
    CT, CA, SA and FA. In picture and polygons the three charts are made to agree: what
    has no ice has no stage. The run's heads are called SIC, SOD and FLOE.

    Example: `arcticdl charts runs/autoice_small --submission upload.nc`
    """
    from arcticdl import experiment

    start_for(run, fold=fold, model=True, inputs=inputs or ())
    for path in experiment.chart_scenes(
        run,
        inputs or (),
        out,
        fold=fold,
        min_area_km2=min_area,
        submission=submission,
        allow=split_names(allow),
        overwrite=overwrite,
    ):
        typer.echo(path)
