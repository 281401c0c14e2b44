"""The baselines of a fold, all of them, and kept until what they rest on changes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.evaluation.baselines.cfar import cfar_baseline, fits_radar
from arcticdl.evaluation.baselines.classical import MAX_SAMPLES, classical_baselines
from arcticdl.evaluation.baselines.constant import constant_baseline
from arcticdl.evaluation.baselines.methods import scene_methods, score_methods
from arcticdl.evaluation.baselines.pixels import fitted_normalizer, pixel_baselines
from arcticdl.evaluation.restored.filters import filter_baselines
from arcticdl.evaluation.restored.gaps import gap_baselines
from arcticdl.evaluation.restored.principal import principal_baseline
from arcticdl.files import write_json
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore

FORMAT = 4
"""Number of the methods' making; kept results of another one are made anew."""


def score_baselines(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    normalizer: Any = "zscore",
    start: Mapping[str, Any] | None = None,
    seed: int = 0,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Scores everything that stands beside a network of this task.

    That is what the training labels alone say (the majority class, the mean), of maps
    of classes each pixel by itself, and linear models, random forests and gradient
    boosting on neighbourhoods, and the methods of whole scenes that suit the bands
    (`scene_methods`): thresholds of Otsu, textures of radar, mixtures about lines of
    incidence, concentration from brightness temperatures. Where the network restores
    bands, filters of these stand there instead of the last. Where it fills gaps, so
    do methods that fill them, and nothing else but the mean.
    Beside a network that learns shares of polygons stands the commonest class alone.
    Beside an autoencoder stand the mean and as many principal components; whatever else
    sees the image gives it back. Beside a detector of one class on radar stands a
    constant false-alarm rate, and nothing else.

    Args:
        store: A tile store.
        train_indices: Tiles to fit on: those of the network.
        test_indices: Tiles to score; pixels that overlap count once.
        info: The label.
        head: What the network answers.
        normalizer: The network's own scaling, or the name of a method that is fitted
            on the training tiles.
        start: What the network's card says of the bands that the head starts from, and
            as ``latent`` of its code.
        seed: Seed of samples, methods and intervals.
        kept: A JSON file that holds results until store, tiles, head, scaling or seed
            change; ``None`` keeps none.

    Returns:
        Name of the method -> the layout of an evaluation's ``result``, with a
        ``title``.

    Raises:
        ValueError: No training tile holds a scored label.
    """
    train, test = np.asarray(train_indices), np.asarray(test_indices)
    head = replace(head, conformal=None)  # which holds for the network alone
    normalizer = fitted_normalizer(store, train, normalizer, seed)
    rests_on = {
        "format": FORMAT,
        "max_samples": MAX_SAMPLES,
        "store": str(getattr(store, "fingerprint", "")),
        "tiles": hashlib.sha256(
            np.concatenate([train, [-1], test]).astype("<i8").tobytes()
        ).hexdigest(),
        "label": info.name,
        "head": head.to_card(),
        "normalizer": normalizer.to_dict(),
        "seed": seed,
        "start": dict(start or {}),
    }
    found = _read(kept, rests_on)
    if found is not None:
        return found
    if start is not None and "latent" in start:
        results = constant_baseline(store, train, test, info, head, seed=seed)
        results = {"constant": results} | principal_baseline(
            store, train, test, info, head, start, seed=seed
        )
    else:
        options = {"normalizer": normalizer, "seed": seed}
        results = _usual(store, train, test, info, head, start=start, **options)
    if kept is not None:
        write_json(kept, {"rests_on": rests_on, "results": results})
    return results


def _usual(
    store: TileStore,
    train: np.ndarray,
    test: np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    normalizer: Any,
    start: Mapping[str, Any] | None,
    seed: int,
) -> dict[str, Any]:
    """What stands beside any network but an autoencoder."""
    if head.form.scored_by == "boxes":
        if not fits_radar(store.bands, info):
            return {}
        return cfar_baseline(store, train, test, info, head, seed=seed)
    results: dict[str, Any] = {}
    if head.spec.dense and head.form.scored_by == "classes":
        options = {"normalizer": normalizer, "seed": seed}
        if np.count_nonzero(store.class_counts(info.name)[train].sum(axis=0)) > 1:
            results = pixel_baselines(store, train, test, info.name, **options)
    if not results:
        constant = constant_baseline(store, train, test, info, head, seed=seed)
        results = {"constant": constant}
    if head.form.scored_by == "shares":  # what a pixel is nobody can fit to
        return results
    told, kind = start or {}, head.spec.kind
    if "gap" in told:
        # Where a pixel was not observed, it has nothing that a forest could look at.
        if kind == "values":
            results |= gap_baselines(store, test, info, head, told, seed=seed)
        return results
    results |= classical_baselines(
        store, train, test, info, head, normalizer=normalizer, seed=seed
    )
    if "coarse_px" in told and kind in ("values", "members"):
        results |= filter_baselines(store, train, test, info, head, told, seed=seed)
    elif "coarse_px" not in told:
        methods = scene_methods(store, train, info, head, seed=seed)
        results |= score_methods(methods, store, test, info, head, seed=seed)
    return results


def _read(kept: Path | None, rests_on: dict[str, Any]) -> dict[str, Any] | None:
    """Results of an earlier call, where nothing that they rest on has changed."""
    if kept is None or not kept.is_file():
        return None
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
    except ValueError:
        return None
    same = found.get("rests_on") == json.loads(json.dumps(rests_on))
    return dict(found["results"]) if same else None
