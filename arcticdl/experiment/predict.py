"""Predicting for new scenes with a trained run: maps, pictures, lines, tables."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from rich.console import Console

from arcticdl.choices import check_names
from arcticdl.config import Experiment
from arcticdl.config.predict import PredictConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles import layout
from arcticdl.experiment.bundles.models import model_files
from arcticdl.experiment.check import check_maps
from arcticdl.experiment.data.inputs import (
    check_tested,
    files_of,
    open_inputs,
    read_shard,
    refuse_repeated,
    take_share,
)
from arcticdl.experiment.folder import check_writable, trained_folds
from arcticdl.experiment.objects.predict import (
    ObjectWriter,
    build_model_finder,
    tested_counts,
)
from arcticdl.experiment.products import SceneWriter, write_table
from arcticdl.files import safe_name
from arcticdl.inference.maps import NETCDF
from arcticdl.inference.objects.finder import Finder
from arcticdl.inference.predictor import Predictor
from arcticdl.inference.preflight import (
    TRAINED_ON,
    check_like_training,
    joined_record,
)
from arcticdl.models.card import get_card, saved_card
from arcticdl.tasks import TASKS

_FILES = (NETCDF, ".tif", ".tiff")
_TABLE = ".csv"
_NO_MAP = (".geojson", ".gpkg", ".jpeg", ".jpg", ".json", ".png", ".shp", ".zarr")


def predict(
    run: str | Path,
    inputs: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    fold: int | str | None = None,
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
        run: Run folder, a bundle, or a ``.keras`` file that carries its card.
        inputs: Scene files; with a run that stacks files, the first file of each scene.
            None: the scenes that the fold was tested on; with ``fold="all"`` those of
            each fold, by its own model, so that no model maps what it was trained on.
        out: A ``.tif`` or ``.nc`` for one scene, a ``.csv`` for a table, or a folder;
            default: ``maps`` in the run folder, of a bundle or a file ``maps`` here.
        fold: Whose model; default: fold 0 where it is trained, else the only one that
            is. ``"full"``: that of every scene; ``"all"`` maps the inputs
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
            given; a map would replace its scene; or ``resume`` finds a map that other
            models made.
        ConfigError: An override of anything but ``predict``, or of a bare file; a scene
            that a fold was tested on is gone.
        OSError: ``out`` cannot be written to.
    """
    check_names(inputs=inputs, products=products, allow=allow, overrides=overrides)
    check_overrides(overrides)
    part = read_shard(shard)
    config, paths = model_files(Path(run), fold, tuple(overrides))
    if config is not None and overrides:
        check_maps(config)
    _refuse_forecasts(config, run)
    call = _Call(
        sources=files_of(config, inputs) if out is not None else [],
        config=config,
        paths=paths,
        tags=_provenance(Path(run)) if config else {},
        tta=tta,
        products=products,
        allow=allow,
        shard=shard,
        resume=resume,
        overwrite=overwrite,
    )
    if config is not None and not inputs and len(paths) > 1:
        _refuse_one_file(out, len(paths))
        check_tested(config, [path.parent / "split.json" for path in paths])
        each = partial(
            predict,
            run,
            (),
            out,
            **call.options(),
            overrides=overrides,
        )
        return [p for number in trained_folds(Path(run)) for p in each(fold=number)]
    scenes = open_inputs(config, list(inputs), paths[0].parent / "split.json")
    scenes = take_share(scenes, part)
    if not scenes:
        return []
    target = _target(run, out, config)
    check_writable(target.parent if target.suffix else target)
    if _finds_objects(config, paths):
        return _find(call, scenes, target)
    return _map(call, scenes, target)


@dataclass(frozen=True)
class _Call:
    """What a call of `predict` asks for, whatever the model answers."""

    sources: list[str]
    config: Experiment | None
    paths: list[Path]
    tags: dict[str, str]
    tta: str | None
    products: Sequence[str] | None
    allow: Sequence[str]
    shard: str | None
    resume: bool
    overwrite: bool

    @property
    def settings(self) -> PredictConfig:
        return self.config.predict if self.config else PredictConfig()

    def options(self) -> dict[str, Any]:
        """The arguments of `predict` that each fold is given alike."""
        names = ("tta", "products", "allow", "shard", "resume", "overwrite")
        return {name: getattr(self, name) for name in names}


def _find(call: _Call, scenes: Sequence[xr.Dataset], target: Path) -> list[Path]:
    """Finds the objects of all scenes."""
    settings = call.settings
    tta = call.tta or settings.tta
    if call.products or tta != "none":
        raise ConfigError(
            "Products are made of maps and views average them; this model finds "
            f"objects. Received: products={call.products}, tta={tta}."
        )
    finder = build_model_finder(call.paths, settings)
    compare_with_training(finder, scenes, call.config, call.allow)
    folder, score = call.paths[0].parent, settings.objects.count_score
    return ObjectWriter(
        finder,
        call.paths,
        settings,
        tested=tested_counts(folder, score) if call.config else None,
        tags=call.tags,
        resume=call.resume,
        overwrite=call.overwrite,
    ).write_all(scenes, target)


