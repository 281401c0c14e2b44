"""``arcticdl compare``: is one run better than another, or is it chance?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcticdl.cli.options import OF_RUNS, Folds
from arcticdl.cli.start import look_for

if TYPE_CHECKING:
    from arcticdl.evaluation import Comparison


_WIDTH = 110  # of a table in which nothing is cut short, whatever the terminal


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...",
            help="Evaluated run folders; the others are compared with the first.",
        ),
    ],
    fold: Folds = "all",
    unit: Annotated[
        str,
        typer.Option(
            metavar="scene|COLUMN",
            help="What is drawn and swapped: scenes, or groups of them by a column "
            "that the configuration's `strata` names, such as flight or glacier.",
        ),
    ] = "scene",
    score: Annotated[
        list[str] | None,
        typer.Option(
            help="Score to compare, such as mean_iou or iou/CLASS; may be given "
            "several times. Default: the chief ones of the task."
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=100, help="Draws of the bootstrap, and of swaps.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Folder. Default: comparisons/RUN-against-RUN."
        ),
    ] = None,
) -> None:
    """Tell whether one run scores better than another, scene by scene.

    Both must be made from one store, hold out the same scenes and answer the same
    question. For each pooled score there are the difference with a 95 % interval
    (paired bootstrap over scenes), the p-value of a permutation test that swaps the
    runs scene by scene, and the same after Holm's correction for all scores and runs.
    With fewer than six scenes nothing can be told, and the table says so. Writes
    comparison.json, comparison.csv and comparison.html.

    Example: `arcticdl compare runs/deep runs/shallow --score mean_iou`
    """
    look_for(*runs, **OF_RUNS)
    from arcticdl.evaluation import compare_runs, write_comparison

    found = compare_runs(
        list(runs),
        fold=fold,
        unit=unit,
        scores=score or (),
        num_resamples=resamples,
        seed=seed,
    )
    show(found)
    name = "-against-".join(run.replace("/", "_") for run in found.runs)
    typer.echo(write_comparison(found, out or Path("comparisons") / name))


def show(found: "Comparison") -> None:
    """Prints a table for each run, and what a reader should know of the comparison."""
    from rich.console import Console
    from rich.table import Table

    from arcticdl.evaluation.compare.page import number, p_text, told

    first = found.runs[0]
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, _WIDTH)
    several = len({row.head for row in found.rows}) > 1
    units = "scenes" if found.unit == "scene" else f"groups by {found.unit}"
    for other in found.runs[1:]:
        rows = [row for row in found.to_dict()["rows"] if row["run"] == other]
        told_over = f"over {rows[0]['num_units']} {units}"
        console.print(f"A {first}, B {other}, {told_over}", soft_wrap=True)
        table = Table("score", "A", "B", "A - B", "95 %", "A wins", "p", "", box=None)
        for row in rows:
            head = f"{row['head']} " if several else ""
            of = f" ({row['units']})" if row["units"] else ""
            low, high = (number(end, sign=True) for end in row["interval"])
            table.add_row(
                f"{head}{row['title']}{of}",
                number(row["first"]),
                number(row["other"]),
                number(row["difference"], sign=True),
                f"{low} to {high}",
                "–" if row["wins"] is None else f"{100 * row['wins']:.0f} %",
                p_text(row["p_adjusted"]),
                told(row, first),
            )
        console.print(table)
    if len(found.rows) > 1:
        console.print(f"p is corrected for {len(found.rows)} tests (Holm)")
    for note in found.notes:
        console.print(note, soft_wrap=True)
