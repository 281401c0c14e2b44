"""Commands about data: ``simulate``, ``prepare``, ``check``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.faults import say
from arcticdl.cli.options import OF_STORES, Config, Overwrite, Set
from arcticdl.cli.start import look_for


class Schema(StrEnum):
    """File layouts that the simulator writes."""

    geotiff = "geotiff"
    ai4arctic = "ai4arctic"
    ai4arctic_raw = "ai4arctic_raw"
    safe = "safe"
    optical = "optical"
    amsr2 = "amsr2"
    monthly = "monthly"
    floes = "floes"
    icebergs = "icebergs"
    speckle = "speckle"
    coarse = "coarse"
    cloudy = "cloudy"


class World(StrEnum):
    """What the physics of radar scenes is made with."""

    usual = "usual"
    disjoint = "disjoint"


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the scenes.")],
    scenes: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 4,
    size: Annotated[int, typer.Option(min=64, help="Rows and columns, px.")] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same scenes.")] = 0,
    schema: Annotated[Schema, typer.Option(help="File layout.")] = Schema.geotiff,
    charts: Annotated[
        bool,
        typer.Option(
            "--charts",
            help="Also write each scene's ice chart, NAME_chart.gpkg (SIGRID-3), of "
            "radar scenes.",
        ),
    ] = False,
    ponds: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of melt ponds in the area of floes, of optical scenes; 0.25 "
            "unless told.",
        ),
    ] = None,
    icebergs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Icebergs in each scene of icebergs, 0 for the open sea alone; one "
            "for each 104 x 104 px unless told.",
        ),
    ] = None,
    world: Annotated[
        World,
        typer.Option(
            help="Of geotiff, ai4arctic (raw or not), safe. disjoint: each scene has "
            "tie points, backscatter, slopes, noise, weather of its own, from ranges "
            "without the constants of any method, so that none is scored on its own "
            "generator."
        ),
    ] = World.usual,
) -> None:
    """Write simulated polar scenes with known truth.

    geotiff, ai4arctic and safe: HH and HV backscatter (dB), incidence angle (degrees)
    and ice types, in the layouts of real files; ai4arctic_raw: with the polygons of the
    chart and their codes in place of finished charts. optical: reflectance of summer
    ice with melt ponds. amsr2: brightness temperatures (K) of eight days a place, with
    the concentration. monthly: a year of monthly concentration a file. floes:
    reflectance of floes that touch, with the number of each. icebergs: HH and HV (dB)
    of icebergs at sea, with their outlines. speckle: HH and HV (dB) with strong
    speckle, and without. coarse: brightness temperatures (K), coarse and fine. cloudy:
    reflectance of four days a place, with gaps under clouds, and without. So every
    later step can be tried without a download. Simulated results say nothing about real
    ice.

    Example: `arcticdl simulate data/demo --scenes 6 --size 512`
    """
    from arcticdl.simulate import simulate_scenes

    paths = simulate_scenes(
        out,
        num_scenes=scenes,
        size_px=size,
        seed=seed,
        schema=schema.value,
        charts=charts,
        pond_fraction=ponds,
        num_icebergs=icebergs,
        world=world.value,
    )
    for path in paths:
        typer.echo(path)


def prepare(
    config: Config,
    set_: Set = None,
    overwrite: Overwrite = False,
    append: Annotated[
        bool,
        typer.Option("--append", help="Add the scenes that the store does not hold."),
    ] = False,
) -> None:
    """Cut the scenes of a configuration into a tile store.

    The store (NAME.tiles) is Zarr with a GeoParquet manifest; xarray and geopandas read
    it without arcticdl. An interrupted call goes on where it ended. With --append only
    scenes that are new are read; what is there stays as it is.

    Example: `arcticdl prepare configs/demo.yaml`
    """
    from arcticdl import experiment
    from arcticdl.config import load_config

    if append and overwrite:
        raise typer.BadParameter("--append adds to a store, --overwrite replaces it.")
    checked = load_config(config, tuple(set_ or ()))  # before what is slow to load
    if not append:
        store, added = experiment.prepare(checked, overwrite), ""
    else:
        store, new, gone, dropped = experiment.append(checked)
        added = f", {len(new)} of them new"
        if gone:
            typer.echo(
                f"In the store, but no longer found: {len(gone)}, such as {gone[0]}; "
                "they stay until `arcticdl archive drop`."
            )
        if dropped:
            typer.echo(
                f"Found, but dropped before: {len(dropped)}, such as {dropped[0]}; "
                "they stay out until --overwrite."
            )
    scenes = store.manifest["scene_id"].nunique()
    typer.echo(f"{store.path}: {len(store)} tiles of {scenes} scenes{added}")
    from arcticdl.tiles.quality.reports import kept_warnings

    for warning in kept_warnings(store):
        say(warning)


def check(
    store: Annotated[
        Path, typer.Argument(metavar="STORE", help="Tile store, for example x.tiles.")
    ],
    html: Annotated[
        Path | None, typer.Option(help="Also write the findings as a page.")
    ] = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also read every tile, and compare it with what was written.",
        ),
    ] = False,
) -> None:
    """Check a tile store: AI-readiness and leakage between its folds.

    By default this is the cheap part: signatures, that no file is lost, and what was
    measured when the store was written; pixels that went bad on the disk are found
    with --deep alone. Exit status 1 when something is wrong, so that a job script
    stops.

    Example: `arcticdl check data/demo.tiles --html quality.html`
    """
    look_for(store, **OF_STORES)
    from arcticdl.tiles import check_store

    result = check_store(store, deep=deep)
    if html is not None:
        result.write_html(html)
    for finding in result.findings:
        typer.echo(finding)
    raise typer.Exit(0 if result.ok else 1)
