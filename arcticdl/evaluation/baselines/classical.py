"""Classical methods on bands and neighbourhoods, scored as the network is."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from arcticdl.evaluation.baselines.constant import even_levels, read_truths
from arcticdl.evaluation.baselines.features import (
    image_features,
    neighbourhood_features,
)
from arcticdl.evaluation.baselines.pixels import one_thread, read_tiles
from arcticdl.evaluation.choose import evaluation_for
from arcticdl.evaluation.images import rows_by_name
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore

MAX_SAMPLES = 50_000
"""Training pixels of all tiles together, which bound the time of the fits."""

_TITLES = {
    "logistic": "logistic regression",
    "ridge": "ridge regression",
    "random_forest": "random forest",
    "hist_gradient_boosting": "gradient boosting",
}


class Rows(NamedTuple):
    """What classical methods are fitted to.

    Attributes:
        features: ``(n, feature)`` float32.
        truth: ``(n,)`` or ``(n, channel)``, none of them void.
    """

    features: np.ndarray
    truth: np.ndarray


def classical_baselines(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    normalizer: Any,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Scores linear models, random forests and gradient boosting on the test tiles.

    They see the network's own scaled bands, and of each band the local mean, deviation
    and gradient at two scales (`neighbourhood_features`); about whole images mean and
    deviation of these. They are fitted on the training tiles only: on pixels drawn
    evenly from all tiles, or on all images.

    Args:
        store: A tile store.
        train_indices: Tiles to fit on.
        test_indices: Tiles to score; pixels that overlap count once.
        info: The label.
        head: What the network that they stand beside answers.
        normalizer: The network's own scaling.
        max_samples: Training pixels to draw.
        seed: Seed of the draw and of the methods.

    Returns:
        ``logistic`` (of values ``ridge``), ``random_forest`` and
        ``hist_gradient_boosting`` -> the layout of an evaluation's ``result``, with a
        ``title``. Empty where training holds a single class of a head with classes, or
        fewer than 5 samples: there is nothing to learn from.

    Raises:
        ValueError: ``max_samples`` below 5.
    """
    if max_samples < 5:
        raise ValueError(
            f"`max_samples` must be at least 5. Received: max_samples={max_samples}."
        )
    rows = draw_rows(
        store, train_indices, info, normalizer, max_samples=max_samples, seed=seed
    )
    of_classes = head.form.scored_by == "classes"
    if len(rows.truth) < 5 or (of_classes and len(np.unique(rows.truth)) < 2):
        return {}
    first = "ridge" if head.form.scored_by == "values" else "logistic"
    names = (first, "random_forest", "hist_gradient_boosting")
    fitted = {name: fit_method(name, rows, head, seed) for name in names}
    evaluations = {n: evaluation_for(head, seed=seed, num_pictures=0) for n in names}
    for scene_id, features, truth, counted in _asked(
        store, test_indices, info, normalizer
    ):
        flat = features.reshape(-1, features.shape[-1])
        for name, answer in fitted.items():
            said = answer(flat).reshape(*counted.shape, -1)
            evaluations[name].add(scene_id, truth, said, counted=counted)
    what = "image statistics" if not info.is_pixel else "neighbourhoods"
    return {
        name: {"title": f"{_TITLES[name]} on {what}"} | evaluation.result()
        for name, evaluation in evaluations.items()
    }


def draw_rows(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    normalizer: Any,
    *,
    max_samples: int,
    seed: int,
) -> Rows:
    """Draws labelled pixels evenly from tiles; of images all that are labelled.

    Args:
        store: A tile store.
        indices: Tiles.
        info: The label.
        normalizer: Scaling of the bands.
        max_samples: Pixels at most, of all tiles together.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    features, truths = [], []
    share = max(1, max_samples // len(indices)) if info.is_pixel else 1
    for _, found, truth, counted in _asked(store, indices, info, normalizer):
        scored = info.scored(truth)
        scored = np.asarray(scored.all(-1)) if info.num_channels else scored
        places = np.flatnonzero(scored & counted)
        drawn = rng.permutation(places)[:share]
        features.append(found.reshape(-1, found.shape[-1])[drawn])
        truths.append(truth.reshape(-1, *truth.shape[2:])[drawn])
    return Rows(np.concatenate(features), np.concatenate(truths))


def _asked(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    normalizer: Any,
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields scene, features ``(y, x, feature)``, label and which pixels count.

    A whole image is one pixel.
    """
    if info.is_pixel:
        for tile in read_tiles(store, indices, info.name, normalizer):
            found = neighbourhood_features(tile.image, np.isfinite(tile.source))
            yield tile.scene_id, found, tile.label, tile.counted
        return
    ids = store.manifest["scene_id"].astype(str).to_numpy()[np.asarray(indices)]
    rows = rows_by_name(ids)
    for scene_id, truth, counted in read_truths(store, indices, info):
        tiles = np.asarray(indices)[rows[scene_id]]
        parts = [
            (neighbourhood_features(t.image, np.isfinite(t.source)), t.counted)
            for t in read_tiles(store, tiles, info.name, normalizer)
        ]
        found = image_features(parts)[None, None]
        yield scene_id, found, truth, counted


