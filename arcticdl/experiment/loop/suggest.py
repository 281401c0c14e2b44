"""Which unlabelled scenes, or windows of them, to label next."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.choices import check_choice, check_names
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError, SplitError
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run
from arcticdl.experiment.loop.heads import choose_head, refuse_series
from arcticdl.experiment.scenes import open_configured
from arcticdl.files import atomic_folder, refuse_existing, write_json, write_text
from arcticdl.progress import track

_MOST_CENTRES = 1000


class Suggestions(NamedTuple):
    """What was suggested.

    Attributes:
        folder: With ``suggestions.gpkg`` (what a strategy ranks among its first ``n``),
            ``suggestions.csv`` (all), ``suggestions.png`` and ``summary.json``.
        table: One row a picture, that of the chosen strategy's first rank first.
        strategy: The chosen one.
    """

    folder: Path
    table: gpd.GeoDataFrame
    strategy: str


def suggest(
    run: str | Path,
    inputs: Sequence[str],
    *,
    n: int = 20,
    by: str = "tile",
    strategy: str | None = None,
    label: str | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Suggestions:
    """Ranks unlabelled scenes, or windows of them, by what labelling them may teach.

    Args:
        run: Run folder with trained folds, whose models answer together.
        inputs: Files of unlabelled scenes.
        n: How many to suggest.
        by: ``"tile"``: windows of the size that was trained on; ``"scene"``.
        strategy: One of ``acquire.STRATEGIES``; default: ``"coreset"``, the only one
            that did not lose to chance where that was measured
            (benchmarks/labelling.md). All that can be told are ranked in any case, and
            a random order.
        label: Which head is asked; needed where the run has several.
        out: Folder to write; default: ``suggestions`` in the run folder.
        seed: Of the random order.
        overwrite: Replace the folder.

    Raises:
        FileNotFoundError: No such run, no trained fold, or a scene is missing.
        FileExistsError: ``out`` exists and ``overwrite`` is false.
        SplitError: A scene is in a test part of the run, or is labelled already.
        ConfigError: No scene, or a strategy that this run cannot tell.
    """
    check_names(inputs=inputs)
    folder, config = load_run(run)
    refuse_series(config)
    check_choice("by", by, ("scene", "tile"))
    numbers = chosen_folds(folder, "all")
    models = [fold_path(folder, number) / "model.keras" for number in numbers]
    target = folder / "suggestions" if out is None else Path(out)
    refuse_existing(target, overwrite=overwrite)
    if not inputs or n < 1:
        raise ConfigError(
            f"Suggestions need scenes, and `n` of at least 1. Received: {len(inputs)} "
            f"scenes, n={n}."
        )
    anchors = find_anchors(config.data, list(inputs))
    _refuse_known([a.scene_id for a in anchors], folder, numbers)
    scenes = [open_configured(config.data, a, with_labels=False) for a in anchors]
    name, head = choose_head(models[0], label, searched=False)
    chosen = _check_strategy(strategy, len(models), head.spec.label != "value")
    table, pictures = _rank(
        config, folder, numbers, models, scenes, name=name, by=by, n=n, seed=seed
    )
    check_choice("strategy", chosen, [c[5:] for c in table if c.startswith("rank_")])
    ranks = table[f"rank_{chosen}"].astype("float64").to_numpy()
    order = np.argsort(ranks, kind="stable")  # what has no rank comes last
    summary = {
        "run": str(folder),
        "label": name,
        "by": by,
        "n": n,
        "strategy": chosen,
        "seed": seed,
        "folds": numbers,
        "num_ranked": len(table),
        "scenes": [anchor.scene_id for anchor in anchors],
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as part:
        _write(part, table.iloc[order], n, summary)
        _write_sheet(part, pictures, table, scenes)
    return Suggestions(target, table.iloc[order].reset_index(drop=True), chosen)


def _refuse_known(names: Sequence[str], folder: Path, numbers: Sequence[int]) -> None:
    """Refuses scenes that a fold is tested on, or that are labelled already."""
    splits = {}
    for number in numbers:
        path = fold_path(folder, number) / "split.json"
        splits[number] = json.loads(path.read_text(encoding="utf-8"))
    for number, split in splits.items():
        tested = sorted(set(names) & set(split["test"]))
        if tested:
            more = f" and {len(tested) - 1} more" if tested[1:] else ""
            raise SplitError(
                "A model's confidence must not choose what models are tested on. "
                f"Received: {tested[0]!r}{more}, in the test part of fold {number}. "
                "Give scenes that the run does not know."
            )
    for number, split in splits.items():
        learnt = sorted(set(names) & {*split["train"], *split["validation"]})
        if learnt:
            raise SplitError(
                "Suggestions are of scenes without labels. Received: "
                f"{learnt[0]!r}, which fold {number} has learnt from."
            )


def _check_strategy(strategy: str | None, num_models: int, has_classes: bool) -> str:
    from arcticdl.labelling.acquire import STRATEGIES

    if strategy is None:
        return "coreset"
    check_choice("strategy", strategy, STRATEGIES)
    if strategy == "disagreement" and num_models == 1:
        raise ConfigError(
            "`strategy` disagreement needs several trained folds. Received: one. "
            "Train the others, or choose entropy or coreset."
        )
    if strategy == "entropy" and not has_classes:
        raise ConfigError(
            "`strategy` entropy needs classes. Received: a head of values; choose "
            "disagreement or coreset."
        )
    return strategy


def _rank(
    config: Experiment,
    folder: Path,
    numbers: list[int],
    models: list[Path],
    scenes: list[xr.Dataset],
    *,
    name: str,
    by: str,
    n: int,
    seed: int,
) -> tuple[gpd.GeoDataFrame, list[Any]]:
    """The table of all pictures with their ranks, and the pictures."""
    from arcticdl.inference.predictor import Predictor
    from arcticdl.labelling.acquire import rank
    from arcticdl.labelling.pictures import FeatureReader, read_pictures

    predictor = Predictor(
        models,
        tile_size_px=config.predict.tile_size_px,
        batch_size=config.predict.batch_size,
        with_spread=len(models) > 1,
    )
    features = FeatureReader(models[0])
    pictures: list[Any] = []
    for scene in track(scenes, "look at scenes"):
        pictures += read_pictures(predictor, features, scene, name, by=by)
    if not pictures:
        raise ConfigError("Suggestions need scenes with a valid pixel. Received: none.")
    store = open_prepared(config)
    train = folds_of_run(folder, store, config, numbers[:1])[numbers[0]].train
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(train)[:_MOST_CENTRES])
    pooled = np.stack([p.feature for p in pictures]) if features.size else None
    known = {
        key: np.array([getattr(p, key) for p in pictures])
        for key in ("entropy", "disagreement")
    }
    measures = {k: v for k, v in known.items() if np.isfinite(v).all()}
    centres = features.read_tiles(store, some) if features.size else np.zeros((0, 0))
    ranks = rank(measures, pooled, centres, count=n, seed=seed)
    return _placed(pictures, scenes, ranks), pictures


def _placed(
    pictures: Sequence[Any], scenes: Iterable[xr.Dataset], ranks: pd.DataFrame
) -> gpd.GeoDataFrame:
    from arcticdl.labelling.outlines import window_outlines

    geometry, crs = window_outlines(pictures, list(scenes))
    about = pd.DataFrame(
        {
            "scene_id": [p.scene_id for p in pictures],
            "row": [p.row for p in pictures],
            "col": [p.col for p in pictures],
            "height_px": [p.size_px[0] for p in pictures],
            "width_px": [p.size_px[1] for p in pictures],
            "valid_fraction": [p.valid_fraction for p in pictures],
        }
    )
    table = pd.concat([about, ranks], axis=1)
    return gpd.GeoDataFrame(table, geometry=geometry, crs=crs)


def _write(
    part: Path, table: gpd.GeoDataFrame, n: int, summary: dict[str, Any]
) -> None:
    from arcticdl.labelling.layer_files import write_layer

    ranks = table[[c for c in table if c.startswith("rank_")]].astype("float64")
    write_layer(table[(ranks <= n).any(axis=1)], part / "suggestions.gpkg")
    write_text(
        part / "suggestions.csv", table.drop(columns="geometry").to_csv(index=False)
    )
    write_json(part / "summary.json", summary)


def _write_sheet(
    part: Path, pictures: Sequence[Any], table: pd.DataFrame, scenes: list[xr.Dataset]
) -> None:
    from arcticdl.labelling.contact_sheet import contact_sheet
    from arcticdl.plots.style import write_figure

    named = {str(scene.attrs["scene_id"]): scene for scene in scenes}
    write_figure(contact_sheet(pictures, table, named), part / "suggestions.png")


def told(found: Suggestions, count: int = 8) -> list[str]:
    """The lines that a person reads first."""
    measure = {"coreset": "distance"}.get(found.strategy, found.strategy)
    lines = [f"{len(found.table)} ranked by {found.strategy}:"]
    for place, row in enumerate(found.table.head(count).to_dict("records"), start=1):
        number = f", {measure} {row[measure]:.3g}" if measure in row else ""
        where = f"row {row['row']}, column {row['col']}"
        lines.append(f"{place:>4}  {row['scene_id']}, {where}{number}")
    lines.append(
        f"Look at {found.folder / 'suggestions.png'}: chance is the last row. The "
        f"outlines are in {found.folder / 'suggestions.gpkg'}."
    )
    return lines
