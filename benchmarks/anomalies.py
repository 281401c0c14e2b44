"""Icebergs on the sea as anomalies: autoencoders beside PCA, isolation forest and CFAR.

    python benchmarks/anomalies.py

Simulates scenes of the open sea, trains fold 0 of ``configs/anomalies.yaml`` with each
kind of code and three seeds, sets the limit, maps scenes with icebergs, and prints a
table in Markdown: the area under the ROC curve over pixels, those of icebergs against
the sea. The others are fitted to the same training scenes. Everything is written to a
temporary folder.
"""

import argparse
import json
import tempfile
from contextlib import chdir
from pathlib import Path
from time import process_time

import geopandas
import numpy as np
import rasterio
from rasterio.features import rasterize
from scipy.ndimage import label
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from arcticdl.cli import main
from arcticdl.evaluation.restored.principal import from_blocks, to_blocks
from arcticdl.inference.anomalies.fit import fit_limit, rebuild_error
from arcticdl.seaice.cfar import cfar_ratio
from arcticdl.seaice.sar import from_db
from arcticdl.simulate.objects.icebergs import LOOKS

CONFIG = Path(__file__).parents[1] / "configs" / "anomalies.yaml"
_LATENT = "model.options.latent"
KINDS = {
    "variational autoencoder": {},
    "plain autoencoder": {f"{_LATENT}.kind": "plain"},
    "sparse autoencoder (L1)": {
        f"{_LATENT}.kind": "sparse_l1",
        f"{_LATENT}.weight": "0.1",
    },
    "sparse autoencoder (rates)": {
        f"{_LATENT}.kind": "sparse_kl",
        f"{_LATENT}.weight": "0.1",
    },
    "denoising autoencoder": {
        f"{_LATENT}.kind": "plain",
        "train.augment": "[{name: noise, std: [0.3, 0.6], p: 1.0}]",
    },
}
SIDE, SIZE, WINDOW, QUANTILE = 8, 4, 5, 0.99


def measure(seed: int) -> dict[str, dict[str, float]]:
    """Scores of all methods with one seed, of data, network and forest."""
    words = ["--schema", "icebergs", "--seed"]
    sea = ["--icebergs", "0", "--scenes", "16", "--size", "128"]
    _run("simulate", f"sea{seed}", *words, str(seed), *sea)
    bergs = ["--scenes", "6", "--size", "256", "--icebergs", "12"]
    _run("simulate", f"bergs{seed}", *words, str(seed + 100), *bergs)
    test = sorted(Path(f"bergs{seed}").glob("*.tif"))
    truth = [_truth(path) for path in test]
    common = {"data.scenes": f"sea{seed}/*.tif", "seed": str(seed)}
    common |= {"tiles.store": f"sea{seed}.tiles"}
    _run("prepare", str(CONFIG), *_set(common))
    rows = {}
    for title, own in KINDS.items():
        run = Path(f"runs/{seed}-{title.replace(' ', '_')}")
        rows[title] = _of_network(run, common | own, test, truth)
    split = json.loads((run / "fold0" / "split.json").read_text())
    return rows | _rest(seed, split, test, truth)


def _rest(seed: int, split: dict, test: list[Path], truth: list) -> dict:
    """Scores of what needs no network, fitted to the scenes that trained one."""
    parts = {
        part: [_read(Path(f"sea{seed}", f"{name}.tif")) for name in split[part]]
        for part in ("train", "validation", "test")
    }
    rows = {}
    for title, (method, cost) in _others(parts["train"], seed).items():
        normal = {str(n): method(s).ravel() for n, s in enumerate(parts["validation"])}
        limit = fit_limit(normal, QUANTILE)
        scores = [method(_read(path)) for path in test]
        false = float(np.mean([(method(s) > limit).mean() for s in parts["test"]]))
        rows[title] = _score(scores, truth, limit) | {"false": false, "seconds": cost}
    return rows


def _of_network(run: Path, settings: dict, test: list[Path], truth: list) -> dict:
    """Trains an autoencoder, sets its limit, and scores its maps."""
    begun = process_time()
    given = ["--fold", "0", "--run-dir", str(run), *_set(settings)]
    _run("train", str(CONFIG), *given)
    cost = process_time() - begun
    _run("anomalies", str(run), "--window", str(WINDOW))
    told = json.loads((run / "fold0" / "anomalies.json").read_text())
    _run("predict", str(run), *map(str, test), "-o", str(run / "maps"))
    maps = [run / "maps" / f"{path.stem}_anomaly.tif" for path in test]
    found = _score([_read(path)[..., 0] for path in maps], truth, 1.0)
    return found | {"false": np.mean(list(told["tested"].values())), "seconds": cost}


