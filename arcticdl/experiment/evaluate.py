"""Scoring trained folds on what they did not see."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles import layout
from arcticdl.experiment.bundles.score import score_bundle
from arcticdl.experiment.data.ceilings import open_ceilings
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run, refuse_seen
from arcticdl.experiment.data.series import as_series
from arcticdl.experiment.data.within import scenes_beside, strata_within
from arcticdl.experiment.ensembles.joined import evaluate_file
from arcticdl.experiment.folder import (
    chosen_folds,
    fold_path,
    load_run,
    trained_folds,
    write_json,
)
from arcticdl.experiment.objects.instances import instance_rule
from arcticdl.experiment.split import Split
from arcticdl.tasks import SCORES, Head
from arcticdl.tiles import TileStore, open_store
from arcticdl.tiles.folds.made import observed_tiles

_SCORED_SO = (
    "batch_size", "line", "mc_dropout", "objects", "overlap_px", "tile_size_px", "tta",
)  # fmt: skip
"""Keys of ``predict`` by which scores change; the others are of what is written."""


def evaluate(
    run: str | Path,
    *,
    data: str | Path | None = None,
    fold: str | int = "all",
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Scores the trained folds of a run and pools them.

    Args:
        run: Run folder; or a bundle, or a ``.keras`` file such as an ensemble, with
            ``data``.
        data: Another store, scored whole by the fold (of several: by each); default:
            each fold's held-out scenes. Columns of ``strata`` and the label of
            ``instances`` that it lacks are left out.
        fold: Number, or ``all`` that are trained.
        overrides: ``predict.KEY=VALUE`` texts for this call, such as
            ``"predict.tta=d4"``. The result is returned, without baselines, and leaves
            no file: those of a run are of its own configuration.

    Returns:
        The chosen folds' result, pooled. ``summary.json`` pools all folds that are
        scored; with another store each fold has ``metrics_STORE.json`` and
        ``pictures_STORE`` instead.

    Raises:
        FileNotFoundError: No such run, or no trained fold.
        ConfigError: The fold is not trained, or a file or a bundle is to be scored
            without a store; an override of what changes no score, or of a file.
        SplitError: A fold, or a member of an ensemble, has seen a scene of the store;
            or the experiment's own store would deal a fold's scenes anew.
    """
    _check_overrides(run, overrides)
    if Path(run).suffix == ".keras":
        return evaluate_file(run, data)
    if layout.is_bundle(Path(run)):
        whole = partial(_evaluate_fold, split=None, end="")
        return score_bundle(Path(run), data, overrides, whole)
    from arcticdl.evaluation import pool_folds
    from arcticdl.inference import load_model

    folder, config = load_run(run, tuple(overrides))
    if overrides:
        config = config.model_copy(update={"baselines": False})
    numbers = chosen_folds(folder, fold)
    if data is None:
        store = open_prepared(config)
    else:
        refuse_seen([fold_path(folder, n) for n in numbers], config, data)
        store = as_series(open_store(data), config)
    splits = folds_of_run(folder, store, config, numbers) if data is None else None
    results = []
    for number in numbers:
        fold_dir = fold_path(folder, number)
        model = load_model(fold_dir / "model.keras")
        split = splits[number] if splits else None
        end = "" if data is None else f"_{Path(data).stem}"
        with ExitStack() as tried:  # files of another way to predict are lost
            kept = fold_dir
            if overrides:
                kept = Path(tried.enter_context(TemporaryDirectory(prefix="arcticdl-")))
            result = _evaluate_fold(config, store, split, model, kept, end)
            result |= {"fold": number}
            write_json(kept / f"metrics{end}.json", result)
        results.append(result)
    if data is None and not overrides:
        write_json(folder / "summary.json", pool_folds(_scored(folder)))
    return pool_folds(results)


def _check_overrides(run: str | Path, overrides: Sequence[str]) -> None:
    """Refuses overrides that would change no score.

    Raises:
        ConfigError: A key that none hangs on, or a bare model.
    """
    check_names(overrides=overrides)
    for text in overrides:
        section, _, key = text.split("=")[0].strip().partition(".")
        if section != "predict" or key.split(".")[0] not in _SCORED_SO:
            raise ConfigError(
                "A trained model is scored in another way by "
                f"{', '.join(_SCORED_SO)} of `predict`. Received: --set {text}"
            )
    if overrides and Path(run).suffix == ".keras":
        raise ConfigError(
            "A bare model has no configuration whose values could be set. Score the "
            f"run that it came from. Received: --set {overrides[0]} with {run}"
        )


def _scored(folder: Path) -> list[dict[str, Any]]:
    """The results of all folds scored so far, also by earlier calls."""
    paths = [fold_path(folder, n) / "metrics.json" for n in trained_folds(folder)]
    return [json.loads(p.read_text(encoding="utf-8")) for p in paths if p.exists()]


