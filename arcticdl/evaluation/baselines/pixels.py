"""Baselines that any network must leave behind, scored on the very same pixels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from arcticdl.choices import check_choice
from arcticdl.evaluation.evaluate import SegmentationEvaluation
from arcticdl.evaluation.images import counted_pixels
from arcticdl.void import VOID_CLASS

CLASSIFIERS = ("hist_gradient_boosting", "random_forest")


class LabelledTile(NamedTuple):
    """One tile of a store as an evaluation meets it."""

    scene_id: str
    image: np.ndarray  # (y, x, band) float32, normalised
    source: np.ndarray  # (y, x, band) float32, source units, NaN without data
    label: np.ndarray  # (y, x) class codes with void, or as the store has the label
    counted: np.ndarray  # (y, x) bool


def read_tiles(
    store: Any, indices: Sequence[int] | np.ndarray, label: str, normalizer: Any
) -> Iterator[LabelledTile]:
    """Reads tiles one by one, normalised, each pixel of a scene counted once.

    Pixels without data are never scored: what a model says there is not its doing.

    Args:
        store: A tile store.
        indices: Tile indices.
        label: Name of the label.
        normalizer: A fitted `arcticdl.tiles.Normalizer`.

    Yields:
        The tiles in order.
    """
    manifest = store.manifest.iloc[np.asarray(indices, int)]
    masks = counted_pixels(
        manifest["scene_id"], manifest["row"], manifest["col"], store.tile_size_px
    )
    void = store.labels[label].void
    for index, mask in zip(indices, masks, strict=True):
        row = store.manifest.iloc[int(index)]
        found = store.read([int(index)], names=["image", "valid", label])
        codes, valid = found[label][0], found["valid"][0]
        stats = None
        if normalizer.needs_image_stats:
            stats = store.scene_stats(row["scene_id"])
        image = normalizer(found["image"][0], valid=valid, image_stats=stats)
        codes = np.where(codes == void, VOID_CLASS, codes)
        scene_id = str(row["scene_id"])
        source = np.where(valid[..., None], found["image"][0], np.float32("nan"))
        yield LabelledTile(scene_id, image, source, codes, mask & valid)


def pixel_baselines(
    store: Any,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    label: str,
    *,
    normalizer: Any = "zscore",
    classifier: str = "hist_gradient_boosting",
    max_pixels: int = 200_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores the majority map and a per-pixel classifier on the test tiles.

    The classifier sees the same normalised bands as a network, one pixel at a time and
    nothing of its neighbours; what a network scores beyond it is what it reads from
    texture, shape and context. Both are fitted on the training tiles only.

    Args:
        store: A tile store.
        train_indices: Tiles to fit on.
        test_indices: Tiles to score; pixels that overlap count once.
        label: Name of an integer label.
        normalizer: A fitted `arcticdl.tiles.Normalizer`, or a method's name, which is
            fitted on the training tiles.
        classifier: ``"hist_gradient_boosting"`` or ``"random_forest"`` of scikit-learn.
        max_pixels: Training pixels to draw, evenly from all training tiles.
        seed: Seed of the draw and of the classifier.

    Returns:
        ``{"majority": ..., "per_pixel": ...}``, each the layout of
        `SegmentationEvaluation.result` with a ``title``.

    Raises:
        ValueError: If the label or classifier is not there, the indices are empty, or
            the training tiles hold fewer than two classes.
    """
    _check_arguments(store, train_indices, test_indices, label, classifier, max_pixels)
    normalizer = fitted_normalizer(store, train_indices, normalizer, seed)
    tiles = read_tiles(store, train_indices, label, normalizer)
    bands, codes, counts = _draw_pixels(
        tiles, len(train_indices), len(store.labels[label].classes), max_pixels, seed
    )
    if np.count_nonzero(counts) < 2:
        raise ValueError(
            "The training tiles must hold at least two classes of "
            f"`label`={label!r}. Received: pixels by class {counts.tolist()}."
        )
    with one_thread():
        model = _build_classifier(classifier, seed).fit(bands, codes)
    majority = int(np.argmax(counts))
    info = store.labels[label]
    results = {
        name: SegmentationEvaluation(
            info.classes, colors=info.colors, num_pictures=0, seed=seed
        )
        for name in ("majority", "per_pixel")
    }
    for tile in read_tiles(store, test_indices, label, normalizer):
        predictions = {
            "majority": np.full(tile.label.shape, majority),
            "per_pixel": _predict_prob(model, tile.image, len(info.classes)),
        }
        for name, prediction in predictions.items():
            results[name].add(
                tile.scene_id, tile.label, prediction, counted=tile.counted
            )
    titles = {
        "majority": f"majority class everywhere ({info.classes[majority]})",
        "per_pixel": f"each pixel alone ({classifier.replace('_', ' ')})",
    }
    return {n: {"title": titles[n]} | e.result() for n, e in results.items()}


