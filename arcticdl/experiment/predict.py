"""Mapping new scenes with a trained run."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.folder import FULL, fold_path, load_run, trained_folds
from arcticdl.experiment.scenes import find_anchors, open_configured
from arcticdl.sources import open_scene

_RASTERS = (".tif", ".tiff")


def predict(
    run: str | Path,
    inputs: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    fold: int | str = 0,
    tta: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Maps scenes with a fold's model, all folds' models, or a bare ``.keras`` file.

    Args:
        run: Run folder, or a ``.keras`` file that carries its card.
        inputs: Scene files; with a run that stacks files, the first file of each scene.
            None: the scenes that the fold was tested on; with ``fold="all"`` those of
            each fold, by its own model, so that no model maps what it was trained on.
        out: A ``.tif`` for one scene, or a folder; default: ``maps`` in the run folder.
        fold: Whose model; ``"full"``: that of every scene; ``"all"`` maps the inputs
            with the models of all trained folds, averaged, and writes
            ``NAME_spread.tif``, their disagreement.
        tta: Views averaged; default: as configured, ``"none"`` for a bare file.
        overwrite: Replace existing maps.

    Returns:
        The files that were written: class maps, pictures of them, and line maps.

    Raises:
        FileNotFoundError: The run, the fold's model or an input is missing.
        FileExistsError: A map exists and ``overwrite`` is false.
    """
    from arcticdl.inference import load_model

    config, paths = model_files(Path(run), fold)
    if config is not None and not inputs and len(paths) > 1:
        if out is not None and Path(out).suffix.lower() in _RASTERS:
            raise ConfigError(
                f"The held-out scenes of {len(paths)} folds need a folder. Received: "
                f"--out {out}"
            )
        apart = partial(predict, run, (), out, tta=tta, overwrite=overwrite)
        return [p for number in trained_folds(Path(run)) for p in apart(fold=number)]
    scenes = _scenes(config, list(inputs), paths[0].parent / "split.json")
    if out is None and config is None:
        raise ConfigError("A bare model has no run folder. Give `out` (--out).")
    target = Path(run) / "maps" if out is None else Path(out)
    targets = _targets(target, [scene.attrs["scene_id"] for scene in scenes])
    models = [load_model(path) for path in paths]
    written = []
    for scene, target in zip(scenes, targets, strict=True):
        written += _map_scene(models, scene, target, config, tta, overwrite)
    return written


def model_files(run: Path, fold: int | str) -> tuple[Experiment | None, list[Path]]:
    """A run's configuration and the models of a fold, or of ``"all"``.

    A bare ``.keras`` file has no configuration.
    """
    if run.suffix == ".keras":
        if not run.is_file():
            raise FileNotFoundError(f"No such model: {run}")
        return None, [run]
    folder, config = load_run(run)
    if fold == FULL:
        path = fold_path(folder, FULL) / "model.keras"
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no full model. Train it: arcticdl train CONFIG "
                f"--fold {FULL}"
            )
        return config, [path]
    trained = trained_folds(folder)
    if not trained or (fold != "all" and str(fold) not in map(str, trained)):
        raise FileNotFoundError(
            f"Fold {fold} of {folder} is not trained. Trained: {trained}."
        )
    numbers = trained if fold == "all" else [int(fold)]
    return config, [fold_path(folder, number) / "model.keras" for number in numbers]


def _scenes(
    config: Experiment | None, inputs: list[str], split: Path
) -> list[xr.Dataset]:
    if config is None:
        if not inputs:
            raise ConfigError("A bare model needs the scenes to map. Received: none.")
        return [open_scene(path) for path in inputs]
    anchors = find_anchors(config.data, inputs or None)
    if not inputs:
        tested = set(json.loads(split.read_text(encoding="utf-8"))["test"])
        if not tested:
            raise ConfigError(
                "The full model was trained on every scene, so none is left to map. "
                "Name the scenes."
            )
        anchors = [anchor for anchor in anchors if anchor.scene_id in tested]
    return [open_configured(config.data, a, with_labels=False) for a in anchors]


def _targets(out: Path, scene_ids: list[str]) -> list[Path]:
    if out.suffix.lower() in _RASTERS:
        if len(scene_ids) > 1:
            raise ConfigError(
                f"{len(scene_ids)} scenes need a folder. Received: --out {out}"
            )
        return [out]
    repeated = {name for name in scene_ids if scene_ids.count(name) > 1}
    if repeated:
        raise ConfigError(f"Inputs share the names {sorted(repeated)}; map them apart.")
    return [out / f"{name}.tif" for name in scene_ids]


def _map_scene(
    models: list[Any],
    scene: xr.Dataset,
    target: Path,
    config: Experiment | None,
    tta: str | None,
    overwrite: bool,
) -> list[Path]:
    from arcticdl.inference import predict_scene

    settings = config.predict if config else None
    line = settings.line if settings else None
    outputs: tuple[str, ...] = ("class", "confidence")
    outputs += ("spread",) if len(models) > 1 else ()
    maps = predict_scene(
        models,
        scene,
        target,
        tta=tta or (settings.tta if settings else "none"),
        batch_size=settings.batch_size if settings else 4,
        tile_size_px=settings.tile_size_px if settings else None,
        overlap_px=settings.overlap_px if settings else None,
        outputs=(*outputs, "prob") if line else outputs,
        overwrite=overwrite,
    )
    written = [target, _write_picture(scene, maps, target)]
    if config is not None and line is not None:
        classes = config.data.labels[config.label_name].classes
        prob = maps["prob"][classes.index(line)].values
        written += _write_line(prob, scene, target, line)
    return written


def _write_picture(scene: xr.Dataset, maps: xr.Dataset, target: Path) -> Path:
    """Draws scene and class map with legend and scale as NAME.png."""
    from arcticdl.plots import scene_map, write_figure

    both = maps[["class"]].assign({"image": scene["image"], **_validity(scene)})
    figure = scene_map(both, "class", title=str(scene.attrs["scene_id"]))
    return write_figure(figure, target.with_suffix(".png"))


def _validity(scene: xr.Dataset) -> dict[str, xr.DataArray]:
    return {"valid": scene["valid"]} if "valid" in scene else {}


def _write_line(
    prob: np.ndarray, scene: xr.Dataset, target: Path, name: str
) -> list[Path]:
    """Writes NAME_line.tif (1 on the line) and NAME_line.gpkg beside the map."""
    from arcticdl.inference.lines import draw_line, trace_line, write_line
    from arcticdl.inference.output import MapFile, scene_georeference

    path_px, threshold = trace_line(prob)
    line = draw_line(path_px, prob.shape)
    georeference = scene_georeference(scene)
    path = target.with_name(f"{target.stem}_line.tif")
    file = MapFile(
        path,
        line.shape,
        nodata=None,
        georeference=georeference,
        band_names=(f"{name} line",),
        tags={"threshold": f"{threshold:g}"},
    )
    try:
        file.write_rows(0, line[None].astype(np.uint8))
        file.commit()
    except BaseException:
        file.discard()
        raise
    vector = target.with_name(f"{target.stem}_line.gpkg")
    write_line(path_px, vector, georeference, name=name, threshold=threshold)
    return [path, vector]
