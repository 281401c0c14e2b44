"""Scores of forecasts of extents: a row for each method, lead, date and region."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from arcticdl.evaluation.forecasts.issue import Issued
from arcticdl.evaluation.forecasts.tally import pooled, skills, when_of
from arcticdl.metrics.forecasts import quantile_crps

CHIEF = ("mae", "crps")
"""The scores by which methods are ranked; less is better."""

MEANS = ("mae", "bias", "crps", "covered", "width")
"""Scores that are averaged over dates as they are."""


class RegionTally:
    """Scores forecasts of regions date by date, and pools them.

    What is forecast is a share of each region's sea; all that is told of it is in
    million km2.

    Args:
        regions: Name -> its sea in km2, in the order of the cells of a forecast.
        seed: Of the bootstrap over years.

    Attributes:
        rows: One a method, lead, target and region.
        extents: One a region, lead and target: what came, and was forecast, by method;
            ``METHOD_low`` and ``METHOD_high`` are the outer quantiles.
    """

    def __init__(self, regions: Mapping[str, float], *, seed: int = 0) -> None:
        self.regions, self.seed = dict(regions), seed
        self.rows: list[dict[str, Any]] = []
        self.extents: list[dict[str, Any]] = []
        self._covering: dict[str, float] = {}

    def add(self, issued: Issued) -> None:
        """Scores all forecasts of a date of issue against what came."""
        for method, levels in issued.levels.items():
            self._covering[method] = levels[-1] - levels[0]
        for place in range(len(issued.leads)):
            when = when_of(issued, place)
            for number, (region, sea_km2) in enumerate(self.regions.items()):
                scale = sea_km2 / 1e6
                truth = float(issued.truth[place].ravel()[number]) * scale
                if not np.isfinite(truth):
                    continue
                told: dict[str, float] = {"truth": truth}
                for method, fields in issued.forecasts.items():
                    value = float(fields[place].ravel()[number]) * scale
                    quantiles = issued.quantiles.get(method)
                    row = {"method": method, "region": region, **when}
                    row |= _errors(truth, value)
                    told[method] = value
                    if quantiles is not None:
                        levels = issued.levels[method]
                        own = quantiles[place].reshape(-1, len(levels))[number] * scale
                        row |= _spread(truth, own, levels)
                        told[f"{method}_low"] = float(own[0])
                        told[f"{method}_high"] = float(own[-1])
                    self.rows.append(row)
                self.extents.append({"region": region, **when, **told})

    def table(self) -> pd.DataFrame:
        """All rows: a method, lead, target and region each."""
        return pd.DataFrame(self.rows)

    def result(self, networks: Sequence[str]) -> dict[str, Any]:
        """The scores pooled over dates, ready for JSON.

        Args:
            networks: Methods that are networks; the others are baselines.

        Returns:
            ``methods``, ``leads``, ``regions``; ``scores`` of the whole, rows by method
            and lead; ``strata``: by ``month``, ``season``, ``year`` (of the whole) and
            ``region``, likewise; ``skill``: a row a region, network, lead and chief
            score against the best baseline of that score, with an interval of 95 %
            over whole years; ``covering``, the share that the interval of a method
            should cover; ``extents``. In million km2.
        """
        table = self.table()
        whole = table[table["region"] == next(iter(self.regions))]
        strata = {
            column: pooled(whole, ["method", "lead", column], MEANS)
            for column in ("month", "season", "year")
        }
        strata["region"] = pooled(table, ["method", "lead", "region"], MEANS)
        return {
            "methods": list(dict.fromkeys(whole["method"])),
            "networks": list(networks),
            "leads": sorted({int(lead) for lead in whole["lead"]}),
            "regions": {name: km2 / 1e6 for name, km2 in self.regions.items()},
            "scores": pooled(whole, ["method", "lead"], MEANS),
            "strata": strata,
            "skill": [
                {"region": region, **row}
                for region in self.regions
                for row in skills(
                    table[table["region"] == region],
                    networks,
                    seed=self.seed,
                    chief=CHIEF,
                )
            ],
            "covering": self._covering,
            "extents": self.extents,
        }


def _errors(truth: float, value: float) -> dict[str, float]:
    """Scores of a lone value; it is certain of itself, and covers nothing."""
    error = value - truth
    return {
        "mae": abs(error),
        "bias": error,
        "mse": error**2,
        "crps": abs(error),
        "covered": float("nan"),
        "width": float("nan"),
    }


def _spread(
    truth: float, quantiles: np.ndarray, levels: Sequence[float]
) -> dict[str, float]:
    """Scores of a forecast that tells its quantiles."""
    return {
        "crps": float(quantile_crps(truth, quantiles, levels)),
        "covered": float(quantiles[0] <= truth <= quantiles[-1]),
        "width": float(quantiles[-1] - quantiles[0]),
    }