def fit_method(
    name: str, rows: Rows, head: Head, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Fits a method of scikit-learn, and returns what answers from features.

    Args:
        name: ``logistic``, ``ridge``, ``random_forest`` or ``hist_gradient_boosting``.
        rows: What it is fitted to.
        head: What is answered.
        seed: Seed of the fit.

    Returns:
        From features ``(n, feature)`` to activated answers ``(n, channel)``. Of
        quantiles, members and Gaussians the errors of a fifth of the rows, which is
        left out of the fit, tell the spread; it is the same everywhere.
    """
    with one_thread():
        fitted = _fit(name, rows, head, seed)

    def answer(flat: np.ndarray) -> np.ndarray:
        with one_thread():
            return fitted(flat)

    return answer


def _fit(
    name: str, rows: Rows, head: Head, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    if head.form.scored_by == "classes":
        return _fit_classes(name, rows, len(head.classes), seed)
    if head.form.scored_by == "labels":
        each = [
            _fit_classes(name, Rows(rows.features, rows.truth[:, k]), 2, seed)
            for k in range(rows.truth.shape[1])
        ]
        return lambda flat: np.stack([answer(flat)[:, 1] for answer in each], axis=-1)
    return _fit_values(name, rows, head, seed)


def _fit_classes(
    name: str, rows: Rows, num_classes: int, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Probabilities of classes; one that training never shows has none."""
    codes = np.unique(rows.truth).astype(int)
    one = len(codes) == 1  # as of a label that holds everywhere
    model = None if one else _build(name, seed, False).fit(rows.features, rows.truth)

    def answer(flat: np.ndarray) -> np.ndarray:
        prob = np.zeros((len(flat), num_classes))
        prob[:, codes] = 1.0 if model is None else model.predict_proba(flat)
        return prob

    return answer


def _fit_values(
    name: str, rows: Rows, head: Head, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    truth = rows.truth.reshape(len(rows.truth), -1).astype(np.float64)
    kind = head.spec.kind
    order = np.random.default_rng(seed).permutation(len(truth))
    apart = order[: max(1, len(order) // 5)] if kind != "values" else order[:0]
    fitted = np.setdiff1d(order, apart)
    models = [
        _build(name, seed, True).fit(rows.features[fitted], column[fitted])
        for column in truth.T
    ]

    def value(flat: np.ndarray) -> np.ndarray:
        return np.stack([model.predict(flat) for model in models], axis=-1)

    if kind == "values":
        return value
    errors = truth[apart] - value(rows.features[apart])
    if kind in ("members", "quantiles"):
        levels = even_levels(head.size) if kind == "members" else head.size
        offsets = np.quantile(errors[:, 0], levels)
        return lambda flat: value(flat) + offsets
    variance = np.mean(errors**2, axis=0)

    def with_variance(flat: np.ndarray) -> np.ndarray:
        found = value(flat)
        return np.concatenate([found, np.broadcast_to(variance, found.shape)], axis=-1)

    return with_variance


def _build(name: str, seed: int, values: bool) -> Any:
    from sklearn import ensemble, linear_model
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "logistic":
        model = linear_model.LogisticRegression(max_iter=500)
        return make_pipeline(StandardScaler(), model)
    if name == "ridge":
        return make_pipeline(StandardScaler(), linear_model.Ridge())
    if name == "random_forest":
        kind = (
            ensemble.RandomForestRegressor
            if values
            else ensemble.RandomForestClassifier
        )
        return kind(50, min_samples_leaf=5, n_jobs=-1, random_state=seed)
    boosting = (
        ensemble.HistGradientBoostingRegressor
        if values
        else ensemble.HistGradientBoostingClassifier
    )
    return boosting(max_iter=60, early_stopping=False, random_state=seed)