def _map(call: _Call, scenes: list[xr.Dataset], target: Path) -> list[Path]:
    """Maps all scenes, and writes the table of what is answered about each."""
    settings = call.settings
    line = (call.config.line_rule or False) if call.config else None
    predictor = _predictor(settings, call.paths, call.tta, line)
    targets = {head.spec.target for head in predictor.heads.values()}
    _check_targets(call, targets)
    compare_with_training(predictor, scenes, call.config, call.allow)
    written: list[Path] = []
    if "pixel" in targets:
        writer = SceneWriter(
            predictor,
            call.paths,
            products=_products(settings, call.products),
            grid=settings.grid.model_dump() if settings.grid else None,
            tags=call.tags,
            overlap_px=settings.overlap_px,
            resume=call.resume,
            overwrite=call.overwrite,
            sources=call.sources,
        )
        written += _write_maps(writer, scenes, target)
    if "image" in targets:
        replace = call.overwrite or call.resume
        written.append(write_table(predictor, scenes, target, replace))
    return written


def _check_targets(call: _Call, targets: Collection[str]) -> None:
    """Refuses what a model that answers for whole images cannot do."""
    if "image" in targets and call.shard is not None:
        raise ConfigError(
            "Answers about whole images are one table, which calls side by side would "
            f"replace. Received: --shard {call.shard}"
        )
    if call.products and "pixel" not in targets:
        raise ConfigError(
            "Products are made of maps, and this model answers for whole images. "
            f"Received: products={list(call.products)}."
        )


def _refuse_one_file(out: str | Path | None, num_folds: int) -> None:
    """The held-out scenes of several folds are never one file."""
    if out is not None and Path(out).suffix.lower() in (*_FILES, _TABLE):
        raise ConfigError(
            f"The held-out scenes of {num_folds} folds need a folder. Received: "
            f"--out {out}"
        )


def _target(run: str | Path, out: str | Path | None, config: Experiment | None) -> Path:
    """What is named, or the folder of a run's maps; of what is no run, one here."""
    if out is not None:
        return Path(out)
    alone = config is None or layout.is_bundle(Path(run))
    return Path("maps") if alone else Path(run) / "maps"


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
        heads = (saved_card(paths[0]) or {}).get("heads", {}).values()
        tasks = [TASKS.get(head["task"]) for head in heads]  # none: loading tells why
        return any(task is not None and task.target == "object" for task in tasks)
    return any(TASKS[config.task_of(n)].target == "object" for n in config.each_head)


def _write_maps(
    writer: SceneWriter, scenes: list[xr.Dataset], target: Path
) -> list[Path]:
    """Maps scenes one after the other, once all of them may be written."""
    names = [str(scene.attrs["scene_id"]) for scene in scenes]
    files = _targets(target, names, [writer.ending(scene) for scene in scenes])
    for scene, file in zip(scenes, files, strict=True):
        writer.check(scene, file)
    return writer.write_all(scenes, files)


def _predictor(
    settings: PredictConfig, paths: list[Path], tta: str | None, line: Any
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


def compare_with_training(
    predictor: Predictor | Finder,
    scenes: Sequence[xr.Dataset],
    config: Experiment | None,
    allow: Sequence[str],
) -> None:
    """Refuses scenes unlike those of training, or says how they differ.

    Args:
        predictor: What answers, with the cards of its members.
        scenes: With the bands of the cards.
        config: Of the run, which may allow a difference as well; ``None``: there is no
            run.
        allow: As of ``check_like_training``.

    Raises:
        ValueError: As of ``check_like_training``.
    """
    allowed = {*allow, *(config.predict.allow if config else ())}
    card = predictor.card
    if isinstance(predictor, Predictor) and len(predictor.members) > 1:
        cards = [get_card(member.model) or {} for member in predictor.members]
        told = joined_record([card.get(TRAINED_ON) for card in cards])
        card = {**(predictor.card or {}), TRAINED_ON: told}
    say = Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print
    for scene in scenes:
        for difference in check_like_training(card, scene, allowed):
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


def _targets(out: Path, scene_ids: Sequence[str], endings: Sequence[str]) -> list[Path]:
    """Files of the chief maps: the one that is named, or each scene's in a folder."""
    if out.suffix.lower() in _FILES:
        if len(scene_ids) > 1:
            raise ConfigError(
                f"{len(scene_ids)} scenes need a folder. Received: --out {out}"
            )
        return [out]
    if out.suffix.lower() in _NO_MAP and not out.is_dir():
        raise ConfigError(
            "Maps are NAME.tif or NAME.nc of one scene, or go to a folder; what is "
            f"made of them stands beside (--products png). Received: --out {out}"
        )
    names = [safe_name(name) for name in scene_ids]  # they come from the files
    refuse_repeated(names)
    return [
        out / f"{name}{ending}" for name, ending in zip(names, endings, strict=True)
    ]
