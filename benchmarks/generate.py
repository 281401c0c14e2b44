"""What made scenes and changed styles bring to a segmenter of few labels.

    python benchmarks/generate.py maps FOLDER --seeds 0 1 2
    python benchmarks/generate.py styles FOLDER --seeds 0 1 2

`maps`: four labelled scenes of radar, sixteen tested; beside nothing and copy-paste,
forty-eight tiles of HH that a generator draws of the label maps of the four. `styles`:
six labelled scenes of one sensor and six without labels of another, by which twelve are
tested. All ways make as many steps. Everything is simulated, and runs through the
command line; scores are kept in FOLDER/results.json and printed as a table.
"""

import argparse
import json
import os
import re
from contextlib import chdir
from pathlib import Path
from time import process_time

import numpy as np
import rasterio
from scipy import ndimage

from arcticdl.cli import main

CLASSES = """[open water, new ice, young ice, thin first-year ice,
        thick first-year ice, old ice]"""
CONFIG = f"""\
name: ice
data:
  scenes: data/SCENES/*[0-9].tif
  use_bands: [HH, HV]
  labels:
    ice_type:
      file: {{replace: {{.tif: _labels.tif}}}}
      optional: OPTIONAL
      classes: {CLASSES}
tiles: {{size_px: 64}}
folds: {{test: test.csv}}
model:
  backbone: plain
  options:
    backbone_options: {{width: 16, depth: 3}}
    decoder_options: {{channels: [32, 16, 16]}}
train:
  batch_size: 8
  learning_rate: 0.002
  epochs: 20
  jit_compile: false
"""
TURNS = [{"name": "hflip"}, {"name": "vflip"}, {"name": "quarter_turn"}]
RARE = {"name": "copy_paste", "classes": [1, 2, 3], "p": 0.5}
STYLE = {"name": "style", "to": {"sensor": "other"}, "p": 1.0}
JITTER = [
    {"name": "offset", "amount": [-6, 6], "relative": False, "per_band": True},
    {"name": "gain", "factor": [0.6, 1.4], "per_band": True},
]


def maps(seed: int) -> dict[str, dict[str, float]]:
    """Nothing, copy-paste and made scenes, by four labelled scenes and HH alone.

    The generator is trained once, and its scenes are made once; segmenters have seeds.
    """
    simulate("few", 20)
    Path("test.csv").write_text("\n".join(names("few")[4:]))
    if not Path("runs/draw/fold0/model.keras").exists():
        words = settings(folds="{test: test.csv}", **{"train.epochs": 36, "seed": 1})
        config = str(Path(__file__).parents[1] / "configs" / "draw.yaml")
        run("prepare", config, *words)
        run("train", config, "--fold", "0", *words)
        run("synthesize", "runs/draw", "--scenes", "48", "--out", "data/made")
    synthetic = {"data.synthetic": "data/made/*[0-9].tif", "train.repeats": 2}
    ways = {
        "made scenes": (synthetic, TURNS),
        "nothing": ({}, TURNS),
        "copy-paste of rare classes": ({}, [RARE, *TURNS]),
    }
    shared = {"train.repeats": 8, "data.use_bands": "[HH]"}
    return score("few", seed, ways, shared)


def styles(seed: int) -> dict[str, dict[str, float]]:
    """What may be done where the labels are of another sensor than the tests."""
    simulate("two", 24)
    scenes = names("two")
    for name in scenes[6:]:
        as_other_sensor(Path(f"data/two/{name}.tif"))
    for name in scenes[6:12]:  # of which no labels are known
        Path(f"data/two/{name}_labels.tif").rename(f"data/two/{name}_held_back.tif")
    Path("test.csv").write_text("\n".join(scenes[12:]))
    each = {"train.normalizer": "per_image"}
    ways = {
        "nothing": ({}, TURNS),
        "offsets and gains by chance": ({}, [*JITTER, *TURNS]),
        "scaling scene by scene": (each, TURNS),
        "style: quantiles": ({}, [{**STYLE, "how": "quantiles"}, *TURNS]),
        "style: moments": ({}, [{**STYLE, "how": "moments"}, *TURNS]),
        "style: amplitudes": ({}, [{**STYLE, "how": "amplitude"}, *TURNS]),
    }
    found = score("two", seed, ways, {"train.repeats": 3})
    for name in scenes[6:12]:
        Path(f"data/two/{name}_held_back.tif").rename(f"data/two/{name}_labels.tif")
    known = {"six labelled scenes of the other sensor besides": ({}, TURNS)}
    return found | score("two", seed, known, {"train.repeats": 3})


