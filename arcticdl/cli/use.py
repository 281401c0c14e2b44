"""Commands that use trained models: ensemble, evaluate, predict, export, report."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import (
    OF_RUNS,
    Allow,
    Folds,
    Model,
    OneFold,
    Overwrite,
    Run,
    SetPredict,
    split_names,
)
from arcticdl.cli.start import look_for, start_for


class Score(StrEnum):
    """Scores of a field, in place of those of the tasks."""

    autoice = "autoice"
    robustness = "robustness"


class Tta(StrEnum):
    """Views averaged in prediction."""

    none = "none"
    hflip = "hflip"
    d4 = "d4"
    invert = "invert"
    hflip_invert = "hflip+invert"
    d4_invert = "d4+invert"


class Format(StrEnum):
    """Formats of exported networks."""

    onnx = "onnx"
    saved_model = "saved_model"
    litert = "litert"


def ensemble(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="NAME.keras. Default: RUN/ensemble.keras."),
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            metavar="fold0,fold1,...",
            help="Which folds. Default: all that are trained.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="W,W,...",
            help="Weight of each member. Default: all the same.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Join the models of a run's folds to one that answers with their mean.

    Writes one .keras file that predict, evaluate --data and export take like any
    model: it holds each member with its own scaling, and averages probabilities,
    values, means and variances. For a map of where the members disagree use predict
    --fold all. The file remembers the scenes that its members have seen, and evaluate
    refuses to score it on them.

    Example: `arcticdl ensemble runs/demo --members fold0,fold2 -o demo.keras`
    """
    from arcticdl import experiment

    start_for(run)
    chosen = None if members is None else split_names(members)
    typer.echo(
        experiment.ensemble(
            run,
            out,
            members=chosen,
            weights=_numbers(weights),
            overwrite=overwrite,
        )
    )


def _numbers(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"numbers apart by commas. Received: {text}", param_hint="--weights"
        ) from None


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Run folder, a bundle, or a .keras file with its card.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Another tile store, scored whole. Default: held-out folds."),
    ] = None,
    fold: Folds = "all",
    score: Annotated[
        Score | None,
        typer.Option(
            help="Instead, of heads named SIC, SOD and FLOE: autoice, the score of the "
            "AutoICE challenge; robustness, that score of damaged scenes."
        ),
    ] = None,
    settings: SetPredict = None,
) -> None:
    """Score trained folds on the scenes they did not see.

    Writes foldK/metrics.json and summary.json: confusion matrix pooled over the
    held-out scenes, IoU, precision, recall and F1 of every class, each with a bootstrap
    interval over scenes; panoptic quality and mask AP of objects where `instances` of
    the configuration names a label that numbers them. A bundle, or a .keras file such
    as an ensemble, is scored on the labelled scenes of --data, which it may not have
    seen, and NAME_metrics_STORE.json is written beside it.
    --score autoice gives the R2 of the concentration in tenths and the weighted F1 of
    stage and floe size, in percent, combined 2:2:1, over the pixels of all scenes
    together. Beside it stand macro F1, both F1 over pixels of ice alone, each class,
    and the scores by the configuration's `strata`; all in autoice.json.
    --score robustness scores the same scenes with more wind, melt, noise and speckle,
    with another slope over the incidence angle, and without AMSR2 or ERA5; with
    `baselines: true` in the configuration, baselines on the very same scenes too. It
    writes robustness.json and robustness.png.
    With --set the held-out scenes are mapped in another way, such as by other views or
    another line, and scores are printed alone: the run's files are left as they are.

    Example: `arcticdl evaluate runs/demo`
    """
    from arcticdl import experiment

    start_for(run)
    if settings and score is not None:
        raise typer.BadParameter(
            "goes with the scores of the tasks, not with --score", param_hint="--set"
        )
    if score is Score.robustness:
        if data is not None:
            raise typer.BadParameter(
                "goes with the held-out folds alone, not with --data",
                param_hint="--score robustness",
            )
        card = experiment.robustness_card(run, fold=fold)
        for line in experiment.describe_card(card):
            typer.echo(line)
        return
    if score is not None:
        found = experiment.score_autoice(run, data=data, fold=fold)
        for line in experiment.describe_autoice(found):
            typer.echo(line)
        return
    summary = experiment.evaluate(run, data=data, fold=fold, overrides=settings or ())
    for line in experiment.headline(summary):
        typer.echo(line)


_Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Scene files. Default: the scenes that the fold was tested on.",
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        help="GeoTIFF or NetCDF for one scene, CSV for answers about whole images, "
        "or a folder. Default: RUN/maps, of a bundle or a .keras file maps.",
    ),
]
_Fold = Annotated[
    str | None,
    typer.Option(
        metavar="K|all|full",
        help="Whose model; all: their mean, with a map of their disagreement; "
        "full: that of every scene. Default: the only one that is trained; of several "
        "that of fold 0.",
    ),
]
_Tta = Annotated[
    Tta | None, typer.Option(help="Views averaged. Default: the configuration's.")
]
_Products = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME,...",
        help="What is made of the maps, of cog, ice, instances, netcdf, png, polygons, "
        "qgis, sigrid, stac and zarr, with the options of the configuration. Default: "
        "the configuration's, else png. Example: --products cog,polygons,netcdf",
    ),
]
_Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Map the I-th of N parts of the scenes, as one of N array tasks.",
    ),
]
_Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on after an interrupted call: scenes that the same models have "
        "finished are left alone, but for products that they lack.",
    ),
]


def predict(
    run: Model,
    inputs: _Inputs = None,
    out: _Out = None,
    fold: _Fold = None,
    tta: _Tta = None,
    products: _Products = None,
    allow: Allow = "",
    shard: _Shard = None,
    resume: _Resume = False,
    overwrite: Overwrite = False,
    settings: SetPredict = None,
) -> None:
    """Map whole scenes: classes with their confidence, values, and lines.

    The map has the CRS, transform and shape of its input and the classes' colours;
    nodata stays nodata. The map of a swath is NetCDF, with the latitude and longitude
    of its pixels. A model that answers for whole images writes predictions.csv,
    one row a scene. Memory does not grow with the scene's length. Where the
    configuration stacks several files to one scene, give the first file of each.
    Before the network runs, some windows of each scene are compared with the training
    scenes: numbers or pixels of another size are refused, a region or season that was
    never trained on is told.
    With --fold all the models of all folds map each INPUT together and
    NAME_spread.tif tells where they disagree; without INPUT each fold maps the scenes
    that it was tested on.

    Example: `arcticdl predict runs/demo data/demo/simulated_0_001.tif -o map.tif`
    """
    from arcticdl import experiment

    start_for(run, fold=fold, model=True, inputs=inputs or ())
    for path in experiment.predict(
        run,
        inputs or (),
        out,
        fold=fold,
        tta=tta.value if tta else None,
        products=None if products is None else split_names(products),
        allow=split_names(allow),
        shard=shard,
        resume=resume,
        overwrite=overwrite,
        overrides=settings or (),
    ):
        typer.echo(path)


def export(
    run: Model,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="NAME.onnx, NAME.tflite for LiteRT, or a folder for a TensorFlow "
            "SavedModel. Default: beside the model, model.onnx or as the format ends.",
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option("--format", help="Default: what --out ends as, or onnx."),
    ] = None,
    fold: OneFold = None,
    normalized: Annotated[
        bool,
        typer.Option(
            "--normalized",
            help="Take pixels that are already scaled as the card says; needed where "
            "the scaling is that of each whole scene.",
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a trained model as ONNX, SavedModel or LiteRT, with scaling and softmax.

    The file takes pixels in source units, float32 (batch, y, x, band) of any size with
    NaN where there is no data, and gives probabilities; a LiteRT file takes only one
    window of the tile size. An ONNX or LiteRT file is run once and must answer as Keras
    does. ONNX carries the card (bands, classes) as metadata. Beside each stand the card
    as JSON and a STAC item for catalogues of models.

    Example: `arcticdl export runs/demo --fold 0 -o demo.onnx`
    """
    from arcticdl import experiment

    start_for(run, fold=fold, model=fold != "all")  # which export refuses
    written = experiment.export(
        run,
        out,
        format=format.value if format else None,
        fold=fold,
        normalized=normalized,
        overwrite=overwrite,
    )
    typer.echo(written)


def report(run: Run) -> None:
    """Write RUN/report.html, one file that opens offline.

    It shows what the run folder holds: the scores of `arcticdl evaluate` beside those
    of baselines, class by class and by stratum, how training went, the worst and the
    median scene, the maps of `arcticdl predict`, and how to make all of it again. So
    evaluate and predict come first; what is not there yet is left out, and noted.

    Example: `arcticdl report runs/demo`
    """
    look_for(run, **OF_RUNS)
    from arcticdl.evaluation import write_report

    typer.echo(write_report(run))
