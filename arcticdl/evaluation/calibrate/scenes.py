"""Calibrating a model on the scenes that validate it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from arcticdl.choices import check_choice
from arcticdl.errors import CalibrationError
from arcticdl.evaluation.calibrate.conformal import control_risk, least_units, misses
from arcticdl.evaluation.calibrate.fit import SCALED, Fit, fit_scaling
from arcticdl.evaluation.calibrate.table import METHODS
from arcticdl.evaluation.images import rows_by_name
from arcticdl.evaluation.scenes import answer_heads, match_labels
from arcticdl.inference.predictor import Predictor
from arcticdl.models.calibration import (
    remember_calibration,
    scale_logits,
    unscaled_logits,
)
from arcticdl.models.card import (
    get_card,
    gives_answers,
    model_heads,
    model_outputs,
)
from arcticdl.progress import track
from arcticdl.tasks import Conformal
from arcticdl.tiles import LabelInfo, Normalizer, TileStore
from arcticdl.tiles.views.assemble import assemble_scene
from arcticdl.training.feed import TileFeed

MAX_SAMPLES = 200_000
"""Pixels, about, that a scaling is fitted on, and that each unit's margins keep."""


def calibrate_model(
    model: keras.Model,
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    *,
    method: str = "temperature",
    coverage: float | None = None,
    unit: str = "scene_id",
    tta: str = "none",
    mc_dropout: int | None = None,
    tile_size_px: int | tuple[int, int] | None = None,
    overlap_px: int | None = None,
    batch_size: int = 4,
    seed: int = 0,
    progress: bool = True,
) -> tuple[keras.Model, dict[str, Any]]:
    """Scales a model's logits, and finds the margin with which its sets cover.

    Args:
        model: A model of ``arcticdl.models`` that carries its card.
        store: The tile store.
        indices: Tiles that the model was not trained on, nor will be scored on.
        method: A name of `METHODS`. Heads whose answers are no probabilities keep
            theirs.
        coverage: Share of a new unit's scored pixels that sets and intervals shall
            hold; ``None``: none are made.
        unit: Column of the manifest: what may be taken for exchangeable.
        tta: Views averaged, as maps will have them; sets are calibrated on these.
        mc_dropout: Passes with dropout left on, likewise.
        tile_size_px: Window of maps; default: the card's tile size.
        overlap_px: Overlap of windows; default: a quarter.
        batch_size: Windows in one call of the model.
        seed: Of the pixels that are drawn.
        progress: Whether to show a progress bar.

    Returns:
        The calibrated model, which shares its weights and whose card says how, and by
        head ``method``, ``scale``, ``shift``, ``nll_before`` and ``nll_after`` (mean
        negative log-likelihood of the drawn pixels, in nat), ``num_samples``,
        ``num_units`` and, with ``coverage``, ``margin``.

    Raises:
        CalibrationError: No labelled pixel, too few units for the coverage, or a head
            that has no such sets; or the model is an ensemble.
        ValueError: Unknown method; a column that is absent.
        TaskError: A head without a label of its name.
    """
    if gives_answers(model):
        raise CalibrationError(
            "Scaling changes logits, and an ensemble gives probabilities. Received: an "
            "ensemble. Calibrate its members, and join them afterwards."
        )
    chosen = store.check_indices(indices)
    units = _units(store, chosen, unit)
    if coverage is not None and len(set(units)) < least_units(coverage):
        # Before any pixel is read; empty units may still be too many.
        control_risk([np.zeros(1)] * len(set(units)), coverage)
    labels = match_labels(model_heads(model), store)
    _refuse_shares(labels)
    fits = _fit(unscaled_logits(model), store, chosen, labels, method, seed)
    scaled = scale_logits(model, {n: f.scaling for n, f in fits.items()})
    changes: dict[str, dict[str, Any]] = {n: {"conformal": None} for n in labels}
    remember_calibration(scaled, {}, changes)
    told = {name: _describe(fit, method) for name, fit in fits.items()}
    if coverage is not None:
        predictor = Predictor(
            scaled,
            tile_size_px=tile_size_px,
            batch_size=batch_size,
            tta=tta,
            mc_dropout=mc_dropout,
        )
        groups = _scenes_of(store, chosen, units, progress)
        found = _margins(predictor, store, groups, labels, overlap_px, seed)
        for name, by_unit in found.items():
            margin = control_risk(list(by_unit.values()), coverage)
            kept = Conformal(coverage, margin, len(by_unit), unit)
            changes[name] = {"conformal": vars(kept)}
            told[name] |= {"margin": margin, "coverage": coverage}
    for name in told:
        told[name] |= {"num_units": len(set(units)), "unit": unit}
    remember_calibration(scaled, told, changes)
    return scaled, told


