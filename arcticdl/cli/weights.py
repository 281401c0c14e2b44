"""``arcticdl weights``: pretrained weights from a terminal."""

from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import split_names

weights = typer.Typer(
    help="Pretrained weights: list, fetch for offline nodes, convert, verify.",
    no_args_is_help=True,
)


@weights.command("list")
def weights_list(
    architecture: Annotated[
        str | None, typer.Argument(metavar="BACKBONE", help="Only of this backbone.")
    ] = None,
) -> None:
    """Show the named weights: bands, training data, licence.

    Example: `arcticdl weights list resnet50`
    """
    from arcticdl.choices import check_choice
    from arcticdl.models.weights.table import list_weights

    if architecture is not None:
        known = {info.architecture for info in list_weights()}
        check_choice("BACKBONE", architecture, known)
    for info in list_weights(architecture):
        bands = " ".join(band.rpartition(":")[2] for band in info.bands)
        typer.echo(f"{info.name}\n    {bands}  |  {info.dataset}  |  {info.licence}")


@weights.command("fetch")
def weights_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As listed.")],
) -> None:
    """Bring weights into the cache, on a node with internet.

    The cache is `ARCTICDL_CACHE`, else ~/.cache/arcticdl. A broken download is resumed,
    and the file is verified.

    Example: `arcticdl weights fetch resnet50.sentinel1_grd_moco`
    """
    from arcticdl.models.weights.load import fetch

    typer.echo(fetch(name))


@weights.command("convert")
def weights_convert(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="PyTorch checkpoint.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="NAME.weights.h5.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Input bands in order, separated by commas.")
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Accept keys that do not match.")
    ] = False,
) -> None:
    """Turn a PyTorch checkpoint into Keras weights, executing nothing in it.

    Example: `arcticdl weights convert model.pth --bands B02,B03,B04`
    """
    from arcticdl.models.convert.sidecar import convert
    from arcticdl.models.convert.whole import MODELS

    names = split_names(bands) if bands else None
    written, found = convert(
        path, out, bands=names, allow_partial=allow_partial, families=MODELS
    )
    typer.echo(found)
    typer.echo(written)


@weights.command("verify")
def weights_verify(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="NAME.weights.h5.")],
) -> None:
    """Check that converted weights are the file that their sidecar describes.

    Example: `arcticdl weights verify model.weights.h5`
    """
    from arcticdl.models.convert.sidecar import verify

    verify(path)
    typer.echo(f"{path}: as its sidecar states")
