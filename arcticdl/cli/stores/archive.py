"""``arcticdl archive``: stores that grow, shrink and are read together."""

from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import OF_STORES, Config, Set
from arcticdl.cli.start import look_for

archive = typer.Typer(
    help="Keep tile stores as archives: look, select, drop, join, keep folds. Scenes "
    "are added by `arcticdl prepare CONFIG --append`.",
    no_args_is_help=True,
)
Store = Annotated[
    Path,
    typer.Argument(
        metavar="STORE", help="Tile store, or a file that joins some: x.tiles."
    ),
]


@archive.command()
def show(store: Store) -> None:
    """Tell what a store holds: scenes, tiles, classes, and the statistics of its bands.

    The statistics are merged from those of the scenes, so that no pixel is read: count,
    mean, deviation, least and greatest are those of all pixels; the median is read off
    the scenes' percentiles.

    Example: `arcticdl archive show data/demo.tiles`
    """
    look_for(store, **OF_STORES)
    from arcticdl.scene import merge_band_stats
    from arcticdl.tiles import open_store

    opened = open_store(store)
    height, width = opened.tile_size_px
    typer.echo(
        f"{store}: {len(opened):,} tiles of {height} x {width} px, "
        f"{len(opened.scenes):,} scenes"
    )
    for part in opened.parts if opened.parts != (opened,) else ():
        typer.echo(f"  joins {part.path}: {len(part):,} tiles")
    for name, info in opened.labels.items():
        counts = opened.class_counts(name).sum(0).tolist()
        known = info.classes or ("scored",)
        told = ", ".join(f"{c} {n:,}" for c, n in zip(known, counts, strict=True))
        typer.echo(f"label {name}: {told}")
    stats = merge_band_stats([opened.scene_stats(name) for name in opened.scenes])
    typer.echo(f"{'band':<12}{'pixels':>15} {'mean':>11} {'std':>11} {'least':>11}"
               f" {'median':>11} {'greatest':>11}")  # fmt: skip
    for k, band in enumerate(stats.bands):
        cells = (stats.mean, stats.std, stats.min, stats.percentiles[50], stats.max)
        row = " ".join(f"{column[k]:>11.5g}" for column in cells)
        typer.echo(f"{band:<12}{stats.count[k]:>15,} {row}")
    if dropped := opened.about.get("dropped"):
        typer.echo(f"dropped since: {', '.join(dropped)}")


@archive.command()
def select(
    store: Store,
    where: Annotated[
        str,
        typer.Argument(
            metavar="WHERE", help="A condition on the columns of the manifest."
        ),
    ],
) -> None:
    """Count the tiles of which a condition is true, scene by scene.

    Columns are compared with numbers and quoted text, joined by and, or, not, in. A
    name that is no plain word stands in backticks: `ice:water`. An unknown column tells
    those that there are. The same condition goes into a configuration, as
    `tiles.select`: it is then trained and scored on these tiles alone.

    Example: `arcticdl archive select data/demo.tiles "valid_fraction > 0.5"`
    """
    look_for(store, **OF_STORES)
    from arcticdl.tiles import open_store

    opened = open_store(store)
    rows = opened.select(where)
    counts = opened.manifest["scene_id"].iloc[rows].value_counts(sort=False)
    for scene, count in counts.items():
        typer.echo(f"{scene}: {count}")
    typer.echo(
        f"{len(rows):,} of {len(opened):,} tiles, {len(counts):,} of "
        f"{len(opened.scenes):,} scenes"
    )


@archive.command()
def drop(
    store: Store,
    scenes: Annotated[
        list[str], typer.Argument(metavar="SCENE...", help="Names of scenes.")
    ],
) -> None:
    """Take scenes out of a store.

    No pixel is moved: records are replaced in one piece, and files that hold no other
    tile are removed. An interrupted call goes on where it ended, and the store is
    readable all along. The quality report is made anew from what was measured.

    Example: `arcticdl archive drop data/demo.tiles simulated_0_001`
    """
    look_for(store, **OF_STORES)
    from arcticdl.tiles import drop as drop_scenes

    left = drop_scenes(store, scenes)
    typer.echo(f"{store}: {len(left):,} tiles of {len(left.scenes):,} scenes left")


@archive.command()
def join(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE...", help="At least two stores.")
    ],
    into: Annotated[
        Path, typer.Option("--into", help="The file, such as data/all.tiles.json.")
    ],
) -> None:
    """Read several stores as one, without copying a pixel.

    Writes a small file with their paths, which goes wherever a store does: as
    `tiles.store` of a configuration, or to check and archive. Stores are refused that
    differ in bands, dtype, tile size, labels or classes, or share a scene.

    Example: `arcticdl archive join a.tiles b.tiles --into data/all.tiles.json`
    """
    look_for(*stores, **OF_STORES)
    from arcticdl.tiles import join_stores

    joined = join_stores(stores, into)
    typer.echo(
        f"{into}: {len(joined):,} tiles of {len(joined.scenes):,} scenes in "
        f"{len(joined.parts)} stores"
    )


@archive.command()
def folds(config: Config, set_: Set = None) -> None:
    """Keep the folds of a configuration in its store.

    The manifest then says which fold tests each tile (column `fold`). Split by
    `folds.splitter: stable`, scenes keep that fold from then on, whatever is added or
    dropped, and `arcticdl check` audits it.

    Example: `arcticdl archive folds configs/demo.yaml --set folds.splitter=stable`
    """
    from arcticdl import experiment
    from arcticdl.config import load_config

    checked = load_config(config, tuple(set_ or ()))
    for number, fold in enumerate(experiment.keep_folds(checked)):
        typer.echo(f"fold {number}: {len(fold.train):,} train, {len(fold.test):,} test")
