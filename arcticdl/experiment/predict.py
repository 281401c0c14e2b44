"""Predicting for new scenes with a trained run: maps, pictures, lines, tables."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from rich.console import Console

from arcticdl.config import Experiment
from arcticdl.config.predict import PredictConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles import layout
from arcticdl.experiment.bundles.models import model_files
from arcticdl.experiment.check import check_maps
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.data.series import join_dates
from arcticdl.experiment.folder import trained_folds
from arcticdl.experiment.objects.network import finds_objects
from arcticdl.experiment.objects.predict import (
    ObjectWriter,
    build_model_finder,
    tested_counts,
)
from arcticdl.experiment.products import SceneWriter, write_table
from arcticdl.experiment.scenes import open_configured
from arcticdl.files import safe_name
from arcticdl.inference.load import load_model
from arcticdl.inference.maps import NETCDF
from arcticdl.inference.objects.finder import Finder
from arcticdl.inference.predictor import Predictor
from arcticdl.inference.preflight import check_like_training
from arcticdl.models.card import model_heads
from arcticdl.sources import open_scene
from arcticdl.tasks import TASKS

_FILES = (NETCDF, ".tif", ".tiff")
_TABLE = ".csv"


def predict(
    run: str | Path,
    inputs: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    fold: int | str = 0,
    tta: str | None = None,
    products: Sequence[str] | None = None,
    allow: Sequence[str] = (),
    shard: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
) -> list[Path]:
    """Answers for scenes with a fold's model, all folds' models, or a bare file.

    Heads that answer for each pixel leave maps, heads that answer for whole images a
    table, one row a scene. The files of one scene appear together when it is done.

    Args:
        run: Run folder, or a ``.keras`` file that carries its card.
        inputs: Scene files; with a run that stacks files, the first file of each scene.
            None: the scenes that the fold was tested on; with ``fold="all"`` those of
            each fold, by its own model, so that no model maps what it was trained on.
        out: A ``.tif`` or ``.nc`` for one scene, a ``.csv`` for a table, or a folder;
            default: ``maps`` in the run folder.
        fold: Whose model; ``"full"``: that of every scene; ``"all"`` maps the inputs
            with the models of all trained folds, averaged, and writes
            ``NAME_spread.tif``, their disagreement.
        tta: Views averaged; default: as configured, ``"none"`` for a bare file.
        products: What is made of the maps, names of
            ``arcticdl.inference.products.table.PRODUCTS`` with the options that the
            configuration gives them; default: as configured, a picture for a bare file.
        allow: ``"scale"``, ``"resolution"``: what may differ from the training scenes
            beyond the limit, besides what the configuration allows.
        shard: ``"I/N"``: only every N-th scene, from the I-th on (1 is the first), so
            that N calls map all of them side by side.
        resume: Leave alone the scenes that an earlier call with the same models has
            finished, and go on with the others; products that one of them lacks are
            made of its maps.
        overwrite: Replace existing files.
        overrides: ``predict.KEY=VALUE`` texts that replace values of the run's
            configuration for this call, such as ``"predict.thresholds={ice: 0.6}"``.

    Returns:
        The files of all scenes: maps, pictures of them and lines, or the table.

    Raises:
        ValueError: A scene is unlike those of training, or lacks what a product needs.
        FileNotFoundError: The run, the fold's model or an input is missing.
        FileExistsError: A file exists, and neither ``resume`` nor ``overwrite`` is
            given; or ``resume`` finds a map that other models made.
        ConfigError: An override of anything but ``predict``, or of a bare file.
    """
    check_overrides(overrides)
    part = read_shard(shard)
    config, paths = model_files(Path(run), fold, tuple(overrides))
    if config is not None and overrides:
        check_maps(config)
    _refuse_forecasts(config, run)
    if config is not None and not inputs and len(paths) > 1:
        if out is not None and Path(out).suffix.lower() in (*_FILES, _TABLE):
            raise ConfigError(
                f"The held-out scenes of {len(paths)} folds need a folder. Received: "
                f"--out {out}"
            )
        apart = partial(
            predict,
            run,
            (),
            out,
            tta=tta,
            products=products,
            allow=allow,
            shard=shard,
            resume=resume,
            overwrite=overwrite,
            overrides=overrides,
        )
        return [p for number in trained_folds(Path(run)) for p in apart(fold=number)]
    scenes = open_inputs(config, list(inputs), paths[0].parent / "split.json")
    scenes = _share(scenes, part)
    if not scenes:
        return []
    if out is None and (config is None or layout.is_bundle(Path(run))):
        raise ConfigError(
            "A bare model or a bundle has no run folder. Give `out` (--out)."
        )
    target = Path(run) / "maps" if out is None else Path(out)
    settings = config.predict if config else PredictConfig()
    tags = _provenance(Path(run)) if config else {}
    if _finds_objects(config, paths):
        if products or (tta or settings.tta) != "none":
            raise ConfigError(
                "Products are made of maps and views average them; this model finds "
                f"objects. Received: products={products}, tta={tta or settings.tta}."
            )
        finder = build_model_finder(paths, settings)
        _compare_with_training(finder, scenes, config, allow)
        score = settings.objects.count_score
        return ObjectWriter(
            finder,
            paths,
            settings,
            tested=tested_counts(paths[0].parent, score) if config else None,
            tags=tags,
            resume=resume,
            overwrite=overwrite,
        ).write_all(scenes, target)
    predictor = _predictor(settings, paths, tta, config.line_class if config else None)
    targets = {head.spec.target for head in predictor.heads.values()}
    if "image" in targets and shard is not None:
        raise ConfigError(
            "Answers about whole images are one table, which calls side by side would "
            f"replace. Received: --shard {shard}"
        )
    if products and "pixel" not in targets:
        raise ConfigError(
            "Products are made of maps, and this model answers for whole images. "
            f"Received: products={list(products)}."
        )
    _compare_with_training(predictor, scenes, config, allow)
    written: list[Path] = []
    if "pixel" in targets:
        writer = SceneWriter(
            predictor,
            paths,
            products=_products(settings, products),
            grid=settings.grid.model_dump() if settings.grid else None,
            tags=tags,
            overlap_px=settings.overlap_px,
            resume=resume,
            overwrite=overwrite,
        )
        written += _write_maps(writer, scenes, target)
    if "image" in targets:
        written.append(write_table(predictor, scenes, target, overwrite or resume))
    return written


def _refuse_forecasts(config: Experiment | None, run: str | Path) -> None:
    """What a forecast is told besides comes from the store, not from files."""
    series = None if config is None else config.data.series
    if series is not None and series.context is not None:
        raise ConfigError(
            "A run with `data.series.context` forecasts from its store. Map it by: "
            f"arcticdl forecast {run}"
        )


def _finds_objects(config: Experiment | None, paths: Sequence[Path]) -> bool:
    """Whether a model answers with boxes: the configuration says, or its card."""
    if config is None:
        return finds_objects(model_heads(load_model(paths[0])))
    return any(TASKS[config.task_of(n)].target == "object" for n in config.each_head)


def _write_maps(
    writer: SceneWriter, scenes: list[xr.Dataset], target: Path
) -> list[Path]:
    """Maps scenes one after the other, once all of them may be written."""
    names = [str(scene.attrs["scene_id"]) for scene in scenes]
    files = _targets(target, names, [writer.ending(scene) for scene in scenes])
    for scene, file in zip(scenes, files, strict=True):
        writer.check(scene, file)
    return [
        path
        for scene, file in zip(scenes, files, strict=True)
        for path in writer.write(scene, file)
    ]


def _predictor(
    settings: PredictConfig, paths: list[Path], tta: str | None, line: str | None
) -> Predictor:
    """The models made ready, as the configuration says."""
    return Predictor(
        paths,
        tta=tta or settings.tta,
        mc_dropout=settings.mc_dropout,
        batch_size=settings.batch_size,
        tile_size_px=settings.tile_size_px,
        outputs=_outputs(settings, len(paths) > 1),
        with_spread=len(paths) > 1 or settings.mc_dropout is not None,
        line=line,
        thresholds=settings.thresholds,
        postprocess=settings.steps,
    )


def _outputs(settings: PredictConfig, several: bool) -> tuple[str, ...] | None:
    """What is asked for, and what a line and several models need beside it."""
    if settings.outputs is None:
        return None
    further = ("prob",) * bool(settings.line) + ("spread",) * several
    return tuple(dict.fromkeys((*settings.outputs, *further)))


def _compare_with_training(
    predictor: Predictor | Finder,
    scenes: Sequence[xr.Dataset],
    config: Experiment | None,
    allow: Sequence[str],
) -> None:
    """Refuses scenes unlike those of training, or says how they differ."""
    allowed = {*allow, *(config.predict.allow if config else ())}
    say = Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print
    for scene in scenes:
        for difference in check_like_training(predictor.card, scene, allowed):
            say(f"note: {difference}")


def _products(
    settings: PredictConfig, names: Sequence[str] | None
) -> list[dict[str, Any]]:
    """What is asked for, with the options of the configuration."""
    given = {product.name: product.as_product() for product in settings.products}
    if names is None:
        return list(given.values())
    return [given.get(name, {"name": name}) for name in names]


def _provenance(run: Path) -> dict[str, str]:
    """What a run's record says of where its models come from."""
    told = {"run": run.resolve().name}
    record = run / "environment.json"
    if record.is_file():
        known = json.loads(record.read_text(encoding="utf-8"))
        told["commit"] = known.get("commit") or ""
        told["training_data"] = known.get("data_fingerprint") or ""
    return {f"arcticdl_{key}": value for key, value in told.items() if value}


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuses overrides of what a trained model cannot be given any more.

    Raises:
        ConfigError: A key that is not of ``predict``.
    """
    for text in overrides:
        if not text.startswith("predict."):
            raise ConfigError(
                "A trained model can be used in another way, not be made another: "
                f"--set takes keys of `predict`. Received: --set {text}"
            )


def open_inputs(
    config: Experiment | None, inputs: list[str], split: Path
) -> list[xr.Dataset]:
    """Opens the scenes that are named, or those that a fold was tested on.

    Args:
        config: The run's configuration; ``None`` of a bare model.
        inputs: Files; none: the tested ones.
        split: The fold's ``split.json``.

    Raises:
        ConfigError: None is named, of a bare or of the full model.
    """
    if config is None:
        if not inputs:
            raise ConfigError("A bare model needs the scenes to map. Received: none.")
        return [open_scene(path) for path in inputs]
    anchors = find_anchors(config.data, inputs or None)
    tested: set[str] | None = None
    if not inputs:
        tested = set(json.loads(split.read_text(encoding="utf-8"))["test"])
        if not tested:
            raise ConfigError(
                "The full model was trained on every scene, so none is left to map. "
                "Name the scenes."
            )
    series = config.data.series  # whose earlier dates are seen, if not mapped
    if tested is not None and series is None:
        anchors = [anchor for anchor in anchors if anchor.scene_id in tested]
    scenes = [open_configured(config.data, a, with_labels=False) for a in anchors]
    return scenes if series is None else join_dates(scenes, series, tested)


def read_shard(text: str | None) -> tuple[int, int]:
    """The number of a part, from 1 on, and how many there are; ``None``: one of one.

    Raises:
        ConfigError: It is not ``I/N`` with I in 1 to N.
    """
    number, _, count = ("1/1" if text is None else text).partition("/")
    if not (number.isdecimal() and count.isdecimal() and 0 < int(number) <= int(count)):
        raise ConfigError(
            f"--shard is I/N, the I-th of N parts, such as 1/8 to 8/8. Received: {text}"
        )
    return int(number), int(count)


def _share(scenes: list[xr.Dataset], part: tuple[int, int]) -> list[xr.Dataset]:
    """Every N-th scene, once it is known that the parts write different files."""
    if part[1] > 1:
        _refuse_repeated([safe_name(str(scene.attrs["scene_id"])) for scene in scenes])
    return scenes[part[0] - 1 :: part[1]]


def _refuse_repeated(names: Sequence[str]) -> None:
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigError(f"Inputs share the names {sorted(repeated)}; map them apart.")


def _targets(out: Path, scene_ids: Sequence[str], endings: Sequence[str]) -> list[Path]:
    """Files of the chief maps: the one that is named, or each scene's in a folder."""
    if out.suffix.lower() in _FILES:
        if len(scene_ids) > 1:
            raise ConfigError(
                f"{len(scene_ids)} scenes need a folder. Received: --out {out}"
            )
        return [out]
    names = [safe_name(name) for name in scene_ids]  # they come from the files
    _refuse_repeated(names)
    return [
        out / f"{name}{ending}" for name, ending in zip(names, endings, strict=True)
    ]