def _evaluate_fold(
    config: Experiment,
    store: TileStore,
    split: Split | None,
    model: Any,
    path: Path,
    end: str,
) -> dict[str, Any]:
    """One result a head; of a single head the result itself.

    Pictures are written beside it, in a folder of their own for another store.
    Models and baselines are scored on labels that no model's confidence has corrected.
    """
    from arcticdl.labelling.unaided import for_tests
    from arcticdl.models.card import model_heads

    store = for_tests(store)
    evaluations = _answered(config, store, split, model)
    several = len(evaluations) > 1
    heads = model_heads(model).values()
    results = {}
    for (label, evaluation), head in zip(evaluations.items(), heads, strict=True):
        pictures = path / f"pictures{end}"
        kept = path / (f"baselines_{label}.json" if several else "baselines.json")
        result = _told(evaluation, head, pictures / label if several else pictures)
        result |= _by_scenes(config, store, split, label, result)
        result["baselines"] = {}
        if config.baselines and split is not None:
            known = model, head, label
            result["baselines"] = _beside(config, store, split, known, kept)
        results[label] = result
    return {"heads": results} if several else results[label]


def _answered(
    config: Experiment, store: TileStore, split: Split | None, model: Any
) -> dict[str, Any]:
    """Evaluations of a model on the test scenes, or on all of a store without folds."""
    from arcticdl.evaluation.scenes import evaluate_scenes

    lacks_numbers = split is None and config.instances not in store.labels
    return evaluate_scenes(
        model,
        store,
        _tested(store, split),
        line=config.line_rule,
        tta=config.predict.tta,
        mc_dropout=config.predict.mc_dropout,
        batch_size=config.predict.batch_size,
        tile_size_px=config.predict.tile_size_px,
        overlap_px=config.predict.overlap_px,
        objects=config.predict.objects.model_dump(),
        within=strata_within(config),
        beside=scenes_beside(config, store),
        instances=None if lacks_numbers else instance_rule(config),
        seed=config.seed,
    )


def _tested(store: TileStore, split: Split | None) -> np.ndarray:
    return observed_tiles(store.manifest) if split is None else split.test


def _told(evaluation: Any, head: Head, folder: Path) -> dict[str, Any]:
    """The result of an evaluation, with its pictures in a folder."""
    result: dict[str, Any] = evaluation.result()
    result["pictures"] = evaluation.write_pictures(folder)
    if head.spec.dense:
        evaluation.write_scenes(folder)
    if getattr(evaluation, "within", None) is not None:
        result["strata_within"] = evaluation.within.result()
    if getattr(evaluation, "instances", None) is not None:
        result["instances"] = evaluation.instances.result()
    if head.conformal is not None:
        result["conformal"] = vars(head.conformal)
    return result


def _beside(
    config: Experiment,
    store: TileStore,
    split: Split,
    known: tuple[Any, Head, str],
    kept: Path,
) -> dict[str, Any]:
    """Scores of the baselines beside a model, its head and the head's label.

    Of simulated scenes the true parameters are among them, as their ceiling.
    """
    from arcticdl.evaluation.baselines.beside import score_baselines
    from arcticdl.evaluation.baselines.ceiling import score_ceiling
    from arcticdl.models.card import get_card

    model, head, label = known
    info, seed = store.labels[label], config.seed
    found = score_baselines(
        store,
        split.train,
        split.test,
        info,
        head,
        normalizer=_normalizer(model),
        start=_start(get_card(model) or {}, label),
        seed=seed,
        kept=kept,
    )
    ceilings = open_ceilings(config, store)
    return found | score_ceiling(ceilings, store, split.test, info, head, seed=seed)


def _start(card: Mapping[str, Any], label: str) -> dict[str, Any] | None:
    """What a card says of the bands that a head starts from, and of its code."""
    start = card.get("starts", {}).get(label)
    code = {"latent": card["latent"]} if "latent" in card else {}
    return None if start is None else {**start, **code}


def _by_scenes(
    config: Experiment,
    store: TileStore,
    split: Split | None,
    label: str,
    result: Mapping[str, Any],
) -> dict[str, Any]:
    """Scores by columns of scenes, and how many scenes of each stratum trained."""
    from arcticdl.evaluation.strata.bias import count_trained
    from arcticdl.evaluation.strata.scenes import (
        GAP_SUFFIX,
        scene_strata,
        scores_by_stratum,
    )

    columns = [f"{label}{GAP_SUFFIX}", *config.strata]
    strata = scene_strata(store.manifest.iloc[_tested(store, split)], columns)
    found: dict[str, Any] = {"strata": scores_by_stratum(result, strata)}
    if split is not None:
        learnt = scene_strata(store.manifest.iloc[split.train], columns)
        found["trained"] = count_trained(learnt)
    return found


def _normalizer(model: Any) -> Any:
    """The network's own scaling, so that its rivals see the same numbers."""
    from arcticdl.models import get_card
    from arcticdl.tiles import Normalizer

    scaling = (get_card(model) or {}).get("normalizer")
    return Normalizer.from_dict(scaling) if scaling else "zscore"


