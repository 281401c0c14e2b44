"""Forecasting with a trained fold: scores beside the baselines, files, pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.evaluate import chosen_folds
from arcticdl.experiment.folder import fold_path, load_run
from arcticdl.files import atomic_folder, write_json, write_text
from arcticdl.metrics import cell_areas_km2
from arcticdl.tiles import ForecastStore
from arcticdl.tiles.views.forecast import sensor_changes
from arcticdl.tiles.views.places import pixel_lon_lat, pixel_positions

NETWORK = "network"
"""Name of the run's model among the methods; its members are ``member 1``, ..."""

FOLDER = "forecast"
"""Folder of a fold in which its forecasts lie."""


def forecast(
    run: str | Path, *, fold: int = 0, out: str | Path | None = None
) -> dict[str, Any]:
    """Forecasts from every date that a fold was tested on, and from the last one.

    The network, each member of an ensemble and all baselines are scored on the same
    cells and dates; what has not come yet is forecast only.

    Args:
        run: Run folder of an experiment with ``data.series.context``.
        fold: Number of the trained fold.
        out: Folder to write; default: ``forecast`` in the fold's folder. It is
            replaced.

    Returns:
        The scores, as ``forecast.json`` has them. Beside it are ``forecast.nc``, the
        network's forecasts by date of issue and lead, ``latest.nc``, that from the
        last date of all, ``scores.csv``, a row for each method, lead, date and region,
        ``forecast.html`` with maps and curves, and ``forecast.gif``.

    Raises:
        ConfigError: The run does not forecast, or the fold is not trained.
        SeriesError: Scenes are cut into several tiles.
        FileNotFoundError: No such run or store.
    """
    from arcticdl.evaluation.forecasts.issue import has_answers, issue_forecasts
    from arcticdl.evaluation.forecasts.page import BESIDE, write_pages
    from arcticdl.evaluation.forecasts.tally import ForecastTally

    folder, config = load_run(run)
    (number,) = chosen_folds(folder, fold)
    store = _store(config)
    test = folds_of_run(folder, store, config, [number])[number].test
    every = ForecastStore(
        store.store, store.steps, by=store.by, context=store.context, unanswered=True
    )
    tested = np.flatnonzero(np.isin(every.own, store.own[test]))
    models = load_methods(fold_path(folder, number))
    ground = ground_of(every, config)
    tally = ForecastTally(ground, seed=config.seed)
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
            _write_fields(some, part / f"{name}.nc", every, config, folder)
        write_pages(part, result, made, latest, ground.counted)
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


def ground_of(store: ForecastStore, config: Experiment) -> Any:
    """The cells that are scored: those that had ice in a year of reference."""
    from arcticdl.evaluation.forecasts.tally import Ground

    tile = store.store.manifest.iloc[[int(store.own[0])]]
    place = store.place(int(store.own[0]))
    x, y, crs = pixel_positions(tile, place.mask.shape)
    low = store.context.limits[0]
    counted = np.zeros(place.mask.shape, bool)
    known = place.usual.values[place.usual.known]
    counted[place.mask] = (known > low).any(0)
    assert config.data.series is not None and config.data.series.context is not None
    regions = config.data.series.context.regions
    return Ground(
        cell_areas_km2(x, y, crs),
        counted,
        abs(float(x[1] - x[0])) / 1000.0,
        _regions(pixel_lon_lat(tile, place.mask.shape), regions, counted),
    )


def _regions(
    lon_lat: tuple[np.ndarray, np.ndarray],
    regions: Mapping[str, Sequence[float]],
    counted: np.ndarray,
) -> dict[str, np.ndarray]:
    lon, lat = lon_lat
    found = {}
    for name, (west, east, south, north) in regions.items():
        across = west > east
        between = (
            (lon >= west) | (lon <= east) if across else (lon >= west) & (lon <= east)
        )
        found[name] = counted & between & (lat >= south) & (lat <= north)
        if not found[name].any():
            raise ConfigError(
                f"`data.series.context.regions.{name}` must hold cells with ice. "
                f"Received: {[west, east, south, north]}, which has none."
            )
    return found


def _store(config: Experiment) -> ForecastStore:
    store = open_prepared(config)
    if not isinstance(store, ForecastStore):
        raise ConfigError(
            "Forecasts need a reference by which they are judged: set "
            f"`data.series.context` and train. Received: {config.name}, without."
        )
    return store


def _about(folder: Path, config: Experiment, store: ForecastStore) -> dict[str, Any]:
    return {
        "name": folder.resolve().name,
        "quantity": store.context.of,
        "units": config.data.labels[store.context.of].units or "1",
        "step_h": store.steps.step_h,
        "reference": list(store.context.reference),
        "notes": sensor_changes(store.store),
    }


def _write_fields(
    issued: Sequence[Any],
    path: Path,
    store: ForecastStore,
    config: Experiment,
    folder: Path,
) -> None:
    from arcticdl.evaluation.forecasts.fields import forecast_dataset, write_forecasts

    tile = store.store.manifest.iloc[[int(store.own[0])]]
    data = forecast_dataset(
        issued,
        NETWORK,
        grid=pixel_positions(tile, issued[0].truth.shape[1:]),
        quantity=store.context.of,
        units=config.data.labels[store.context.of].units or "1",
        step_h=store.steps.step_h,
        tags={"arcticdl_run": folder.resolve().name},
    )
    write_forecasts(data, path)


def describe_forecasts(result: Mapping[str, Any]) -> list[str]:
    """The lines that a person reads first: each lead against its best baseline."""
    lines = [f"note: {note}" for note in result["notes"]]
    titles = {"mae": ("MAE", ""), "iiee": ("IIEE", " million km2")}
    for row in result["skill"]:
        if row["network"] != NETWORK:
            continue
        title, units = titles[row["score"]]
        low, high = row["interval"]
        lines.append(
            f"lead {row['lead']}: {title} {row['value']:.4f}{units}, best baseline "
            f"{row['of_baseline']:.4f} ({row['baseline'].replace('_', ' ')}), skill "
            f"{row['skill']:+.1%} (95 % over {row['num_years']} years: {low:+.1%} to "
            f"{high:+.1%})"
        )
    return lines