def as_other_sensor(path: Path) -> None:
    """Another calibration, less contrast, more looks and a higher floor, in dB."""
    with rasterio.open(path, "r+") as file:
        bands, told = file.read(), list(file.descriptions)
        for band, gain, level in (("HH", 0.75, 1.0), ("HV", 0.65, -4.0)):
            place = told.index(band)
            smooth = ndimage.gaussian_filter(bands[place], 0.7)
            bands[place] = np.maximum(gain * smooth + level, -22.0)
        file.write(bands)
        file.update_tags(sensor="other")


def score(scenes: str, seed: int, ways: dict, shared: dict) -> dict:
    """Trains and tests each way of one seed; mean IoU and seconds of processor time."""
    optional = "true" if scenes == "two" else "false"
    text = CONFIG.replace("SCENES", scenes).replace("OPTIONAL", optional)
    Path("ice.yaml").write_text(text, encoding="utf-8")
    found = {}
    for title, (values, steps) in ways.items():
        name = re.sub(r"\W+", "_", title)
        words = settings(
            **{"name": name, "seed": seed, "train.augment": json.dumps(steps)},
            **{**shared, **values},
        )
        begun = process_time()
        run("prepare", "ice.yaml", "--overwrite", *words)
        run("train", "ice.yaml", "--fold", "0", "--overwrite", *words)
        run("evaluate", f"runs/{name}")
        told = json.loads(Path(f"runs/{name}/fold0/metrics.json").read_text())
        found[title] = {
            "iou": told["scores"]["mean_iou"],
            "accuracy": told["scores"]["accuracy"],
            "seconds": process_time() - begun,
        }
    return found


def simulate(name: str, count: int) -> None:
    run("simulate", f"data/{name}", "--scenes", str(count), "--size", "128")


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in Path(f"data/{folder}").glob("*[0-9].tif"))


def settings(**values) -> list[str]:
    """Overrides as words of a command."""
    return [word for k, v in values.items() for word in ("--set", f"{k}={v}")]


def run(*words: str) -> None:
    if main(list(words)):
        raise SystemExit(f"arcticdl {' '.join(words)} failed")


def table(results: dict[str, dict]) -> str:
    """Mean of the seeds, and each, as Markdown; the best first."""
    told = {
        title: [each[title]["iou"] for each in results.values()]
        for title in next(iter(results.values()))
    }
    lines = [f"| way | mean IoU | seeds {', '.join(results)} |", "| --- | --- | --- |"]
    for title in sorted(told, key=lambda title: -np.mean(told[title])):
        each = ", ".join(f"{value:.3f}" for value in told[title])
        lines.append(f"| {title} | {np.mean(told[title]):.3f} | {each} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("maps", "styles"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    record = given.folder.resolve() / "results.json"
    kept = json.loads(record.read_text()) if record.is_file() else {}
    work = given.folder / given.part
    work.mkdir(exist_ok=True)
    for number in given.seeds:
        with chdir(work):
            begun = process_time()
            found = {"maps": maps, "styles": styles}[given.part](number)
        kept.setdefault(given.part, {})[str(number)] = found
        part = record.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(kept, indent=1))
        part.replace(record)
        print(f"seed {number}: {process_time() - begun:.0f} s of processor time")
    print(table(kept[given.part]))
