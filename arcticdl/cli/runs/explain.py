"""``arcticdl explain``: what a model's answers rest on."""

import json
from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import Model, Overwrite, SetPredict, split_names
from arcticdl.cli.start import start_for

_Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Scene files to explain. Without: the importance of bands, on the "
        "tiles that tested each fold.",
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Folder. Default: RUN/explained."),
]
_Fold = Annotated[
    str | None,
    typer.Option(
        metavar="K|all|full",
        help="Whose model. Default: for scenes as of predict, for the importance of "
        "bands all.",
    ),
]
_Methods = Annotated[
    str,
    typer.Option(
        metavar="NAME,NAME,...",
        help="Of gradcam, integrated (gradients), occlusion (of bands), "
        "patches (occlusion of squares, slow), "
        "activations (of layers) and boundaries (of classes, in the plane of two "
        "bands).",
    ),
]
_Head = Annotated[
    str | None, typer.Option(help="Which head; needed where there are several.")
]
_Target = Annotated[
    str | None,
    typer.Option(
        help="Class or value that is explained. Default: the class that is "
        "answered, pixel by pixel."
    ),
]
_Layer = Annotated[
    str | None,
    typer.Option(help="Layer of Grad-CAM, such as backbone/P4. Default: the coarsest."),
]
_Steps = Annotated[int, typer.Option(min=1, help="Passes of integrated gradients.")]
_Bands = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME",
        help="Bands of the boundaries. Default: the two that matter most.",
    ),
]
_Window = Annotated[
    str | None,
    typer.Option(
        metavar="ROW,COLUMN,HEIGHT,WIDTH",
        help="Explain this part of the scene, in pixels. Default: the whole.",
    ),
]
_Repeats = Annotated[
    int, typer.Option(min=1, help="Permutations of each band (without INPUT).")
]


def explain(
    run: Model,
    inputs: _Inputs = None,
    out: _Out = None,
    fold: _Fold = None,
    methods: _Methods = "gradcam,integrated,occlusion,activations,boundaries",
    head: _Head = None,
    target: _Target = None,
    layer: _Layer = None,
    steps: _Steps = 16,
    bands: _Bands = None,
    window: _Window = None,
    repeats: _Repeats = 3,
    overwrite: Overwrite = False,
    settings: SetPredict = None,
) -> None:
    """Show what a model's answers rest on: where it looks, and which bands it needs.

    With INPUT each scene gets a folder with a georeferenced map and a figure for each
    method, and explained.json. Explanations are tested: where taking away what a method
    names hurts no more than chance, the command says so, and the map should not be
    believed. Without INPUT each band is permuted between held-out tiles, and left out,
    and the loss of the score is told with its interval over scenes; the report then
    shows it.

    Example: `arcticdl explain runs/demo data/demo/simulated_0_001.tif`
    """
    from arcticdl import experiment

    start_for(run, fold=fold, model=bool(inputs), inputs=inputs or ())
    if not inputs:
        found = experiment.band_importance(run, fold=fold or "all", repeats=repeats)
        for line in experiment.describe_importance(found):
            typer.echo(line)
        return
    folders = experiment.explain(
        run,
        inputs,
        out,
        fold=fold,
        overwrite=overwrite,
        overrides=settings or (),
        methods=split_names(methods),
        head=head,
        target=target,
        layer=layer,
        steps=steps,
        bands=None if bands is None else tuple(split_names(bands)),
        window=_numbers(window),
    )
    for folder in folders:
        typer.echo(folder)
        told = json.loads((folder / "explained.json").read_text("utf-8"))
        for line in experiment.describe_explanation(told):
            typer.echo(line)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = split_names(text)
    if len(words) != 4 or not all(word.lstrip("-").isdigit() for word in words):
        raise typer.BadParameter(
            f"four whole numbers apart by commas. Received: {text}",
            param_hint="--window",
        )
    return tuple(int(word) for word in words)