def _refuse_shares(labels: Mapping[str, LabelInfo]) -> None:
    charted = sorted(name for name, info in labels.items() if info.shares)
    if charted:
        raise CalibrationError(
            "A probability is calibrated on pixels whose class is known, and shares of "
            f"polygons tell none. Received: labels {charted} of shares; leave the "
            "calibration out."
        )


def _units(store: TileStore, indices: np.ndarray, column: str) -> np.ndarray:
    check_choice("unit", column, [str(name) for name in store.manifest])
    return store.manifest[column].astype(str).to_numpy()[indices]


def _fit(
    model: keras.Model,
    store: TileStore,
    indices: np.ndarray,
    labels: Mapping[str, LabelInfo],
    method: str,
    seed: int,
) -> dict[str, Fit]:
    """The scaling of each head, on a sample of the pixels of tiles."""
    heads = model_heads(model)
    usable = {n: h for n, h in heads.items() if h.spec.kind in SCALED}
    check_choice("method", method, METHODS)
    if not usable:
        return {}
    samples = _Samples(store, indices, {n: labels[n] for n in usable}, seed)
    normalizer = Normalizer.from_dict((get_card(model) or {})["normalizer"])
    feed = TileFeed(
        store,
        indices,
        labels=[labels[name].name for name in usable],
        normalizer=normalizer,
        shuffle=False,
    )
    single = list(model_outputs(model)) == [""]
    for number in range(len(feed)):
        image, truth = feed[number]
        raw = model.predict_on_batch(image)
        for name in usable:
            one = truth[labels[name].name] if isinstance(truth, dict) else truth
            samples.add(name, raw if single else raw[name], one)
    return {n: fit_scaling(*samples.of(n), head, method) for n, head in usable.items()}


class _Samples:
    """Some of the scored pixels of tiles, all with one probability."""

    def __init__(
        self,
        store: TileStore,
        indices: np.ndarray,
        labels: Mapping[str, LabelInfo],
        seed: int,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        counts = {
            n: store.scored_counts(i.name)[indices].sum() for n, i in labels.items()
        }
        self.rates = {n: min(1.0, MAX_SAMPLES / max(c, 1)) for n, c in counts.items()}
        self.labels = labels
        self.parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
            name: [] for name in labels
        }

    def add(self, name: str, raw: np.ndarray, truth: np.ndarray) -> None:
        """Takes a batch: logits (n, y, x, channel) or (n, channel), and its labels."""
        info = self.labels[name]
        raw = np.asarray(raw).reshape(-1, raw.shape[-1])
        channels = (info.num_channels,) if info.num_channels else ()
        truth = np.asarray(truth).reshape(-1, *channels)
        kept = self.rng.random(len(truth)) < self.rates[name]
        drawn = kept & info.scored_places(truth)
        self.parts[name].append((raw[drawn], truth[drawn]))

    def of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Logits and labels of all batches."""
        raw, truth = zip(*self.parts[name], strict=True)
        return np.concatenate(raw), np.concatenate(truth)


def _describe(fit: Fit, method: str) -> dict[str, Any]:
    return {
        "method": method,
        "scale": list(fit.scaling.scale),
        "shift": list(fit.scaling.shift),
        "nll_before": fit.before,
        "nll_after": fit.after,
    }


def _scenes_of(
    store: TileStore, indices: np.ndarray, units: np.ndarray, progress: bool
) -> Iterable[tuple[str, str, np.ndarray]]:
    """Scene, unit and tiles of each scene."""
    names = store.manifest["scene_id"].to_numpy(str)[indices]
    found = [
        (name, units[rows[0]], indices[rows])
        for name, rows in rows_by_name(names).items()
    ]
    return track(found, "calibrate", shown=progress)


def _margins(
    predictor: Predictor,
    store: TileStore,
    scenes: Iterable[tuple[str, str, np.ndarray]],
    labels: Mapping[str, LabelInfo],
    overlap_px: int | None,
    seed: int,
) -> dict[str, dict[str, np.ndarray]]:
    """Head -> unit -> the margins that some of its pixels need, as maps have them."""
    rng = np.random.default_rng(seed)
    parts: dict[str, dict[str, list[np.ndarray]]] = {n: {} for n in predictor.heads}
    for name, unit, tiles in scenes:
        scene, truths = assemble_scene(store, tiles.tolist())
        stats = store.scene_stats(name)
        answers = answer_heads(predictor, scene, stats, overlap_px)
        for head_name, head in predictor.heads.items():
            if head_name not in answers:  # no valid pixel, so nothing was answered
                continue
            truth = np.asarray(truths[labels[head_name].name])
            found = misses(answers[head_name], truth, head)
            if len(found) > MAX_SAMPLES:
                found = rng.choice(found, MAX_SAMPLES, replace=False)
            parts[head_name].setdefault(unit, []).append(found)
    return {
        name: {
            unit: joined
            for unit, of_unit in by_unit.items()
            if len(joined := np.concatenate(of_unit))
        }
        for name, by_unit in parts.items()
    }
