"""Fitting what is normal to the autoencoders of a run, and measuring new scenes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.inputs import open_inputs
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run, write_json
from arcticdl.experiment.uncertainty.novelty import features_by_scene, model_of_scenes
from arcticdl.progress import track
from arcticdl.tiles import TileStore

PICTURE = "latent.png"
"""Name, beside the model, of the picture of what the numbers of a code mean."""


def fit_anomalies(
    run: str | Path,
    *,
    fold: str | int = "all",
    quantile: float = 0.99,
    window_px: int = 5,
    num_clusters: int = 6,
) -> dict[int, dict[str, Any]]:
    """Fits, for each fold of autoencoders, the error that normal scenes stay below.

    The limit is that of the scenes that validate the fold: they are to be normal, and
    trained nothing. Clusters of codes come from the training tiles. The fit lies beside
    the model, as ``foldK/anomalies.npz`` and ``.json``, with a picture of what the
    numbers of the code mean, ``latent.png``; maps then have the outputs ``anomaly`` and
    ``cluster``, and bundles carry the fit.

    Args:
        run: Run folder.
        fold: Number, or ``"all"`` that are trained.
        quantile: Share of the pixels of a normal scene that are normal.
        window_px: Side of the square that errors are averaged over, odd: about as large
            as what is looked for.
        num_clusters: Groups of codes, 2 to 20.

    Returns:
        Fold -> what was fitted, in numbers: ``limit``, ``scenes`` (the quantile of each
        normal scene), ``tested`` (share beyond the limit of each scene that tests the
        fold), ``unusual`` (those beyond it by more than is normal), ``std`` of each
        number of the code.

    Raises:
        ConfigError: Nothing validates the folds, or the fold is not trained.
        ValueError: The network is no autoencoder, or an option is out of range.
        FileNotFoundError: No such run or store.
    """
    folder, config = load_run(run)
    if not config.folds.validates:
        raise ConfigError(
            "The limit of anomalies is that of normal scenes that trained nothing: set "
            "`folds.validation_groups` or `folds.validation`, and train anew. "
            f"Received: {folder} without."
        )
    numbers = chosen_folds(folder, fold)
    store = open_prepared(config)
    told = {}
    for number, split in folds_of_run(folder, store, config, numbers).items():
        fitting = _Fitting(
            fold_path(folder, int(number)) / "model.keras",
            store,
            config.predict.overlap_px,
            window_px,
        )
        told[int(number)] = fitting.fit(
            split, quantile=quantile, num_clusters=num_clusters, seed=config.seed
        )
    return told


class _Fitting:
    """The autoencoder of a fold, as it measures scenes of its store."""

    def __init__(
        self, path: Path, store: TileStore, overlap_px: int | None, window_px: int
    ) -> None:
        from arcticdl.inference.anomalies import fit, measure
        from arcticdl.inference.novelty.features import weights_digest
        from arcticdl.inference.predictor import Predictor

        self.path, self.store, self.overlap_px = path, store, overlap_px
        self.predictor = Predictor(path)
        (network, normalizer), *_ = self.predictor.members
        self.codes = measure.Codes(network)
        self.scaling = measure.read_scaling(self.predictor.card or {})
        self.begun = fit.unfitted(window_px)._replace(weights=weights_digest(network))
        self.predictor.forward = measure.with_codes(
            self.predictor.forward, network, normalizer, self.begun, {"anomaly"}
        )

    def fit(
        self, split: Any, *, quantile: float, num_clusters: int, seed: int
    ) -> dict[str, Any]:
        """Fits and writes; returns what is told of it."""
        from arcticdl.inference.anomalies import fit
        from arcticdl.inference.novelty.saved import write_fit

        fit.check_quantile(quantile)
        rows = features_by_scene(self.codes, self.predictor, self.store, split.train)
        codes = np.concatenate(list(rows.values()))
        centres = fit.fit_clusters(codes, num_clusters, seed=seed)
        usual = {  # of one scene's errors at a time
            name: fit.usual_error(each, quantile)
            for name, each in self._errors(split.validation, "normal scenes")
        }
        found = self.begun._replace(
            limit=fit.greatest_error(usual),
            quantile=quantile,
            num_scenes=len(usual),
            centres=centres,
            mean=codes.mean(0),
            std=codes.std(0),
        )
        write_fit(found, self.path.with_name(fit.FILE))
        tested, unusual = {}, []
        for name, each in self._errors(split.test, "tested scenes"):
            tested[name] = float((each > found.limit).mean())
            if fit.usual_error(each, quantile) > found.limit:
                unusual.append(name)
        told = {
            "limit": found.limit,
            "quantile": quantile,
            "window_px": found.window_px,
            "num_scenes": found.num_scenes,
            "scenes": usual,
            "tested": tested,
            "unusual": unusual,
            "kind": self.codes.parts.kind,
            "std": found.std.astype(float).tolist(),
        }
        write_json(self.path.with_name("anomalies.json"), told)
        self._draw(split.train, found, seed)
        return told

    def _errors(self, tiles: np.ndarray, what: str) -> Iterator[tuple[str, np.ndarray]]:
        """Errors of all valid pixels of each scene."""
        from arcticdl.tiles.views.assemble import assemble_scene

        scenes = self.store.manifest["scene_id"].astype(str).to_numpy()[tiles]
        for name in track(np.unique(scenes), what):
            scene, _ = assemble_scene(self.store, tiles[scenes == name].tolist())
            found = scene_errors(
                self.predictor, scene, self.store.scene_stats(name), self.overlap_px
            )
            if len(found):
                yield name, found

    def _draw(self, tiles: np.ndarray, found: Any, seed: int) -> None:
        """Draws what the numbers of the code mean, of the fullest training tile."""
        from arcticdl.plots import latent_traversal, write_figure

        full = self.store.manifest["valid_fraction"].to_numpy()[tiles]
        chosen = tiles[[int(full.argmax())]]
        read = self.store.read(chosen, ["image", "valid"])
        scene = str(self.store.manifest["scene_id"].iloc[chosen[0]])
        stats = self.store.scene_stats(scene)
        normalizer = self.predictor.members[0].normalizer
        scaled = normalizer(read["image"], read["valid"], stats)
        band = self.scaling.places[0]
        image = np.where(read["valid"][0], read["image"][0, ..., band], np.nan)
        figure = latent_traversal(
            self.codes.parts, scaled, image, mean=found.mean, std=found.std, seed=seed
        )
        write_figure(figure, self.path.with_name(PICTURE))


def scene_errors(
    predictor: Any, scene: Any, stats: Any, overlap_px: int | None
) -> np.ndarray:
    """Errors over the limit of all valid pixels of a scene, which is read in strips.

    Args:
        predictor: An autoencoder whose forward pass tells anomalies.
        scene: A scene.
        stats: Statistics of the whole scene, or ``None``: measured where needed.
        overlap_px: Overlap of windows; ``None``: a quarter.
    """
    from arcticdl.inference.forward import OF_CODE
    from arcticdl.inference.predict import finished_rows

    scene, stats = predictor.prepare(scene, stats)
    overlap = min(predictor.window) // 4 if overlap_px is None else overlap_px
    strips = finished_rows(predictor, scene, stats, overlap)
    found = [
        answers[OF_CODE["anomaly"]][..., 0][valid]
        for _, answers, valid in strips
        if valid.any()
    ]
    return np.concatenate(found)


def measure_anomalies(
    run: str | Path, inputs: Sequence[str], *, fold: str | int | None = None
) -> list[Any]:
    """Says of new scenes how much of them is rebuilt worse than normal scenes are.

    Args:
        run: Run folder, bundle, or ``.keras`` file with ``anomalies.npz`` beside it.
        inputs: Scene files.
        fold: Whose model; default: as of `predict`.

    Returns:
        A `inference.anomalies.measure.SceneAnomalies` for each scene.

    Raises:
        ConfigError: Several folds at once, or no scene.
        FileNotFoundError: The fold has no fit.
        ValueError: The fit is of other weights, or a scene has no valid pixel.
    """
    check_names(inputs=inputs)
    from arcticdl.inference.anomalies.fit import FILE, Anomalies, usual_error
    from arcticdl.inference.anomalies.measure import SceneAnomalies
    from arcticdl.inference.novelty.saved import read_fit
    from arcticdl.inference.predictor import Predictor

    config, path = model_of_scenes(run, inputs, fold)
    predictor = Predictor(path, outputs=("anomaly",))
    quantile = read_fit(Anomalies, path.with_name(FILE)).quantile
    overlap = config.predict.overlap_px if config else None
    found = []
    for scene in open_inputs(config, list(inputs), path.parent / "split.json"):
        errors = scene_errors(predictor, scene, None, overlap)
        share = float((errors > 1).mean())
        name = str(scene.attrs.get("scene_id", "?"))
        unusual = usual_error(errors, quantile) > 1
        found.append(SceneAnomalies(name, share, unusual))
    return found


def describe_anomalies(told: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """What was fitted, and how the tested scenes stand, in lines."""
    lines = []
    for fold, found in told.items():
        few = found["num_scenes"]
        lines.append(
            f"fold {fold}: limit {found['limit']:.4g}, below which "
            f"{100 * found['quantile']:g} % of each of {few} normal scene"
            f"{'' if few == 1 else 's'} lie"
        )
        if found["kind"] == "variational":
            # Burda et al. 2016, arXiv:1509.00519: what varies is used.
            used = sum(std**2 > 0.01 for std in found["std"])
            lines.append(f"  {used} of {len(found['std'])} numbers of the code in use")
        for scene, share in found["tested"].items():
            word = "  unusual" if scene in found["unusual"] else ""
            lines.append(f"  {scene}: {100 * share:.2f} % beyond the limit{word}")
    return lines
