"""``arcticdl measure``: what maps and scenes say, through time and to ships."""

from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import Config, Overwrite, Set, split_names

measure = typer.Typer(
    help="Measure fronts, extents, snow lines and melt onset through time, and risk in "
    "ice; write mapped objects as COCO has them.",
    no_args_is_help=True,
)
_AP = {"AP": "ap", "AP50": "ap50", "AP75": "ap75", "AR10": "ar10"}
Table = Annotated[Path, typer.Option("-o", "--out", help="NAME.csv.")]


@measure.command()
def fronts(
    lines: Annotated[
        list[Path],
        typer.Argument(metavar="LINE...", help="NAME_line.gpkg of each date."),
    ],
    back: Annotated[
        Path,
        typer.Option(
            help="A vector file with one line of two points, across the glacier and "
            "behind every front."
        ),
    ],
    out: Table = Path("fronts.csv"),
    overwrite: Overwrite = False,
) -> None:
    """Measure where a glacier's front stands at each date, and how fast it moves.

    Box method: the area between the line at the back and the front, over the width of
    the box. The lines are those that predict leaves of scenes that tell their time.
    Writes NAME.csv (metres, metres a year), NAME.json with the trend and what the
    numbers mean, and the picture NAME.png.

    Example: `arcticdl measure fronts maps/*_line.gpkg --back back.gpkg -o fronts.csv`
    """
    from arcticdl.inference.series.fronts import measure_fronts

    table = measure_fronts(lines, back, out, overwrite=overwrite)
    typer.echo(table.to_string(index=False, float_format="{:.1f}".format))
    typer.echo(out)


@measure.command()
def extent(
    config: Config,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to make.")] = Path(
        "data/extent"
    ),
    set_: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """Sum the ice of each region at each date, as a series to be forecast.

    CONFIG forecasts maps of concentration and is prepared: its data.series.context
    tells the quantity, the regions (boxes, or areas of its region_file) and the years
    of reference. Extent is the area of cells with 15 % ice and more, by true cell
    areas, over the cells that all dates have. Writes extents.csv (million km2) with its
    definition, and extent_YEAR.nc, the shares that configs/extent.yaml trains on.

    Example: `arcticdl measure extent configs/sea_ice_forecast.yaml -o data/extent`
    """
    from arcticdl import experiment
    from arcticdl.config import load_config
    from arcticdl.inference.series.extents import TABLE

    checked = load_config(config, tuple(set_ or ()))
    table = experiment.measure_extents(checked, out, overwrite=overwrite)
    usual = table.groupby("region", sort=False)["extent_km2"].agg(
        ["min", "mean", "max"]
    )
    typer.echo((usual / 1e6).to_string(float_format="{:.3f}".format))
    typer.echo(out / TABLE)


@measure.command()
def snow_line(
    maps: Annotated[
        list[Path], typer.Argument(metavar="MAP...", help="GeoTIFFs of classes.")
    ],
    elevation: Annotated[Path, typer.Option(help="DEM in metres, on any grid.")],
    snow: Annotated[str, typer.Option(metavar="CLASS,CLASS", help="What is snow.")],
    no_snow: Annotated[
        str,
        typer.Option(
            metavar="CLASS,CLASS", help="What is none; other classes are left out."
        ),
    ],
    out: Table = Path("snow_line.csv"),
    overwrite: Overwrite = False,
) -> None:
    """Measure how high the snow line lies in each map.

    The altitude with the fewest pixels of snow below it and without snow above it, and
    the share of pixels on their right side. Writes NAME.csv, and NAME.json with what
    the numbers mean.

    Example: `arcticdl measure snow-line maps/july.tif --elevation dem.tif --snow snow
    --no-snow ice,rock`
    """
    from arcticdl.inference.series.snow_lines import measure_snow_lines

    chosen = {"snow": split_names(snow), "no_snow": split_names(no_snow)}
    table = measure_snow_lines(maps, elevation, out, **chosen, overwrite=overwrite)
    typer.echo(table.to_string(index=False, float_format="{:.3f}".format))
    typer.echo(out)