def headline(summary: Mapping[str, Any]) -> list[str]:
    """The lines that a person reads first."""
    from arcticdl.evaluation.pool import results_by_head

    lines = []
    for name, result in results_by_head(summary).items():
        lines += [f"{name}:"] if name else []
        lines += _headline(result)
    return lines


def _headline(result: Mapping[str, Any]) -> list[str]:
    from arcticdl.evaluation.restored.shown import restored_lines, shown_units
    from arcticdl.evaluation.strata.bias import describe_bias

    scores, intervals = result["scores"], result["intervals"]
    chief, *_ = shown = SCORES[result["scored_by"]]
    lines = [result["pooled"]]
    for score in shown:
        low, high = intervals.get(score.key) or (None, None)
        to = " to " if (low or 0) < 0 else "-"  # no two minus signs in a row
        spread = "" if low is None else f"  (95 % over scenes: {low:.3f}{to}{high:.3f}"
        spread += _over_folds(result, score.key, begun=bool(spread))
        told = _number(scores[score.key])
        units = shown_units(result["units"]) if score.has_units else ""
        lines.append(f"{score.title:>18} {f'{told} {units}'.rstrip()}{spread}")
    for name, baseline in (result.get("baselines") or {}).items():
        told = _number(baseline["scores"][chief.key])
        lines.append(f"{baseline.get('title', name):>18} {told}  ({chief.title})")
    lines += [*_covered(result), *restored_lines(result), *_instances(result)]
    notes = describe_bias(result.get("bias") or [])
    lines += [f"{'note':>18} {line}" for line in notes]
    return lines + _lines(result)


def _lines(result: Mapping[str, Any]) -> list[str]:
    """How far lines are from the true ones; where one is missed, and where false."""
    extra, told = result["extra"], []
    missed, false = extra.get("line_missed"), extra.get("line_false")
    for units, digits in (("px", 2), ("m", 0)):
        distance = extra.get(f"distance_{units}")
        if distance and distance["num_images"]:
            told += [
                f"{name} {distance[name]:.{digits}f} {units}"
                for name in ("median", "mean")
            ]
    if missed:
        told.append(f"no line in {_how_many(missed)}")
    if false:
        told.append(f"a false line in {_how_many(false)} without one")
    return [f"{'distance':>18} {', '.join(told)}"] if told else []


def _how_many(share: Mapping[str, Any]) -> str:
    """Of images that have a 0 or a 1: how many a 1."""
    count = share["num_images"]
    return f"{round(share['mean'] * count)} of {count}"


def _instances(result: Mapping[str, Any]) -> list[str]:
    """How well objects are told apart, beside connected parts."""
    found = result.get("instances")
    lines = []
    for entry in (found or {}).get("methods", {}).values():
        low, high = entry["intervals"].get("pq") or (None, None)
        spread = f"; 95 % over scenes: {low:.3f}-{high:.3f}" if low is not None else ""
        lines.append(
            f"{entry['title']:>18} {_number(entry['pq'])}  (panoptic quality{spread}): "
            f"{entry['num_found']:,.0f} objects found, {entry['num_truth']:,.0f} there"
        )
        if entry.get("ap50") is not None:
            low, high = entry["intervals"].get("ap50") or (None, None)
            spread = f" (95 % {low:.3f}-{high:.3f})" if low is not None else ""
            lines.append(
                f"{'':>18} mask AP50 {entry['ap50']:.3f}{spread}, AP {entry['ap']:.3f}"
                f", AP75 {entry['ap75']:.3f}"
            )
    return lines


def _over_folds(result: Mapping[str, Any], key: str, *, begun: bool) -> str:
    """The end of a score's line: mean and deviation of the folds by themselves."""
    found = (result.get("over_folds") or {}).get(key) or {}
    if found.get("std") is None:
        return ")" if begun else ""
    told = f"over {found['num_folds']} folds: {found['mean']:.3f} ± {found['std']:.3f}"
    return f"; {told})" if begun else f"  ({told})"


def _covered(result: Mapping[str, Any]) -> list[str]:
    """How much sets or intervals cover, a mean over images with its interval."""
    covered = result["extra"].get("set_coverage")
    if not covered or covered["mean"] is None:
        return []
    low, high = covered["intervals"].get("mean") or (None, None)
    spread = f"  (95 %: {low:.3f}-{high:.3f})" if low is not None else ""
    promised = result.get("coverage_promised")
    of = "" if promised is None else f", of {promised:g} that were promised"
    size = result["extra"].get("set_size") or result["extra"]["interval_width"]
    wide = "set size" if "set_size" in result["extra"] else "interval width"
    return [
        f"{'coverage':>18} {covered['mean']:.3f}{spread}{of}",
        f"{wide:>18} {size['mean']:.3f}",
    ]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
