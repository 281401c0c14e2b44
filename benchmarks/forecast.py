"""What a forecast reaches: the tables of benchmarks/forecast.md.

python benchmarks/forecast.py runs/sea_ice_forecast
python benchmarks/forecast.py runs/extent
python benchmarks/forecast.py ../shared/data/nsidc_monthly 2002 2014 2015 2017
python benchmarks/forecast.py data/extent 2002 2014 2015 2017

The last two forms score what needs no network from the files alone, of maps and of
extents: the years of reference, then the years that are scored.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.forecasting import BASELINES, Issue, Reference
from arcticdl.metrics import cell_areas_km2, forecast_errors

VARIABLE = "cdr_seaice_conc_monthly"

SCORES = {"mae": "MAE", "rmse": "RMSE", "iiee": "IIEE", "edge_km": "edge, km",
          "crps": "CRPS", "sps": "SPS", "covered": "covered"}  # fmt: skip
UNRANKED = ("covered",)


def table(result):
    """Lines of Markdown: a row a method and lead, the best of each score in bold."""
    keys = [key for key in SCORES if key in result["scores"][0]]
    lines = ["| lead | method | " + " | ".join(SCORES[k] for k in keys) + " |"]
    lines.append("|---" * (len(keys) + 2) + "|")
    for lead in result["leads"]:
        rows = [row for row in result["scores"] if row["lead"] == lead]
        best = {k: min(row[k] for row in rows) for k in keys if k not in UNRANKED}
        for row in rows:
            cells = [
                "" if row[k] is None
                else f"**{row[k]:.4f}**" if row[k] == best.get(k) else f"{row[k]:.4f}"
                for k in keys
            ]  # fmt: skip
            name = row["method"].replace("_", " ")
            lines.append(f"| {lead} | {name} | " + " | ".join(cells) + " |")
    return lines


def skills(result):
    """Lines of Markdown: each network against the best baseline of each score."""
    head = ["region"] if "regions" in result else []
    head += ["network", "lead", "score", "value", "best baseline", "skill", "95 %"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in result["skill"]:
        low, high = row["interval"]
        region = f"| {row['region']} " if "region" in row else ""
        lines.append(
            f"{region}| {row['network']} | {row['lead']} | {SCORES[row['score']]} | "
            f"{row['value']:.4f} | {row['of_baseline']:.4f} "
            f"({row['baseline'].replace('_', ' ')}) | {row['skill']:+.1%} | "
            f"{low:+.1%} to {high:+.1%} |"
        )
    return lines


def baselines(folder, known, scored):
    """Lines of Markdown: each baseline's MAE and IIEE by lead, of whole years."""
    stack = xr.open_mfdataset(sorted(Path(folder).glob("*.nc")), combine="by_coords")
    sic, times = stack[VARIABLE].values, stack["time"].values.astype("datetime64[D]")
    years = times.astype("datetime64[Y]").astype(int) + 1970
    used = (years >= min(known[0], scored[0])) & (years <= max(known[1], scored[1]))
    sic, times, years = sic[used], times[used], years[used]
    area = cell_areas_km2(stack["x"].values, stack["y"].values, "EPSG:3411")
    seen = np.isfinite(sic).all(0)
    values = sic[:, seen]
    usual = Reference(values, times, step_h=730.5, years=known)
    counted = np.zeros(seen.shape, bool)
    counted[seen] = (values[usual.known] > 0).any(0)
    rows = {}
    inside = [k for k, year in enumerate(years) if scored[0] <= year <= scored[1]]
    for k in inside:
        issue = Issue(usual, times[k], values[k])
        for lead in (1, 2, 3):
            if k + lead not in inside:
                continue
            truth = np.where(counted, sic[k + lead], np.nan)
            for name, make in BASELINES.items():
                field = np.full(seen.shape, np.nan)
                field[seen] = make(issue, times[k + lead])
                told = forecast_errors(truth, field, area)
                row = (years[k + lead], told["mae"], told["iiee"])
                rows.setdefault((name, lead), []).append(row)
    rows = {key: np.array(found) for key, found in rows.items()}
    lines = ["| forecast | MAE, 1 | 2 | 3 | IIEE, 1 | 2 | 3 |", "|---" * 7 + "|"]
    for name in BASELINES:
        means = np.array([rows[name, lead].mean(0) for lead in (1, 2, 3)])
        cells = [f"{v:.4f}" for v in means[:, 1]] + [f"{v:.3f}" for v in means[:, 2]]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return [*lines, "", *gains(rows)]


