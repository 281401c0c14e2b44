"""Scores of forecasts gathered: a row for each method, lead, date and region."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from arcticdl.evaluation.forecasts.issue import Issued
from arcticdl.metrics.forecasts import (
    forecast_errors,
    ice_probability,
    probability_scores,
    quantile_crps,
    spread_skill,
)
from arcticdl.metrics.ice_cover import EXTENT_THRESHOLD
from arcticdl.metrics.intervals import interval_of

WHOLE = "all"
"""Name of the region of all cells."""

SEASONS = {12: "DJF", 1: "DJF", 2: "DJF", 3: "MAM", 4: "MAM", 5: "MAM",
           6: "JJA", 7: "JJA", 8: "JJA", 9: "SON", 10: "SON", 11: "SON"}  # fmt: skip

CHIEF = ("mae", "iiee")
"""The scores by which methods are ranked; less is better."""

MEANS = ("mae", "bias", "accuracy", "iiee", "over", "under", "extent_error", "edge_km",
         "crps", "sps", "brier")  # fmt: skip
"""Scores that are averaged over dates as they are."""

_SAMPLE = 4000  # cells of a map whose spread is compared with its error


@dataclass(frozen=True)
class Ground:
    """The cells that are scored, and where they lie.

    Attributes:
        area_km2: ``(y, x)`` true areas.
        counted: ``(y, x)`` boolean: cells that are scored.
        cell_km: Side of a cell, for distances.
        regions: Name -> ``(y, x)`` boolean.
    """

    area_km2: np.ndarray
    counted: np.ndarray
    cell_km: float
    regions: Mapping[str, np.ndarray]


class ForecastTally:
    """Scores forecasts date by date, and pools them.

    Args:
        ground: The cells.
        threshold: Least concentration that counts as ice.
        seed: Of the bootstrap over years, and of the cells whose spread is kept.

    Attributes:
        rows: One a method, lead, target and region.
        extents: One a target and lead: extents in million km2 by method.
    """

    def __init__(
        self, ground: Ground, *, threshold: float = EXTENT_THRESHOLD, seed: int = 0
    ) -> None:
        self.ground, self.threshold, self.seed = ground, threshold, seed
        self.rows: list[dict[str, Any]] = []
        self.extents: list[dict[str, Any]] = []
        self._spreads: dict[tuple[str, int], list[np.ndarray]] = {}
        self._rng = np.random.default_rng(seed)
        inside = {WHOLE: ground.counted, **ground.regions}
        self._windows = {name: _windowed(cells) for name, cells in inside.items()}

    def add(self, issued: Issued) -> None:
        """Scores all forecasts of a date of issue against what came."""
        for place in range(len(issued.leads)):
            truth = np.where(self.ground.counted, issued.truth[place], np.nan)
            if not np.isfinite(truth).any():
                continue
            self._note_extents(issued, place, truth)
            for method in issued.forecasts:
                self._score(issued, place, truth, method)

    def _score(
        self, issued: Issued, place: int, truth: np.ndarray, method: str
    ) -> None:
        forecast = issued.forecasts[method][place]
        quantiles = issued.quantiles.get(method)
        told = None if quantiles is None else quantiles[place]
        levels = issued.levels.get(method)
        if told is not None and levels is not None:
            self._note_spread(
                method, issued.leads[place], truth, forecast, told, levels
            )
        when = when_of(issued, place)
        crps, chance = self._distribution(truth, forecast, told, levels)
        for region, (window, inside) in self._windows.items():
            part = np.where(inside, truth[window], np.nan)
            known = np.isfinite(part)
            if not known.any():
                continue
            area = self.ground.area_km2[window]
            row = {"method": method, "region": region, **when}
            row |= forecast_errors(
                part,
                forecast[window],
                area,
                cell_km=self.ground.cell_km,
                threshold=self.threshold,
            )
            weight = area[known] / area[known].sum()
            row["crps"] = float(weight @ crps[window][known])
            row |= probability_scores(part, chance[window], area, self.threshold)
            self.rows.append(row)

    def _distribution(
        self, truth: np.ndarray, forecast: np.ndarray, told: Any, levels: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """CRPS and chance of ice of each cell; a lone value is certain of itself."""
        known = np.isfinite(truth)
        crps, chance = np.full(truth.shape, np.nan), np.full(truth.shape, np.nan)
        if told is None:
            crps[known] = np.abs(truth - forecast)[known]
            chance[known] = forecast[known] >= self.threshold
        else:
            crps[known] = quantile_crps(truth[known], told[known], levels)
            chance[known] = ice_probability(told[known], levels, self.threshold)
        return crps, chance

    def _note_extents(self, issued: Issued, place: int, truth: np.ndarray) -> None:
        area, known = self.ground.area_km2, np.isfinite(truth)
        fields = {"truth": truth}
        fields |= {name: maps[place] for name, maps in issued.forecasts.items()}
        row = when_of(issued, place)
        for name, values in fields.items():
            ice = known & (values >= self.threshold)
            row[name] = float(area[ice].sum() / 1e6)
        self.extents.append(row)

    def _note_spread(
        self,
        method: str,
        lead: int,
        truth: np.ndarray,
        forecast: np.ndarray,
        told: np.ndarray,
        levels: Sequence[float],
    ) -> None:
        """Keeps some cells' spread: the distance of the outer quantiles as a sigma."""
        from statistics import NormalDist

        normal = NormalDist()
        wide = normal.inv_cdf(levels[-1]) - normal.inv_cdf(levels[0])
        cells = np.flatnonzero(np.isfinite(truth.ravel()))
        cells = self._rng.choice(cells, min(_SAMPLE, len(cells)), replace=False)
        spread = ((told[..., -1] - told[..., 0]) / wide).ravel()[cells]
        error = (forecast - truth).ravel()[cells]
        kept = np.stack([spread, error, self.ground.area_km2.ravel()[cells]])
        self._spreads.setdefault((method, lead), []).append(kept)

    def table(self) -> pd.DataFrame:
        """All rows: a method, lead, target and region each."""
        return pd.DataFrame(self.rows)

    def result(self, networks: Sequence[str]) -> dict[str, Any]:
        """The scores pooled over dates, ready for JSON.

        Args:
            networks: Methods that are networks; the others are baselines.

        Returns:
            ``methods``, ``leads``; ``scores``, rows by method and lead; ``strata``: by
            ``month``, ``season``, ``region`` and ``year``, likewise; ``skill``: a row a
            network, lead and chief score against the best baseline of that score, with
            an interval of 95 % over whole years; ``spread_skill``, a row a method and
            lead; ``extents``.
        """
        table = self.table()
        whole = table[table["region"] == WHOLE]
        methods = list(dict.fromkeys(whole["method"]))
        strata = {
            column: pooled(whole, ["method", "lead", column])
            for column in ("month", "season", "year")
        }
        strata["region"] = pooled(table, ["method", "lead", "region"])
        return {
            "methods": methods,
            "networks": list(networks),
            "leads": sorted({int(lead) for lead in whole["lead"]}),
            "threshold": self.threshold,
            "num_cells": int(self.ground.counted.sum()),
            "area_million_km2": float(
                self.ground.area_km2[self.ground.counted].sum() / 1e6
            ),
            "scores": pooled(whole, ["method", "lead"]),
            "strata": strata,
            "skill": skills(whole, networks, seed=self.seed),
            "spread_skill": self._spread_skill(),
            "extents": self.extents,
        }

    def _spread_skill(self) -> list[dict[str, Any]]:
        found = []
        for (method, lead), parts in self._spreads.items():
            spread, error, area = np.concatenate(parts, 1)
            row = spread_skill(spread, error, area)
            row["ratio"] = _plain(row["ratio"])
            found.append({"method": method, "lead": lead, **row})
        return found


