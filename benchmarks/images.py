"""Networks that restore images beside filters, on simulated scenes with their truth.

    python benchmarks/images.py speckle
    python benchmarks/images.py sharpen

Simulates, trains fold 0 of the configuration of that name, evaluates it and prints its
table in Markdown. Everything is written to a temporary folder.
"""

import argparse
import json
import tempfile
from contextlib import chdir
from pathlib import Path
from time import process_time

from arcticdl.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
SIMULATED = {
    "speckle": ("speckle", "speckle", 18, 256),
    "sharpen": ("coarse", "coarse", 48, 64),
}
COLUMNS = {
    "psnr_db": "PSNR, dB",
    "ssim": "SSIM",
    "edges": "edges kept",
    "looks": "looks",
    "coarse_rmse": "coarse signal, RMSE",
}


def measure(name: str, settings: list[str]) -> str:
    """Runs one configuration from nothing to its table."""
    folder, schema, scenes, size = SIMULATED[name]
    config = str(CONFIGS / f"{name}.yaml")
    words = [word for text in settings for word in ("--set", text)]
    begun = process_time()
    simulated = ["--schema", schema, "--scenes", str(scenes), "--size", str(size)]
    _run("simulate", f"data/{folder}", *simulated)
    _run("prepare", config, *words)
    _run("train", config, "--fold", "0", *words)
    trained = process_time() - begun
    _run("evaluate", f"runs/{name}")
    result = json.loads(Path(f"runs/{name}/fold0/metrics.json").read_text())
    rows = [{"title": "**the network**"} | result, *result["baselines"].values()]
    return table(rows, f"{trained:.0f} s of processor time to train")


def table(rows: list[dict], note: str) -> str:
    """The rows as Markdown, the least error first."""
    rows = sorted(rows, key=lambda row: row["scores"]["rmse"])
    shown = [k for k in COLUMNS if any(row["extra"].get(k) for row in rows)]
    units = rows[0]["units"]
    head = ["method", f"RMSE, {units}", *(COLUMNS[k] for k in shown)]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        found = [row["extra"].get(k, {}).get("mean") for k in shown]
        told = ["" if v is None else f"{v:.3g}" for v in found]
        lines.append([row["title"], f"{row['scores']['rmse']:.3f}", *told])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{rows[0]['num_images']} test scenes; {note}."


def _run(*words: str) -> None:
    if main(list(words)):
        raise SystemExit(f"arcticdl {' '.join(words)} failed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(SIMULATED))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, chdir(work):
        print(measure(given.name, given.set))
