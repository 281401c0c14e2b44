"""``arcticdl data``: public data sets from a terminal."""

from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import Overwrite

data = typer.Typer(
    help="Public data sets: list them, and fetch them for offline nodes.",
    no_args_is_help=True,
)


@data.command("list")
def data_list() -> None:
    """Show the public data sets: size, licence, checksums, and how to cite each.

    Example: `arcticdl data list`
    """
    from arcticdl.datasets import list_datasets

    for info in list_datasets():
        size = "size not known"
        if info.about_bytes is not None:
            size = f"about {_told(info.about_bytes)}"
        here = "  |  fetched" if info.path.exists() else ""
        if info.by_hand:
            here = "  |  by hand"
        lines = (
            info.title,
            f"{size}  |  {info.licence}  |  checksum published: {info.checksums}{here}",
            " ".join((info.page, *(f"doi:{doi}" for doi in info.doi))),
            f"cite: {info.citation}",
        )
        typer.echo("\n    ".join((info.name, *lines)))


@data.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As listed.")],
) -> None:
    """Bring a public data set into the cache, on a node with internet.

    The cache is `ARCTICDL_CACHE`, else ~/.cache/arcticdl; the set comes to data/NAME in
    it. A broken download is resumed. Files are compared with the size and checksum
    that their publishers told; where they told none, the SHA-256 that came is kept and
    later fetches are compared with it. The folder's path is printed.

    Example: `arcticdl data fetch meltpond_tir`
    """
    from arcticdl.datasets import fetch_dataset, find_dataset

    def say(line: str) -> None:
        typer.echo(line, err=True)

    info = find_dataset(name)
    typer.echo(fetch_dataset(name, say=say))
    if any(used.startswith("configs/") for used in info.used_by):
        say(f"its configurations read it with ARCTICDL_SAMPLE_DATA={info.path.parent}")


@data.command("coco")
def data_coco(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="COCO annotations, JSON.")
    ],
    images: Annotated[str, typer.Option("--images", help="Folder of the images.")],
    out: Annotated[str, typer.Option("--out", "-o", help="The table, .csv.")],
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--ranges",
            help="NAME=LIMIT,LIMIT,...: a column that says in which range NAME lies.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the table of scenes of COCO files, for `data.table` of a configuration.

    A row an image: its path, its annotations, the part that the name of its file tells
    (train, valtest), its size, its number of objects, and what else its entry says.
    Every image must be there, and in one file alone.

    Example: `arcticdl data coco chips/train.json --images chips -o chips/chips.csv`
    """
    import pandas as pd

    from arcticdl.files import refuse_existing, write_text
    from arcticdl.sources import coco_table

    refuse_existing(Path(out), overwrite=overwrite)
    limits = dict(_read_range(text) for text in ranges or [])
    rows = coco_table(files, images, seen_from=Path(out).parent, ranges=limits)
    write_text(out, pd.DataFrame(rows).to_csv(index=False))
    parts = pd.Series([row["part"] for row in rows]).value_counts(sort=False)
    told = ", ".join(f"{name} {count:,}" for name, count in parts.items())
    typer.echo(f"{out}: {len(rows):,} images ({told})")


def _read_range(text: str) -> tuple[str, list[float]]:
    """A column and its limits.

    Example:
        >>> _read_range("height=112,128")
        ('height', [112.0, 128.0])
    """
    name, _, limits = text.partition("=")
    try:
        return name, [float(limit) for limit in limits.split(",")]
    except ValueError:
        raise ValueError(
            "--ranges must be NAME=LIMIT,LIMIT,... such as height=112,128. Received: "
            f"{text!r}."
        ) from None


def _told(num_bytes: int) -> str:
    """A size with a unit.

    Example:
        >>> _told(59_600_000_000), _told(5_069_056)
        ('60 GB', '5 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= factor:
            value = num_bytes / factor
            return f"{value:.1f} {unit}" if value < 4.95 else f"{value:.0f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"