def _others(train: list[np.ndarray], seed: int) -> dict:
    """Title -> (a map of how anomalous an image (y, x, band) is, seconds to fit)."""
    pixels = np.concatenate([image.reshape(-1, 2) for image in train])
    mean, std = pixels.mean(0), pixels.std(0)
    scaled = [(image - mean) / std for image in train]
    rng = np.random.default_rng(seed)
    begun = process_time()
    components = PCA(SIZE).fit(np.concatenate([to_blocks(s, SIDE) for s in scaled]))
    found = {"PCA of blocks": (lambda image: _by_pca(components, image, mean, std),)}
    found["PCA of blocks"] += (process_time() - begun,)
    for title, side in (("pixels", 1), ("patches of 5 px", WINDOW)):
        begun = process_time()
        rows = np.concatenate([_patches(s, side)[:: side**2] for s in scaled])
        rows = rows[rng.choice(len(rows), min(len(rows), 100_000), replace=False)]
        forest = IsolationForest(n_estimators=200, random_state=seed).fit(rows)
        cost = process_time() - begun

        def score(image, forest=forest, side=side):
            rows = _patches((image - mean) / std, side)
            return -forest.score_samples(rows).reshape(image.shape[:2])

        found[f"isolation forest of {title}"] = (score, cost)
    found["CFAR, which knows that icebergs are bright"] = (_cfar, 0.0)
    return found


def _by_pca(fitted: PCA, image: np.ndarray, mean, std) -> np.ndarray:
    scaled = (image - mean) / std
    blocks = np.nan_to_num(to_blocks(scaled, SIDE))
    rebuilt = fitted.inverse_transform(fitted.transform(blocks))
    rebuilt = from_blocks(rebuilt, scaled.shape, SIDE)
    valid = np.ones((1, *image.shape[:2]), bool)
    return rebuild_error(scaled[None], rebuilt[None], valid, WINDOW)[0, ..., 0]


def _patches(image: np.ndarray, side: int) -> np.ndarray:
    """Each pixel with those around it: (pixel, side * side * band)."""
    edge = side // 2
    wide = np.pad(image, [(edge, edge), (edge, edge), (0, 0)], mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(wide, (side, side), axis=(0, 1))
    return views.reshape(image.shape[0] * image.shape[1], -1)


def _cfar(image: np.ndarray) -> np.ndarray:
    """How far the brighter band lies above what clutter around would be by chance."""
    bands = np.moveaxis(from_db(image), -1, 0)
    return np.max([cfar_ratio(band, LOOKS) for band in bands], axis=0)


def _score(scores, truth, limit: float) -> dict[str, float]:
    """ROC area over all pixels; icebergs of which a pixel is beyond the limit."""
    every = np.concatenate([s.ravel() for s in scores])
    where = np.concatenate([t.ravel() for t in truth]) > 0
    found = [
        (s[t == number] > limit).any()
        for s, t in zip(scores, truth, strict=True)
        for number in range(1, t.max() + 1)
    ]
    return {"area": float(roc_auc_score(where, every)), "found": float(np.mean(found))}


def _truth(path: Path) -> np.ndarray:
    """Number of the iceberg at each pixel, else 0."""
    shapes = geopandas.read_file(path.with_suffix(".gpkg")).geometry
    with rasterio.open(path) as file:
        burnt = rasterize(
            [(shape, 1) for shape in shapes],
            out_shape=file.shape,
            transform=file.transform,
        )
    return label(burnt, np.ones((3, 3)))[0]


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.moveaxis(file.read(), 0, -1).astype(float)


def table(found: list[dict[str, dict[str, float]]]) -> str:
    """Methods by their mean area, each with the least and the greatest of the seeds."""
    titles = sorted(found[0], key=lambda t: -np.mean([f[t]["area"] for f in found]))
    lines = [
        "| method | ROC area (seeds) | icebergs found | sea beyond limit | fit, s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for title in titles:
        rows = [f[title] for f in found]
        mean = {k: np.mean([row[k] for row in rows]) for k in rows[0]}
        low, high = ({k: f([r[k] for r in rows]) for k in mean} for f in (min, max))
        lines.append(
            f"| {title} | {mean['area']:.4f} ({low['area']:.4f}-{high['area']:.4f}) | "
            f"{100 * mean['found']:.0f} % | {100 * mean['false']:.2f} % "
            f"({100 * low['false']:.2f}-{100 * high['false']:.2f}) | "
            f"{mean['seconds']:.0f} |"
        )
    return "\n".join(lines)


def _set(given: dict[str, str]) -> list[str]:
    return [word for k, v in given.items() for word in ("--set", f"{k}={v}")]


def _run(*words: str) -> None:
    if main(list(words)):
        raise SystemExit(f"arcticdl {' '.join(words)} failed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as work, chdir(work):
        for seed in range(given.seeds):
            found.append(measure(seed))
            print(table(found), flush=True)
