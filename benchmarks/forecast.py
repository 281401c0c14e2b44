"""What a forecast costs and reaches: the table of benchmarks/forecast.md from a run.

python benchmarks/forecast.py runs/sea_ice_forecast
"""

import json
import sys
from pathlib import Path

SCORES = {"mae": "MAE", "rmse": "RMSE", "iiee": "IIEE", "edge_km": "edge, km",
          "crps": "CRPS", "sps": "SPS"}  # fmt: skip


def table(result):
    """Lines of Markdown: a row a method and lead, the best of each score in bold."""
    lines = ["| lead | method | " + " | ".join(SCORES.values()) + " |"]
    lines.append("|---" * (len(SCORES) + 2) + "|")
    for lead in result["leads"]:
        rows = [row for row in result["scores"] if row["lead"] == lead]
        best = {key: min(row[key] for row in rows) for key in SCORES}
        for row in rows:
            cells = [
                f"**{row[key]:.4f}**" if row[key] == best[key] else f"{row[key]:.4f}"
                for key in SCORES
            ]
            name = row["method"].replace("_", " ")
            lines.append(f"| {lead} | {name} | " + " | ".join(cells) + " |")
    return lines


def skills(result):
    """Lines of Markdown: each network against the best baseline of each score."""
    lines = ["| network | lead | score | value | best baseline | skill | 95 % |"]
    lines.append("|---" * 7 + "|")
    for row in result["skill"]:
        low, high = row["interval"]
        lines.append(
            f"| {row['network']} | {row['lead']} | {SCORES[row['score']]} | "
            f"{row['value']:.4f} | {row['of_baseline']:.4f} "
            f"({row['baseline'].replace('_', ' ')}) | {row['skill']:+.1%} | "
            f"{low:+.1%} to {high:+.1%} |"
        )
    return lines


if __name__ == "__main__":
    found = Path(sys.argv[1]) / "fold0" / "forecast" / "forecast.json"
    scores = json.loads(found.read_text(encoding="utf-8"))
    print("\n".join([*table(scores), "", *skills(scores)]))
