"""Commands of the labelling loop: doubtful labels, corrections, suggestions, drift."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import Config, Folds, Overwrite, Run, Set
from arcticdl.cli.start import start_for

Label = Annotated[
    str | None,
    typer.Option(help="Which label. Default: the run's only one."),
]


def label_errors(
    run: Run,
    label: Label = None,
    fold: Folds = "all",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder. Default: RUN/label_errors/LABEL."),
    ] = None,
    min_area_px: Annotated[
        int, typer.Option(min=1, help="Leave out smaller regions, in pixels.")
    ] = 50,
    least_deviation: Annotated[
        float,
        typer.Option(help="Of values: least residual, in standard deviations."),
    ] = 3.0,
    overwrite: Overwrite = False,
) -> None:
    """List labels that models contradict which never saw them.

    Each scene is answered by the fold that held it out. A pixel of a class is doubtful
    when another class reaches the confidence that it has on average where it is the
    label (confident learning, Northcutt et al. 2021) and is likelier than the given
    one; doubtful pixels that touch make a region. Writes suspects.gpkg, in the CRS of
    the scenes, to correct in QGIS (fill in `corrected`: the right class, or void), the
    same as suspects.csv, the worst as suspects.png, and summary.json. Of values large
    residuals are listed, of whole images one row an image.

    Example: `arcticdl label-errors runs/demo --min-area-px 100`
    """
    start_for(run)
    from arcticdl.experiment.loop import label_errors as errors

    found = errors.label_errors(
        run,
        label=label,
        fold=fold,
        out=out,
        min_area_px=min_area_px,
        least_deviation=least_deviation,
        overwrite=overwrite,
    )
    for line in errors.told(found):
        typer.echo(line)


labels = typer.Typer(name="labels", help="Corrections of labels.", no_args_is_help=True)


@labels.command("apply")
def apply_(
    config: Config,
    reviewed: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="Such as suspects.gpkg, with `corrected` filled in."
        ),
    ],
    author: Annotated[
        str | None, typer.Option(help="Who decided, of rows that do not tell.")
    ] = None,
    label: Label = None,
    set_: Set = None,
) -> None:
    """Add reviewed corrections to a label's layer, as its next version.

    The layer is the file that data.labels.NAME.corrections of CONFIG names; it is begun
    where it is not there. Each row gets author and time, unless it tells them, and the
    number of the version. `prepare --overwrite` then applies the layer over the label:
    manifest and model card tell version, hash and changed pixels. What a model has
    pointed at (`origin` is model) is learnt from, and never part of the labels that a
    model is tested on; what you found without it has the origin person, or none.

    Example: `arcticdl labels apply configs/demo.yaml reviewed.gpkg --author "A. Name"`
    """
    from arcticdl.config import load_config
    from arcticdl.experiment.loop import apply

    done = apply.apply_reviewed(
        load_config(config, tuple(set_ or ())), reviewed, author=author, label=label
    )
    for line in apply.told(done):
        typer.echo(line)


class By(StrEnum):
    """What is suggested."""

    scene = "scene"
    tile = "tile"


class Strategy(StrEnum):
    """By what pictures are ranked."""

    coreset = "coreset"
    disagreement = "disagreement"
    entropy = "entropy"
    random = "random"


def suggest(
    run: Run,
    scenes: Annotated[
        list[str], typer.Argument(metavar="SCENE...", help="Files without labels.")
    ],
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="How many.")] = 20,
    by: Annotated[
        By, typer.Option(help="Whole scenes, or windows of the size of tiles.")
    ] = By.tile,
    strategy: Annotated[
        Strategy | None,
        typer.Option(
            help="Whose order the list has. Default: coreset, which did not lose to "
            "chance where it was measured."
        ),
    ] = None,
    label: Label = None,
    seed: Annotated[int, typer.Option(help="Of the random order.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder. Default: RUN/suggestions."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Rank unlabelled scenes by what labelling them may teach.

    All trained folds answer together. Entropy: they are unsure. Disagreement: each is
    sure of something else. Coreset: far from the training tiles in the features of the
    first fold's network, and from each other (k-centre greedy). Random stands beside
    them, and often does as well: benchmarks/labelling.md has measured curves. Scenes
    that a fold is tested on are refused. Writes suggestions.gpkg for QGIS, .csv and
    .png.

    Example: `arcticdl suggest runs/demo new/simulated_7_000.tif -n 3`
    """
    start_for(run)
    from arcticdl.experiment.loop import suggest as suggesting

    found = suggesting.suggest(
        run,
        scenes,
        n=n,
        by=by.value,
        strategy=strategy.value if strategy else None,
        label=label,
        out=out,
        seed=seed,
        overwrite=overwrite,
    )
    for line in suggesting.told(found):
        typer.echo(line)


DRIFTED = 3
"""Exit status where new scenes have drifted."""


def drift(
    run: Run,
    scenes: Annotated[
        list[str], typer.Argument(metavar="SCENE...", help="Files of new scenes.")
    ],
    fold: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Whose training scenes, and whose model. Default: as of predict.",
        ),
    ] = None,
    label: Label = None,
    limit: Annotated[
        float | None,
        typer.Option(
            help="Distance in standard deviations that is drift. Default: the largest "
            "of a training scene from the others."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of windows and bootstrap.")] = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder. Default: RUN/drift.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare new scenes with those that a run was trained on.

    Band by band: Wasserstein distance in standard deviations of training, with an
    interval over scenes, Kolmogorov-Smirnov, population stability index, and the scale
    error that would explain a drift (10000 times too large, linear in place of
    decibels). Then what the model answers, against the scenes that the fold held out,
    and both by season and sensor. Writes drift.html and drift.json. The exit status is
    0 without drift and 3 where a band has drifted.

    Example: `arcticdl drift runs/demo new/simulated_7_000.tif`
    """
    start_for(run)
    from arcticdl.experiment.loop import drift as drifting

    found = drifting.drift(
        run,
        scenes,
        fold=fold,
        label=label,
        limit=limit,
        out=out,
        seed=seed,
        overwrite=overwrite,
    )
    for line in drifting.told(found):
        typer.echo(line)
    if found.report["drifted"]:
        raise typer.Exit(DRIFTED)
