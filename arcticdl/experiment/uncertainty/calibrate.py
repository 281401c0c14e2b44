"""Calibrating the models of a run on the scenes that validated them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arcticdl.choices import check_names
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import (
    FULL,
    Fold,
    chosen_folds,
    fold_path,
    forget_answers,
    load_run,
    write_json,
)
from arcticdl.experiment.predict import check_overrides


def calibrate(
    run: str | Path, *, fold: str | int = "all", overrides: tuple[str, ...] = ()
) -> dict[Fold, dict[str, Any]]:
    """Scales the logits of a run's models, and calibrates sets that cover.

    Each model is calibrated on the validation part of its fold: it has not learnt from
    it, and what tests the fold stays unseen. ``predict.calibration`` says how. The
    model is replaced by one with the same weights, whose answers, maps, scores and
    exports are calibrated; ``method: none`` takes an earlier calibration away. Scores
    and exports of before are removed: make them anew.

    Args:
        run: Run folder.
        fold: Number, ``"all"`` that are trained, or ``"full"``.
        overrides: ``predict.KEY=VALUE`` texts that replace values of the run's
            configuration for this call.

    Returns:
        Fold -> what `evaluation.calibrate_model` tells of its heads, which is written
        to ``foldK/calibration.json`` too.

    Raises:
        ConfigError: Nothing validates the folds, or the fold is not trained.
        CalibrationError: Too few units for the coverage, or no labels.
        FileNotFoundError: No such run or store.
    """
    check_names(overrides=overrides)
    from arcticdl.evaluation.calibrate.scenes import calibrate_model
    from arcticdl.inference import load_model
    from arcticdl.training.fit import save_model

    check_overrides(overrides)
    folder, config = load_run(run, overrides)
    if not config.folds.validates:
        raise ConfigError(
            "Calibration needs scenes that neither train nor test a model: set "
            "`folds.validation_groups` or `folds.validation`, and train anew. "
            f"Received: {folder} without."
        )
    numbers: list[Fold] = [FULL] if fold == FULL else [*chosen_folds(folder, fold)]
    store = open_prepared(config)
    settings = config.predict
    found: dict[Fold, dict[str, Any]] = {}
    for number, split in folds_of_run(folder, store, config, numbers).items():
        path = fold_path(folder, number) / "model.keras"
        model, told = calibrate_model(
            load_model(path),
            store,
            split.validation,
            method=settings.calibration.method,
            coverage=settings.calibration.coverage,
            unit=config.folds.group,
            tta=settings.tta,
            mc_dropout=settings.mc_dropout,
            tile_size_px=settings.tile_size_px,
            overlap_px=settings.overlap_px,
            batch_size=settings.batch_size,
            seed=config.seed,
        )
        forget_answers(folder, number)
        write_json(path.with_name("calibration.json"), told)
        save_model(model, path)
        found[number] = told
    return found


def describe_calibration(found: Mapping[Fold, Mapping[str, Any]]) -> list[str]:
    """What was fitted, in a line for each fold and head."""
    lines = []
    for fold, heads in found.items():
        for name, told in heads.items():
            lines.append(f"fold {fold}, {name}: {_in_words(told)}")
    return lines


def _in_words(told: Mapping[str, Any]) -> str:
    parts = []
    scale = told.get("scale", [])
    if told.get("method") == "temperature" and len(set(scale)) == 1:
        parts.append(f"temperature {1 / scale[0]:.3f}")
    elif told.get("method", "none") != "none":
        parts.append(told["method"])
    if "nll_after" in told and told["method"] != "none":
        before, after = told["nll_before"], told["nll_after"]
        parts.append(f"negative log-likelihood {before:.4f} -> {after:.4f}")
    if "margin" in told:
        covers = f"for a coverage of {told['coverage']:g}"
        parts.append(f"margin {told['margin']:.4g} {covers}")
    units = f"{told['num_units']} of {told['unit']}"
    return f"{', '.join(parts) or 'as trained'} ({units})"