def _windowed(cells: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """The bounding box of some cells, and them within it."""
    spans = [np.flatnonzero(cells.any(axis)) for axis in (1, 0)]
    window = tuple(slice(int(s[0]), int(s[-1]) + 1) for s in spans)
    return (window[0], window[1]), cells[window]


def when_of(issued: Issued, place: int) -> dict[str, Any]:
    """The lead of a forecast, and the dates that it was issued at and is for."""
    target = pd.Timestamp(issued.targets[place])
    return {
        "lead": issued.leads[place],
        "issued": str(issued.when.astype("datetime64[D]")),
        "target": f"{target:%Y-%m-%d}",
        "year": int(target.year),
        "month": int(target.month),
        "season": SEASONS[target.month],
    }


def pooled(
    table: pd.DataFrame, keys: list[str], scores: Sequence[str] = MEANS
) -> list[dict[str, Any]]:
    """Means over dates; RMSE and R2 of the means of what they are made of.

    Args:
        table: One row a method, lead, date and region, with ``mse`` and, of fields,
            ``variance``.
        keys: Columns by which rows are told apart.
        scores: Columns that are averaged as they are.

    Returns:
        A row for each combination of keys, ready for JSON.
    """
    grouped = table.groupby(keys, sort=False)
    parts = [name for name in ("mse", "variance") if name in table]
    means = grouped[[*scores, *parts]].mean()
    means["rmse"] = np.sqrt(means["mse"])
    if "variance" in means:
        spread = means["variance"].where(means["variance"] > 0)
        means["r2"] = 1 - means["mse"] / spread
    means["num_dates"] = grouped.size()
    rows = means.drop(columns=parts).reset_index().to_dict("records")
    return [{k: _plain(v) for k, v in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def skills(
    whole: pd.DataFrame,
    networks: Sequence[str],
    *,
    seed: int,
    chief: Sequence[str] = CHIEF,
    num_resamples: int = 2000,
) -> list[dict[str, Any]]:
    """One less the ratio of a network's score to the best baseline's.

    Args:
        whole: One row a method, lead and date.
        networks: Methods that are networks; the others are baselines.
        seed: Of the bootstrap over whole years.
        chief: Scores by which methods are ranked; less is better.
        num_resamples: Resamples.

    Returns:
        A row a network, lead and score, with the interval of 95 %.
    """
    rows = []
    rng = np.random.default_rng(seed)
    for lead, part in whole.groupby("lead"):
        for score in chief:
            dates = part.pivot(index="target", columns="method", values=score)
            names = [name for name in dates.columns if name not in networks]
            best = str(dates[names].mean().idxmin())
            years = np.array([target[:4] for target in dates.index])
            for network in networks:
                pair = dates[[network, best]].to_numpy()
                drawn = _by_year(pair, years, rng, num_resamples)
                mine, theirs = pair.mean(0)
                if not theirs:  # a perfect baseline leaves no skill to tell
                    continue
                rows.append({
                    "network": network, "lead": int(lead), "score": score,
                    "baseline": best, "value": float(mine),
                    "of_baseline": float(theirs),
                    "skill": float(1 - mine / theirs),
                    "interval": interval_of(drawn),
                    "num_years": len(set(years.tolist())),
                })  # fmt: skip
    return rows


def _by_year(
    pair: np.ndarray, years: np.ndarray, rng: np.random.Generator, num: int
) -> np.ndarray:
    """Skills of resamples of whole years, of both methods alike."""
    names = np.unique(years)
    sums = np.stack([pair[years == year].sum(0) for year in names])
    drawn = rng.integers(len(names), size=(num, len(names)))
    totals = sums[drawn].sum(1)
    return np.asarray(1 - totals[:, 0] / np.maximum(totals[:, 1], 1e-30))
