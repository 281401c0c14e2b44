"""The AutoICE score of a run's folds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.ceilings import open_ceilings
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run, refuse_seen
from arcticdl.experiment.data.series import as_series
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run, write_json
from arcticdl.metrics.autoice import AUTOICE_CLASSES
from arcticdl.tiles import open_store
from arcticdl.tiles.folds.made import observed_tiles

FILE = "autoice.json"


def score_autoice(
    run: str | Path, *, data: str | Path | None = None, fold: str | int = "all"
) -> dict[str, Any]:
    """Scores the trained folds of a run as the AutoICE challenge scores charts.

    Args:
        run: Run folder, whose heads are called ``SIC``, ``SOD`` and ``FLOE``.
        data: Another store, scored whole by one fold; default: each fold's held-out
            scenes.
        fold: Number, or ``all`` that are trained.

    Returns:
        As ``evaluation.autoice.score_tallies``, of the scenes of all chosen folds
        together, with ``folds`` and ``ceiling``: where the scenes are simulated the
        official scores of their true parameters, else ``None``. It is written to
        ``autoice.json`` (of another store ``autoice_STORE.json``) in the run folder.

    Raises:
        FileNotFoundError: No such run, or no trained fold.
        ConfigError: The fold is not trained; or several are to score one store.
        TaskError: No head answers with a chart.
        SplitError: The fold has learnt from a scene of the store.
    """
    from arcticdl.evaluation.autoice.beside import ceiling_tallies
    from arcticdl.evaluation.autoice.score import score_tallies
    from arcticdl.evaluation.autoice.tally import chart_heads, tally_charts
    from arcticdl.evaluation.strata.scenes import scene_strata
    from arcticdl.labelling.unaided import for_tests

    if Path(run).suffix == ".keras":
        raise ConfigError(
            "`--score autoice` is of the folds of a run folder. Received: the file "
            f"{run}."
        )
    folder, config = load_run(run)
    numbers = chosen_folds(folder, fold)
    if data is not None and len(numbers) > 1:
        raise ConfigError(
            "Every scene is scored once: name the fold that scores `data`. Received: "
            f"folds {numbers}."
        )
    if data is None:
        store, parts = tested_parts(folder, config, numbers)
    else:
        refuse_seen([fold_path(folder, n) for n in numbers], config, data)
        store = as_series(open_store(data), config)
        parts = {numbers[0]: observed_tiles(store.manifest)}
    tallies: dict[str, Any] = {}
    ceilings = open_ceilings(config, store) if data is None else {}
    ceiling: dict[str, Any] = {}
    for number, test in parts.items():
        predictor = predictor_of(config, fold_path(folder, number) / "model.keras")
        overlap_px = config.predict.overlap_px
        tallies |= tally_charts(
            predictor, for_tests(store), test, overlap_px=overlap_px
        )
        heads = chart_heads(predictor.heads)
        ceiling |= ceiling_tallies(ceilings, for_tests(store), test, heads)
    tested = np.unique(np.concatenate(list(parts.values())))
    strata = scene_strata(store.manifest.iloc[tested], config.strata)
    found = score_tallies(tallies, strata, seed=config.seed)
    found |= {"folds": numbers, "ceiling": official_of(ceiling, tallies)}
    name = FILE if data is None else f"autoice_{Path(data).stem}.json"
    write_json(folder / name, found)
    return found


def official_of(ceiling: Mapping[str, Any], whole: Mapping[str, Any]) -> Any:
    """Official scores of the true parameters; ``None`` unless of all these scenes."""
    from arcticdl.evaluation.autoice.score import score_tallies

    if set(ceiling) != set(whole):
        return None
    return score_tallies(ceiling, num_resamples=1)["official"]


def tested_parts(
    folder: Path, config: Experiment, numbers: list[int]
) -> tuple[Any, dict[int, np.ndarray]]:
    """The store of a run, and the tiles that each of some folds is tested on."""
    store = open_prepared(config)
    splits = folds_of_run(folder, store, config, numbers)
    return store, {number: splits[number].test for number in numbers}


def predictor_of(config: Experiment, path: Path) -> Any:
    """A fold's model, ready to answer as the configuration says."""
    from arcticdl.inference import load_model
    from arcticdl.inference.predictor import Predictor

    settings = config.predict
    return Predictor(
        load_model(path),
        tta=settings.tta,
        batch_size=settings.batch_size,
        tile_size_px=settings.tile_size_px,
    )


def describe_autoice(found: Mapping[str, Any]) -> list[str]:
    """The lines that a person reads first.

    Args:
        found: From ``score_autoice``.
    """
    official, limits = found["official"], found["interval"]
    spread = "" if limits is None else f"  (95 % over scenes: {_told(limits)})"
    lines = [
        f"AutoICE score over the pixels of {told_scenes(found['num_scenes'])}",
        f"{'combined':>18} {_told([official['combined']])}{spread}",
    ]
    if found["ceiling"] is not None:
        told = [f"{n} {_told([v])}" for n, v in found["ceiling"].items()]
        lines.append(f"{'ceiling':>18} {', '.join(told)}  true parameters (simulated)")
    names = {"SIC": "R2", "SOD": "weighted F1", "FLOE": "weighted F1"}
    for name in AUTOICE_CLASSES:
        chart = found["charts"].get(name)
        lines.append(f"{name:>18} {_told([official[name]])}  {names[name]}")
        if chart and chart["support"]:
            ice = chart["ice_only"]
            beside = [chart["macro_f1"], ice["weighted_f1"], ice["macro_f1"]]
            told = [_told([None if v is None else 100 * v]) for v in beside]
            lines.append(
                f"{'':>18} {told[0]} macro F1; of ice alone {told[1]} weighted, "
                f"{told[2]} macro"
            )
    for column, table in found["strata"].items():
        for stratum, each in table.items():
            lines.append(
                f"{column:>18} {stratum}: {_told([each['official']['combined']])} "
                f"({told_scenes(each['num_scenes'])})"
            )
    return lines


def told_scenes(count: int) -> str:
    """The number of scenes in words."""
    return f"{count} held-out scene{'' if count == 1 else 's'}"


def _told(values: list[Any]) -> str:
    to = " to " if any((v or 0) < 0 for v in values) else "-"  # no two minus signs
    return to.join("none" if v is None else f"{v:.1f}" for v in values)
