"""Networks that restore images beside filters, on simulated scenes with their truth.

    python benchmarks/images.py speckle
    python benchmarks/images.py coarse
    python benchmarks/images.py cloudy

Simulates, trains fold 0 of the configurations for these scenes, evaluates them and
prints a table in Markdown. Everything is written to a temporary folder.
"""

import argparse
import json
import tempfile
from contextlib import chdir
from pathlib import Path
from time import process_time

from arcticdl.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
SCENES = {"speckle": (18, 256), "coarse": (48, 64), "cloudy": (24, 128)}
NETWORKS = {
    "speckle": {"speckle": "**U-Net**"},
    "coarse": {"sharpen": "**U-Net**", "diffusion": "**mean of 8 members**"},
    "cloudy": {"gaps": "**U-Net**", "gaps_gan": "**U-Net with an adversary**"},
}
COLUMNS = {
    "psnr_db": "PSNR, dB",
    "ssim": "SSIM",
    "edges": "edges kept",
    "looks": "looks",
    "coarse_rmse": "coarse signal, RMSE",
    "spread_skill": "spread over error",
    "spectrum_db": "spectrum off by, dB",
    "seam": "step at edges",
}


def measure(schema: str, settings: list[str]) -> str:
    """Runs the configurations of a kind of scenes from nothing to their table."""
    scenes, size = SCENES[schema]
    words = [word for text in settings for word in ("--set", text)]
    simulated = ["--schema", schema, "--scenes", str(scenes), "--size", str(size)]
    _run("simulate", f"data/{schema}", *simulated)
    rows, notes = {}, []
    for name, title in NETWORKS[schema].items():
        config = str(CONFIGS / f"{name}.yaml")
        _run("prepare", config, *words)
        begun = process_time()
        _run("train", config, "--fold", "0", *words)
        notes.append(f"{title} {process_time() - begun:.0f} s")
        _run("evaluate", f"runs/{name}")
        result = json.loads(Path(f"runs/{name}/fold0/metrics.json").read_text())
        for row in (
            result | {"title": title},
            *(result.get("baselines") or {}).values(),
        ):
            rows.setdefault(row["title"], row)
    notes = f"processor time to train: {', '.join(notes)}"
    return table(list(rows.values()), result["units"], notes)


def table(rows: list[dict], units: str, note: str) -> str:
    """The rows as Markdown, the least error first."""
    rows = sorted(rows, key=lambda row: row["scores"]["rmse"])
    shown = [k for k in COLUMNS if any(row["extra"].get(k) for row in rows)]
    head = ["method", f"RMSE, {units}", f"CRPS, {units}", *(COLUMNS[k] for k in shown)]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        found = [row["extra"].get(k, {}).get("mean") for k in shown]
        told = ["" if v is None else f"{v:.3g}" for v in found]
        # Of a single answer the CRPS is the mean absolute error.
        crps = row["extra"].get("crps", {"mean": row["scores"]["mae"]})["mean"]
        numbers = [f"{v:.3f}" for v in (row["scores"]["rmse"], crps)]
        lines.append([row["title"], *numbers, *told])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{rows[0]['num_images']} test scenes; {note}."


def _run(*words: str) -> None:
    if main(list(words)):
        raise SystemExit(f"arcticdl {' '.join(words)} failed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(SCENES))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, chdir(work):
        print(measure(given.name, given.set))
