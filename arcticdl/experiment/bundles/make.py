"""Writing a bundle: a model, what it is, and an answer to check it by."""

import json
import shutil
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl import __version__
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles import layout
from arcticdl.experiment.bundles.models import model_files
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.evaluate import headline
from arcticdl.experiment.folder import FULL, Fold, fold_path, load_run, meant_fold
from arcticdl.files import atomic_folder, atomic_path, write_json, write_text
from arcticdl.scene import scene_band_stats

_COPIED = (
    "metrics.json",
    "calibration.json",
    "split.json",
    "leakage.json",
    "anomalies.json",
    "anomalies.npz",
    "novelty.json",
    "novelty.npz",
)


_SUMMARY = "summary.json"  # of all folds: a full model has no scores of its own


def bundle(
    run: str | Path,
    out: str | Path | None = None,
    *,
    fold: Fold | None = None,
    license: str | None = None,
    sample: bool = True,
    overwrite: bool = False,
) -> Path:
    """Writes a fold's model with all that another person needs to use and check it.

    The bundle holds the model, its card, the run's configuration, environment, split
    and scores, the sha-256 of each file, and a tile with the network's answer to it,
    which `verify_bundle` compares. The model goes along without its optimiser, and
    answers as the run's does, to the bit. The README tells what the network answers,
    how well the run's folds did on scenes that they held out, and the configuration's
    `limits`.

    Args:
        run: Run folder.
        out: A folder, or ``NAME.zip``; default: ``RUN/NAME_foldK.zip``.
        fold: Whose model, as of `predict`; ``"full"``: that of every scene.
        license: Licence of the model, an SPDX name or a URL.
        sample: Whether a tile of the data goes along; without it random pixels on the
            scale of the training data do, for data that must not be passed on.
        overwrite: Replace an earlier bundle.

    Returns:
        The folder or file.

    Raises:
        ConfigError: ``fold`` is ``"all"``.
        FileNotFoundError: The run, the fold's model or, for the tile, the store is
            missing.
        FileExistsError: It exists and ``overwrite`` is false, or is no bundle.
    """
    if fold == "all":
        raise ConfigError("One bundle holds one model: name a fold, or `full`.")
    folder, config = load_run(run)
    fold = meant_fold(folder, fold)
    (model,) = model_files(folder, fold)[1]
    target = Path(out) if out is not None else folder / f"{_stem(config, fold)}.zip"
    _check_free(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    pixels = _sample(config, model, fold) if sample else _made_up(model)
    if target.suffix != ".zip":
        with atomic_folder(target) as part:
            _fill(part, folder, config, model, pixels, license)
        return target
    with tempfile.TemporaryDirectory() as loose, atomic_path(target) as part:
        _fill(Path(loose), folder, config, model, pixels, license)
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(Path(loose).iterdir()):
                archive.write(file, file.name)
    return target


def _stem(config: Experiment, fold: Fold) -> str:
    return f"{config.name}_{fold_path(Path(), fold).name}"


def _check_free(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    ours = target.is_file() if target.suffix == ".zip" else layout.is_bundle(target)
    if not (overwrite and ours):
        way = "Pass --overwrite" if ours else "Choose another name"
        raise FileExistsError(f"{target} exists already. {way}.")


def _sample(config: Experiment, model: Path, fold: Fold) -> dict[str, np.ndarray]:
    """The fullest tile of those that test the fold; of the full model of all."""
    store = open_prepared(config)
    ids = store.manifest["scene_id"].astype(str).to_numpy()
    tiles = np.arange(len(store))
    if fold != FULL:
        split = json.loads(model.with_name("split.json").read_text("utf-8"))
        tiles = tiles[np.isin(ids, split["test"])]
    valid = store.manifest["valid_fraction"].to_numpy()[tiles]
    chosen = tiles[int(valid.argmax())]
    read = store.read([chosen], ["image", "valid"])
    stats = store.scene_stats(ids[chosen]).to_dict()
    return {**read, "stats": np.array(json.dumps(stats))}


def _made_up(model: Path) -> dict[str, np.ndarray]:
    """Random pixels that the model's scaling turns into numbers of about 1."""
    from arcticdl.inference import load_model
    from arcticdl.models import get_card

    card = get_card(load_model(model)) or {}
    scaling = card.get("normalizer") or {}
    offset, scale = scaling.get("offset") or 0.0, scaling.get("scale") or 1.0
    size = card.get("tile_size_px", 256)
    height, width = (size, size) if isinstance(size, int) else size
    shape = (1, height, width, len(card["bands"]))
    noise = np.random.default_rng(0).normal(size=shape)
    image = (noise * np.asarray(scale) + np.asarray(offset)).astype("float32")
    made = xr.Dataset(
        {"image": (("y", "x", "band"), image[0])}, {"band": card["bands"]}
    )
    stats = scene_band_stats(made).to_dict()  # of a scaling by each whole scene
    return {
        "image": image,
        "valid": np.ones(shape[:-1], bool),
        "stats": np.array(json.dumps(stats)),
    }


def _fill(
    part: Path,
    folder: Path,
    config: Experiment,
    model: Path,
    pixels: dict[str, np.ndarray],
    license: str | None,
) -> None:
    from arcticdl.experiment.bundles.verify import answers_of
    from arcticdl.inference import load_model
    from arcticdl.models import get_card
    from arcticdl.training.fit import save_model

    network = load_model(model)
    save_model(network, part / layout.MODEL)  # without its optimiser
    shutil.copyfile(folder / "config.yaml", part / layout.CONFIG)
    environment = json.loads((folder / "environment.json").read_text("utf-8"))
    write_json(part / "environment.json", environment)
    for name in _COPIED:
        if model.with_name(name).is_file():
            shutil.copyfile(model.with_name(name), part / name)
    card = get_card(network) or {}
    write_json(part / layout.CARD, card)
    _write_arrays(part / layout.SAMPLE, pixels)
    _write_arrays(part / layout.ANSWER, answers_of(network, pixels))
    if (folder / _SUMMARY).is_file():
        shutil.copyfile(folder / _SUMMARY, part / _SUMMARY)
    write_text(part / layout.README, _readme(config, card, license, _how_good(part)))
    files = {file.name: layout.sha256(file) for file in sorted(part.iterdir())}
    manifest = {
        "format": layout.FORMAT,
        "version": layout.VERSION,
        "name": config.name,
        "description": config.description,
        "limits": config.limits,
        "license": license,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "arcticdl": __version__,
        "backend": environment.get("backend"),
        "files": files,
    }
    write_json(part / layout.MANIFEST, manifest)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _how_good(part: Path) -> str:
    """What the folds of the run reached, in the lines that ``evaluate`` prints."""
    if not (part / _SUMMARY).is_file():
        return "No fold of the run was scored by `arcticdl evaluate`."
    summary = json.loads((part / _SUMMARY).read_text("utf-8"))
    lines = "\n".join(f"    {line}" for line in headline(summary))
    return (
        "The run's folds, each on scenes that it held out. A model that was trained on "
        f"every scene has none left to be scored on.\n\n{lines}"
    )


def _readme(
    config: Experiment, card: dict[str, Any], license: str | None, how_good: str
) -> str:
    heads = {n: entry.get("task", "segmentation") for n, entry in card["heads"].items()}
    told = "\n".join(f"- `{name}`: {task}" for name, task in heads.items())
    return (
        f"# {config.name}\n\n{config.description}\n\n"
        f"Bands: {', '.join(card.get('bands', []))}. Answers:\n\n{told}\n\n"
        f"Licence of the model: {license or 'not stated'}.\n\n"
        f"## How good it is\n\n{how_good}\n\n"
        f"## Limits\n\n{config.limits.strip() or 'None are stated.'}\n\n"
        "## Use\n\n"
        "    arcticdl verify THIS            # the network against its own answer\n"
        "    arcticdl predict THIS SCENE.tif -o map.tif\n"
        "    arcticdl prepare config.yaml --set name=mine  # your files under data\n"
        "    arcticdl evaluate THIS --data data/mine.tiles  # on labelled scenes\n\n"
        "`model.keras` is an ordinary Keras 3 file; `card.json` says which bands it "
        "takes, how they are scaled and what it answers.\n"
    )
