"""Fitting what is usual in the training scenes of a run, and measuring new scenes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles.models import model_files
from arcticdl.experiment.data.inputs import open_inputs
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run, write_json
from arcticdl.progress import track
from arcticdl.tiles import TileStore

_BATCH = 4


def fit_novelty(
    run: str | Path, *, fold: str | int = "all", quantile: float = 0.99
) -> dict[int, dict[str, Any]]:
    """Fits, for each fold, what is usual in the features of its training tiles.

    Neither validation nor test tiles take part. The fit lies beside the model, as
    ``foldK/novelty.npz``; maps then have the output ``novelty``, and bundles carry it.

    Args:
        run: Run folder.
        fold: Number, or ``"all"`` that are trained.
        quantile: Share of places of training scenes that are usual.

    Returns:
        Fold -> what was fitted, in numbers, and the scores of its tested scenes.

    Raises:
        ConfigError: The fold is not trained, or is the full model.
        ValueError: One training scene, an ensemble, or a quantile outside (0, 1).
        FileNotFoundError: No such run or store.
    """
    from arcticdl.inference.novelty import distance, features
    from arcticdl.inference.novelty.saved import write_fit
    from arcticdl.inference.predictor import Predictor

    folder, config = load_run(run)
    numbers = chosen_folds(folder, fold)
    store = open_prepared(config)
    splits = folds_of_run(folder, store, config, numbers)
    told = {}
    for number in numbers:
        path = fold_path(folder, number) / "model.keras"
        predictor = Predictor(path)
        seen = features.Features(predictor.members[0].model)
        fitted = distance.fit_novelty(
            features_by_scene(seen, predictor, store, splits[number].train),
            layer=seen.layer,
            weights=seen.weights,
            quantile=quantile,
            seed=config.seed,
        )
        write_fit(fitted, path.with_name(distance.FILE))
        tested = features_by_scene(seen, predictor, store, splits[number].test)
        told[number] = {
            "layer": fitted.layer,
            "quantile": fitted.quantile,
            "limit": fitted.limit,
            "scene_limit": fitted.scene_limit,
            "num_scenes": fitted.num_scenes,
            "tested": {
                name: float(fitted.score(rows).mean())
                for name, rows in tested.items()
                if len(rows)
            },
        }
        write_json(path.with_name("novelty.json"), told[number])
    return told


def measure_novelty(
    run: str | Path, inputs: Sequence[str], *, fold: str | int | None = None
) -> list[Any]:
    """Says of new scenes how unlike the training scenes of a fold they are.

    Args:
        run: Run folder, bundle, or ``.keras`` file with ``novelty.npz`` beside it.
        inputs: Scene files.
        fold: Whose model; default: as of `predict`.

    Returns:
        A `inference.novelty.scenes.SceneNovelty` for each scene.

    Raises:
        ConfigError: Several folds at once, or no scene.
        FileNotFoundError: The fold has no fit.
        ValueError: The fit is of other weights, or a scene has no valid place.
    """
    check_names(inputs=inputs)
    from arcticdl.inference.novelty.find import find_novelty
    from arcticdl.inference.novelty.scenes import scene_novelty
    from arcticdl.inference.predictor import Predictor

    config, path = model_of_scenes(run, inputs, fold)
    predictor = Predictor(path)
    novelty, features = find_novelty(path, predictor.members[0].model)
    scenes = open_inputs(config, list(inputs), path.parent / "split.json")
    return [scene_novelty(novelty, features, predictor, scene) for scene in scenes]


def model_of_scenes(
    run: str | Path, inputs: Sequence[str], fold: str | int | None
) -> tuple[Experiment | None, Path]:
    """The configuration and the one model by which scenes are measured.

    Raises:
        ConfigError: Several folds at once, or no scene.
    """
    if fold == "all" or not inputs:
        raise ConfigError(
            "A scene is measured by one model: name scenes, and a fold (--fold K). "
            f"Received: {len(inputs)} scenes, fold={fold!r}."
        )
    config, (path,) = model_files(Path(run), fold)
    return config, path


def features_by_scene(
    features: Any, predictor: Any, store: TileStore, tiles: np.ndarray
) -> dict[str, np.ndarray]:
    """Features (place, channel) of some tiles by their scene.

    Args:
        features: What tells the features of pictures, as ``places(scaled, valid)``.
        predictor: The network made ready, for its scaling.
        store: The tile store.
        tiles: Its tiles.
    """
    normalizer = predictor.members[0].normalizer
    scenes = store.manifest["scene_id"].astype(str).to_numpy()
    found: dict[str, list[np.ndarray]] = {}
    starts = range(0, len(tiles), _BATCH)
    for start in track(starts, "features"):
        chosen = np.asarray(tiles)[start : start + _BATCH]
        read = store.read(chosen, ["image", "valid"])
        scaled = []
        for image, valid, scene in zip(
            read["image"], read["valid"], scenes[chosen], strict=True
        ):
            stats = store.scene_stats(scene) if normalizer.needs_image_stats else None
            scaled.append(normalizer(image[None], valid[None], stats)[0])
        places = features.places(np.stack(scaled), read["valid"])
        for scene, rows in zip(scenes[chosen], places, strict=True):
            found.setdefault(scene, []).append(rows)
    return {scene: np.concatenate(rows) for scene, rows in found.items()}


def describe_novelty(told: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """What was fitted, and how the tested scenes stand, in lines."""
    lines = []
    for fold, found in told.items():
        lines.append(
            f"fold {fold}: {found['num_scenes']} training scenes, features of "
            f"{found['layer']}; a scene is unusual from {found['scene_limit']:.3f} on"
        )
        for scene, mean in found["tested"].items():
            word = "  unusual" if mean > found["scene_limit"] else ""
            lines.append(f"  {scene} {mean:.3f}{word}")
    return lines