@measure.command()
def melt_onset(
    scenes: Annotated[
        list[Path],
        typer.Argument(metavar="SCENE...", help="Scenes of one grid, with their time."),
    ],
    band: Annotated[str, typer.Option(help="Backscatter in dB, or temperature in K.")],
    winter: Annotated[
        tuple[str, str],
        typer.Option(metavar="DAY DAY", help="First and last day of the winter mean."),
    ],
    change: Annotated[
        float,
        typer.Option(
            help="How far from the winter mean melt is: -3 of backscatter in dB, 30 of "
            "brightness temperature near 19 GHz in K."
        ),
    ],
    least_times: Annotated[
        int, typer.Option(min=1, help="Scenes in a row that far away.")
    ] = 3,
    out: Annotated[Path, typer.Option("-o", "--out", help="NAME.tif.")] = Path(
        "melt_onset.tif"
    ),
    overwrite: Overwrite = False,
) -> None:
    """Map the day of the year on which melt begins, pixel by pixel.

    The first of several scenes in a row whose signal is away from its winter mean. What
    the map means stands in its tag `definition`.

    Example: `arcticdl measure melt-onset s1/*.tif --band HH --winter 2020-01-01
    2020-02-29 --change=-3`
    """
    from arcticdl.inference.series.melt import measure_melt_onset

    typer.echo(
        measure_melt_onset(
            scenes,
            out,
            band=band,
            winter=winter,
            change=change,
            least_times=least_times,
            overwrite=overwrite,
        )
    )


@measure.command()
def polaris(
    types: Annotated[Path, typer.Argument(metavar="MAP", help="GeoTIFF of ice types.")],
    ship: Annotated[
        str,
        typer.Option(
            metavar="CLASS",
            help="PC1 to PC7, 'IA Super', IA, IB, IC, or none: no ice class.",
        ),
    ],
    cell_km: Annotated[
        float, typer.Option(help="Side of a cell, whose ice is judged together.")
    ] = 5.0,
    concentration: Annotated[
        Path | None,
        typer.Option(
            help="GeoTIFF of the concentration, 0 to 1, on the same grid. Default: "
            "pixels of ice are all ice."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="NAME.tif.")] = Path(
        "polaris.tif"
    ),
    overwrite: Overwrite = False,
) -> None:
    """Rate the risk of ice to a ship (POLARIS). NOT FOR NAVIGATION.

    Risk index outcomes of MSC.1/Circ.1519 with the values of table 1.3: ice that is not
    decayed, a ship without escort. Classes that hold several kinds of ice, such as
    young ice, allow a lowest and a highest outcome: the two bands of NAME.tif.
    NAME.json has the shares of the three operations, and what the numbers mean.

    Example: `arcticdl measure polaris maps/ice_type.tif --ship PC6 -o pc6.tif`
    """
    from arcticdl.inference.series.polaris import WARNING, measure_polaris

    written = measure_polaris(
        types,
        out,
        ship=ship,
        cell_km=cell_km,
        concentration=concentration,
        overwrite=overwrite,
    )
    typer.echo(WARNING)
    typer.echo(written)


@measure.command()
def coco(
    maps: Annotated[
        Path, typer.Argument(metavar="MAPS", help="Folder of NAME_instances.tif.")
    ],
    images: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="COCO, or CSV: image_id,file_name."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The results, JSON.")],
    most: Annotated[
        int | None,
        typer.Option("--most", min=1, help="The surest objects of an image alone."),
    ] = None,
    vertices: Annotated[
        str,
        typer.Option(
            help="What points of polygons are: corners, as COCO's own scores have it, "
            "or pixels, of outlines that were traced along a mask."
        ),
    ] = "corners",
    overwrite: Overwrite = False,
) -> None:
    """Write mapped objects as COCO results with run-length encodings, and score them.

    Scores are mask AP by pycocotools, over the images that were mapped, where the
    annotations hold objects.

    Example: `arcticdl measure coco runs/slumps/maps truth.json -o found.json`
    """
    from arcticdl.evaluation.objects.coco import (
        coco_results,
        coco_truth,
        mapped_images,
    )
    from arcticdl.files import refuse_existing, write_json
    from arcticdl.metrics import coco_scores

    refuse_existing(out, overwrite=overwrite)
    results = coco_results(maps, images, most=most)
    mapped = mapped_images(maps, images)
    lines = [f"{out}: {len(results):,} objects of {len(mapped):,} images"]
    if images.suffix.lower() != ".csv":
        truth = coco_truth(images, mapped, vertices=vertices)
        if truth["annotations"]:
            scores = coco_scores(truth, results)
            told = ", ".join(f"{name} {scores[key]:.3f}" for name, key in _AP.items())
            count = f"{len(truth['annotations']):,} objects are there"
            lines.append(f"{told}; {count}, their points as {vertices}")
    write_json(out, results)
    typer.echo("\n".join(lines))
