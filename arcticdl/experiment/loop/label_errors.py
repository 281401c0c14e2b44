"""Which labels of a run's scenes the folds that did not learn them contradict."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np

from arcticdl.config import Experiment
from arcticdl.errors import SplitError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run
from arcticdl.experiment.loop.heads import choose_head, refuse_series
from arcticdl.experiment.warm import scenes_seen
from arcticdl.files import atomic_folder, write_json, write_text
from arcticdl.progress import track
from arcticdl.tasks import Head
from arcticdl.tiles import TileStore


class LabelErrors(NamedTuple):
    """What a search for doubtful labels has written.

    Attributes:
        folder: With ``suspects.gpkg``, ``suspects.csv``, ``suspects.png`` (where there
            is one) and ``summary.json``.
        table: The rows of the GeoPackage, the most doubtful first.
        summary: As in ``summary.json``.
    """

    folder: Path
    table: gpd.GeoDataFrame
    summary: dict[str, Any]


def label_errors(
    run: str | Path,
    *,
    label: str | None = None,
    fold: str | int = "all",
    out: str | Path | None = None,
    min_area_px: int = 50,
    least_deviation: float = 3.0,
    overwrite: bool = False,
) -> LabelErrors:
    """Lists labels that models contradict which were not trained on them.

    Args:
        run: Run folder with trained folds.
        label: Which label; needed where the run has several heads.
        fold: Number, or ``"all"`` that are trained: each scene is answered by the fold
            that held it out.
        out: Folder to write; default: ``label_errors/LABEL`` in the run folder.
        min_area_px: Smaller regions are left out; of whole images it has no meaning.
        least_deviation: Of values, in standard deviations; see ``find_suspects``.
        overwrite: Replace the folder, with whatever was filled in there.

    Raises:
        FileNotFoundError: No such run, or no trained fold.
        FileExistsError: ``out`` exists and ``overwrite`` is false.
        ConfigError: The fold is not trained, the label is no head, or its task has no
            single answer.
        SplitError: A model has learnt from a scene that its fold holds out, or no fold
            holds out a scene.
    """
    folder, config = load_run(run)
    refuse_series(config)
    numbers = chosen_folds(folder, fold)
    store = open_prepared(config)
    first = fold_path(folder, numbers[0]) / "model.keras"
    name, head = choose_head(first, label)
    target = Path(out) if out is not None else folder / "label_errors" / name
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{target} exists and may hold corrections that somebody filled in. Use "
            "--overwrite, or another folder with --out."
        )
    from arcticdl.labelling.outlines import suspects_table
    from arcticdl.labelling.suspects import find_suspects

    with tempfile.TemporaryDirectory() as answers:
        found = find_suspects(
            _out_of_fold(config, store, folder, numbers, name),
            head,
            answers,
            min_area_px=min_area_px if head.spec.dense else 1,
            least_deviation=least_deviation,
        )
        if not found.answers:
            raise SplitError(f"The folds {numbers} of {folder} hold out no scene.")
        table = suspects_table(found.regions, store, head)
        summary = {
            "run": str(folder),
            "folds": numbers,
            "label": name,
            "task": head.task,
            "scenes": sorted(found.answers),
            "num_suspects": len(table),
            "area_px": int(table["area_px"].sum()),
            "min_area_px": min_area_px,
            **found.summary,
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(target) as part:
            _write(part, table, summary)
            _write_sheet(part, found, store, head, name)
    return LabelErrors(target, table, summary)


def _out_of_fold(
    config: Experiment, store: TileStore, folder: Path, numbers: list[int], name: str
) -> Iterator[Any]:
    """Each scene once, answered by the first fold that holds it out."""
    from arcticdl.inference.predictor import Predictor
    from arcticdl.labelling.answers import answer_tiles, scene_tiles

    splits, done = folds_of_run(folder, store, config, numbers), set[str]()
    for number in numbers:
        path = fold_path(folder, number)
        scenes = scene_tiles(store, splits[number].test)
        learnt = sorted(scenes_seen(path) & set(scenes))
        if learnt:
            raise SplitError(
                "Doubtful labels are told by models that did not learn them. Received: "
                f"fold {number}, which has learnt from {learnt[0]!r}: `folds` or the "
                "store have changed since it was trained. Train it anew."
            )
        settings = config.predict
        predictor = Predictor(
            path / "model.keras",
            tile_size_px=settings.tile_size_px,
            batch_size=settings.batch_size,
            tta=settings.tta,
            mc_dropout=settings.mc_dropout,
        )
        left = {scene: tiles for scene, tiles in scenes.items() if scene not in done}
        for tiles in track(left.values(), f"answer, fold {number}"):
            yield from answer_tiles(
                predictor, store, tiles, name, fold=number,
                overlap_px=settings.overlap_px,
            )  # fmt: skip
        done |= set(left)


def _write(part: Path, table: gpd.GeoDataFrame, summary: dict[str, Any]) -> None:
    from arcticdl.labelling.layer_files import write_layer

    write_layer(table, part / "suspects.gpkg")
    plain = table.drop(columns=["geometry", "corrected", "author", "time"])
    write_text(part / "suspects.csv", plain.to_csv(index=False))
    write_json(part / "summary.json", summary)


def _write_sheet(
    part: Path, found: Any, store: TileStore, head: Head, name: str
) -> None:
    from arcticdl.labelling.sheets import suspect_sheet
    from arcticdl.plots.style import write_figure

    if found.regions:
        figure = suspect_sheet(found, store, head, name)
        write_figure(figure, part / "suspects.png")


def told(found: LabelErrors, count: int = 8) -> list[str]:
    """The lines that a person reads first.

    Args:
        found: What ``label_errors`` gave.
        count: Rows to name.
    """
    summary, table = found.summary, found.table
    of_scenes = f"in {table['scene_id'].nunique()} of {len(summary['scenes'])} scenes"
    area = f", {summary['area_px']:,} px" if summary["area_px"] > len(table) else ""
    lines = [f"{summary['label']}: {len(table)} doubtful labels {of_scenes}{area}"]
    if "confident_joint" in summary:
        joint = np.array(summary["confident_joint"])
        off = joint.sum() - np.trace(joint)
        lines.append(f"confidently another class: {off / max(joint.sum(), 1):.2%}")
    for row in table.head(count).itertuples():
        lines.append(
            f"{row.rank:>4}  {row.scene_id}, row {row.row}, column {row.col}: "
            f"{row.given} -> {row.suggested} ({row.confidence:.2f}), {row.area_px:,} px"
        )
    lines.append(
        f"Look at {found.folder / 'suspects.png'}; in QGIS fill in `corrected` in "
        f"{found.folder / 'suspects.gpkg'}."
    )
    return lines