def fitted_normalizer(
    store: Any,
    indices: Sequence[int] | np.ndarray,
    normalizer: Any,
    seed: int,
) -> Any:
    """A fitted normaliser as it is, or one of a method's name, fitted on tiles."""
    if not isinstance(normalizer, str):
        return normalizer
    from arcticdl.tiles import Normalizer, compute_stats

    stats = compute_stats(store, np.asarray(indices), seed=seed)
    return Normalizer(normalizer, store.bands, stats)


def _check_arguments(
    store: Any,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    label: str,
    classifier: str,
    max_pixels: int,
) -> None:
    maps = sorted(name for name, info in store.labels.items() if info.classes)
    if label not in maps:
        raise ValueError(
            f"`label` must be a label with classes, one of {maps}. Received: {label!r}."
        )
    check_choice("classifier", classifier, CLASSIFIERS)
    for name, indices in (
        ("train_indices", train_indices),
        ("test_indices", test_indices),
    ):
        if not len(indices):
            raise ValueError(f"`{name}` must hold at least one tile. Received: none.")
    if max_pixels < 2:
        raise ValueError(
            f"`max_pixels` must be at least 2. Received: max_pixels={max_pixels}."
        )


def _draw_pixels(
    tiles: Iterator[LabelledTile],
    num_tiles: int,
    num_classes: int,
    max_pixels: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws training pixels evenly from tiles, and counts all of them by class."""
    rng = np.random.default_rng(seed)
    share = -(-max_pixels // num_tiles)
    bands, codes = [], []
    counts = np.zeros(num_classes, np.int64)
    for tile in tiles:
        scored = np.flatnonzero(tile.counted & (tile.label != VOID_CLASS))
        all_codes = tile.label.ravel()[scored].astype(np.int64)
        counts += np.bincount(all_codes, minlength=num_classes)
        drawn = rng.choice(len(scored), min(share, len(scored)), replace=False)
        bands.append(tile.image.reshape(-1, tile.image.shape[-1])[scored[drawn]])
        codes.append(all_codes[drawn])
    return np.concatenate(bands), np.concatenate(codes), counts


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps BLAS and OpenMP to one thread, while little is computed.

    Their threads wait for each other by turning round. Where others share the cores, a
    logistic regression on 50,000 pixels took 99 s of processor time on two threads and
    2.8 s on one. Forests have threads of another kind, and keep them.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def _build_classifier(classifier: str, seed: int) -> Any:
    if classifier == "random_forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            50, min_samples_leaf=20, n_jobs=-1, random_state=seed
        )
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=60, early_stopping=False, random_state=seed
    )


def _predict_prob(model: Any, image: np.ndarray, num_classes: int) -> np.ndarray:
    """Gives each class its column: the classifier knows only those it was shown."""
    with one_thread():
        flat = model.predict_proba(image.reshape(-1, image.shape[-1]))
    prob = np.zeros((flat.shape[0], num_classes))
    prob[:, model.classes_] = flat
    return prob.reshape(*image.shape[:2], num_classes)