def gains(rows, name="damped_median", num_resamples=2000):
    """Lines: the skill of one baseline against the best other, over whole years."""
    rng, lines = np.random.default_rng(0), []
    for lead in (1, 2, 3):
        own = rows[name, lead]
        parts = [np.flatnonzero(own[:, 0] == year) for year in np.unique(own[:, 0])]
        for column, title in ((1, "MAE"), (2, "IIEE")):
            others = {n: rows[n, lead][:, column] for n in BASELINES if n != name}
            best = min(others, key=lambda n: others[n].mean())
            drawn = [
                np.concatenate(
                    [parts[j] for j in rng.integers(0, len(parts), len(parts))]
                )
                for _ in range(num_resamples)
            ]
            skill = [1 - own[i, column].mean() / others[best][i].mean() for i in drawn]
            low, high = np.quantile(skill, [0.025, 0.975])
            whole = 1 - own[:, column].mean() / others[best].mean()
            lines.append(
                f"lead {lead}, {title}: {name} against {best} {whole:+.1%} "
                f"({low:+.1%} to {high:+.1%})"
            )
    return lines


def extents(folder, known, scored):
    """Lines of Markdown: each baseline's MAE by lead, of the whole and of regions."""
    table = pd.read_csv(Path(folder) / "extents.csv", parse_dates=["time"])
    told = json.loads((Path(folder) / "extents.json").read_text(encoding="utf-8"))
    sea = np.array(list(told["regions_km2"].values())) / 1e6
    wide = table.pivot(index="time", columns="region", values="extent_million_km2")
    wide = wide[list(told["regions_km2"])]
    years = wide.index.year.to_numpy()
    wide = wide[(years >= min(known[0], scored[0])) & (years <= scored[1])]
    years, times = wide.index.year, wide.index.to_numpy("datetime64[D]")
    values = (wide.to_numpy() / sea).astype("float32")
    usual = Reference(values, times, step_h=730.5, years=known)
    inside = np.flatnonzero((years >= scored[0]) & (years <= scored[1]))
    lines = ["| forecast | whole, 1 | 2 | 3 | regions, 1 | 2 | 3 |", "|---" * 7 + "|"]
    for name, make in BASELINES.items():
        means = np.array([
            np.mean([
                np.abs(make(Issue(usual, times[k], values[k]), times[k + lead])
                       - values[k + lead]) * sea
                for k in inside if k + lead in inside
            ], axis=0)
            for lead in (1, 2, 3)
        ])  # fmt: skip
        cells = [*means[:, 0], *means[:, 1:].mean(1)]
        told_as = " | ".join(f"{value:.3f}" for value in cells)
        lines.append(f"| {name.replace('_', ' ')} | {told_as} |")
    return lines


if __name__ == "__main__" and len(sys.argv) == 6:
    first, last, begin, end = map(int, sys.argv[2:])
    of_table = (Path(sys.argv[1]) / "extents.csv").exists()
    scores_of = extents if of_table else baselines
    print("\n".join(scores_of(sys.argv[1], (first, last), (begin, end))))
elif __name__ == "__main__":
    found = Path(sys.argv[1]) / "fold0" / "forecast" / "forecast.json"
    scores = json.loads(found.read_text(encoding="utf-8"))
    print("\n".join([*table(scores), "", *skills(scores)]))
