"""Forecasting with a trained fold: scores beside the baselines, files, pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.config import Experiment
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run
from arcticdl.experiment.forecasts.ground import (
    forecast_store,
    ground_of,
    table_regions,
)
from arcticdl.files import atomic_folder, write_json, write_text
from arcticdl.tiles import ForecastStore
from arcticdl.tiles.views.forecast import sensor_changes
from arcticdl.tiles.views.places import pixel_positions

NETWORK = "network"
"""Name of the run's model among the methods; its members are ``member 1``, ..."""

FOLDER = "forecast"
"""Folder of a fold in which its forecasts lie."""


def forecast(
    run: str | Path, *, fold: int | None = None, out: str | Path | None = None
) -> dict[str, Any]:
    """Forecasts from every date that a fold was tested on, and from the last one.

    The network, each member of an ensemble and all baselines are scored on the same
    cells and dates; what has not come yet is forecast only. Of a table of extents the
    cells are regions, and scores are in million km2.

    Args:
        run: Run folder of an experiment with ``data.series.context``.
        fold: Number of the trained fold; default: as of `predict`.
        out: Folder to write; default: ``forecast`` in the fold's folder. It is
            replaced.

    Returns:
        The scores, as ``forecast.json`` has them. Beside it are ``forecast.nc``, the
        network's forecasts by date of issue and lead, ``latest.nc``, that from the
        last date of all, ``scores.csv``, a row for each method, lead, date and region,
        ``forecast.html`` with maps and curves, and, of maps, ``forecast.gif``.

    Raises:
        ConfigError: The run does not forecast, or the fold is not trained.
        SeriesError: Scenes are cut into several tiles.
        FileNotFoundError: No such run or store.
    """
    from arcticdl.evaluation.forecasts.fields import write_forecasts
    from arcticdl.evaluation.forecasts.issue import has_answers, issue_forecasts
    from arcticdl.evaluation.forecasts.page import BESIDE, write_pages
    from arcticdl.evaluation.forecasts.region_page import write_region_page
    from arcticdl.evaluation.forecasts.regions import RegionTally
    from arcticdl.evaluation.forecasts.tally import ForecastTally

    folder, config = load_run(run)
    (number,) = chosen_folds(folder, fold)
    store = forecast_store(config)
    test = folds_of_run(folder, store, config, [number])[number].test
    every = ForecastStore(
        store.store, store.steps, by=store.by, context=store.context, unanswered=True
    )
    tested = np.flatnonzero(np.isin(every.own, store.own[test]))
    models = load_methods(fold_path(folder, number))
    regions = table_regions(every, config)
    tally: Any = (
        ForecastTally(ground_of(every, config), seed=config.seed)
        if regions is None
        else RegionTally(regions, seed=config.seed)
    )
    settings: dict[str, Any] = {
        "batch_size": config.predict.batch_size,
        "tta": config.predict.tta,
    }
    made = []
    for issued in issue_forecasts(
        models, every, has_answers(every, tested), **settings
    ):
        tally.add(issued)
        made.append(issued.only((NETWORK, *BESIDE), (NETWORK,)))
    newest = [int(np.argmax(every.manifest["time"].to_numpy()))]
    latest = list(
        issue_forecasts({NETWORK: models[NETWORK]}, every, newest, progress=False)
    )
    result = tally.result(list(models))
    result |= _about(folder, config, store)
    target = fold_path(folder, number) / FOLDER if out is None else Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as part:
        write_json(part / "forecast.json", result)
        write_text(part / "scores.csv", tally.table().to_csv(index=False))
        for name, some in (("forecast", made), ("latest", latest)):
            data = _dataset(some, every, result, regions)
            write_forecasts(data, part / f"{name}.nc")
        if regions is None:
            write_pages(part, result, made, latest, tally.ground.counted)
        else:
            write_region_page(part, result, latest, regions)
    return result


def load_methods(fold_dir: Path) -> dict[str, Any]:
    """The model of a fold, and each member where it is an ensemble, by method."""
    from arcticdl.inference import load_model

    models = {NETWORK: load_model(fold_dir / "model.keras")}
    members = sorted(
        fold_dir.glob("member*/model.keras"),
        key=lambda path: int(path.parent.name.removeprefix("member")),
    )
    for path in members:
        number = int(path.parent.name.removeprefix("member"))
        models[f"member {number + 1}"] = load_model(path)
    return models


def _about(folder: Path, config: Experiment, store: ForecastStore) -> dict[str, Any]:
    return {
        "name": folder.resolve().name,
        "quantity": store.context.of,
        "units": config.data.labels[store.context.of].units or "1",
        "step_h": store.steps.step_h,
        "reference": list(store.context.reference),
        "notes": sensor_changes(store.store),
    }


def _dataset(
    issued: Sequence[Any],
    store: ForecastStore,
    result: Mapping[str, Any],
    regions: Mapping[str, float] | None,
) -> Any:
    from arcticdl.evaluation.forecasts.fields import forecast_dataset, region_dataset

    about: dict[str, Any] = {
        "quantity": result["quantity"],
        "step_h": result["step_h"],
        "tags": {"arcticdl_run": result["name"]},
    }
    if regions is not None:
        return region_dataset(issued, NETWORK, regions, **about)
    tile = store.store.manifest.iloc[[int(store.own[0])]]
    grid = pixel_positions(tile, issued[0].truth.shape[1:])
    return forecast_dataset(issued, NETWORK, grid=grid, units=result["units"], **about)


def describe_forecasts(result: Mapping[str, Any]) -> list[str]:
    """The lines that a person reads first: each lead against its best baseline."""
    lines = [f"note: {note}" for note in result["notes"]]
    whole = next(iter(result.get("regions", ())), None)
    size = " million km2"
    units = {"iiee": size} if whole is None else {"mae": size, "crps": size}
    for row in result["skill"]:
        if row["network"] != NETWORK or row.get("region") != whole:
            continue
        score = row["score"]
        low, high = row["interval"]
        lines.append(
            f"lead {row['lead']}: {score.upper()} {row['value']:.4f}"
            f"{units.get(score, '')}, best baseline "
            f"{row['of_baseline']:.4f} ({row['baseline'].replace('_', ' ')}), skill "
            f"{row['skill']:+.1%} (95 % over {row['num_years']} years: {low:+.1%} to "
            f"{high:+.1%})"
        )
    return lines
