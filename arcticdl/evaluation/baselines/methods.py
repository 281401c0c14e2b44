"""Classical methods that answer about whole scenes, as a network does."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choices
from arcticdl.evaluation.baselines.classical import (
    MAX_SAMPLES,
    draw_rows,
    fit_method,
)
from arcticdl.evaluation.baselines.features import SCALES_PX, neighbourhood_features
from arcticdl.evaluation.baselines.incidence import (
    Flattening,
    fit_flattening,
    fit_mixtures,
    radar_bands,
)
from arcticdl.evaluation.baselines.microwave import concentration_methods
from arcticdl.evaluation.baselines.otsu import OtsuHalves
from arcticdl.evaluation.baselines.sample import (
    Method,
    Sample,
    answer_in_steps,
    draw_sample,
    unscaled,
)
from arcticdl.evaluation.baselines.textures import fit_textures
from arcticdl.evaluation.choose import evaluation_for
from arcticdl.progress import track
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore
from arcticdl.tiles.views.assemble import assemble_scene

LEARNERS = {
    "linear": "linear model",
    "random_forest": "random forest",
    "hist_gradient_boosting": "gradient boosting",
}
"""Name -> title of what learns from neighbourhoods beside a network of whole scenes."""

_ROWS_AT_ONCE, _GRID_ROWS = 512, 64


def scene_methods(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
) -> dict[str, Method]:
    """Fits the methods that suit a head and its bands to the training tiles.

    - ``otsu``: the two halves of each scene (`OtsuHalves`), of any map of classes.
    - ``textures``: a random forest on textures (`fit_textures`), where there is radar.
    - ``incidence_gaussians``: mixtures about lines of incidence
      (`IncidenceGaussians`), where there are radar, its angle and classes; never on
      scenes of the usual simulator, whose backscatter follows such lines by
      construction. Those of its world ``disjoint`` do not.
    - ``nasa_team``, ``bootstrap``: of the label ``SIC``, where there are brightness
      temperatures (`concentration_methods`).

    Args:
        store: A tile store.
        train_indices: Tiles to fit on.
        info: The label.
        head: What the network that they stand beside answers.
        max_samples: Training pixels to draw.
        seed: Seed of draws and fits.

    Returns:
        Name -> method. Empty for other heads than maps of classes and, beside radar, of
        one quantity, and where training holds a single class.
    """
    of_classes = head.form.scored_by == "classes"
    quantity = head.spec.kind == "values" and bool(radar_bands(store.bands))
    if not head.spec.dense or info.num_channels or not (of_classes or quantity):
        return {}
    drawn: dict[str, Any] = {"max_samples": max_samples, "seed": seed}
    sample = draw_sample(store, train_indices, info, **drawn)
    if len(sample.truth) < 5 or len(np.unique(sample.truth)) < 2:
        return {}
    num_classes = len(head.classes) if of_classes else None
    flattening = fit_flattening(sample, store.bands, of_classes=of_classes)
    found: dict[str, Method | None] = {
        "otsu": _otsu(sample, flattening, store.bands, num_classes)
    }
    if flattening.radar:
        found["textures"] = fit_textures(
            store, train_indices, info, head, sample, flattening, **drawn
        )
    own = is_own_generator(store)
    if num_classes is not None and not own:
        found["incidence_gaussians"] = fit_mixtures(
            sample, store.bands, num_classes, seed=seed
        )
    if info.name == "SIC" and (num_classes == 11 or info.units == "1"):
        usual = _usual(sample, num_classes)
        found |= concentration_methods(store.bands, usual, own_generator=own)
    return {name: method for name, method in found.items() if method is not None}


def neighbourhood_methods(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    learners: Sequence[str] = ("random_forest",),
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
) -> dict[str, Method]:
    """Fits learners of ``classical_baselines`` as methods of scenes.

    They see the same neighbourhoods, in source units, and answer about each fourth
    pixel: what it costs to answer about every damaged scene.

    Args:
        store: A tile store.
        train_indices: Tiles to fit on, with at least two classes.
        info: The label.
        head: What is answered.
        learners: Names out of ``LEARNERS``: ``linear`` (logistic regression, of a
            quantity ridge), ``random_forest``, ``hist_gradient_boosting``.
        max_samples: Training pixels to draw, the same for all.
        seed: Seed of the draw and of the fits.

    Returns:
        Name -> method.

    Raises:
        ValueError: A learner that is unknown, or none.
    """
    check_choices("learners", list(learners) or [None], LEARNERS)
    rows = draw_rows(
        store, train_indices, info, unscaled(store), max_samples=max_samples, seed=seed
    )
    linear = "ridge" if head.form.scored_by == "values" else "logistic"
    found = {}
    for learner in learners:
        fitted = fit_method(
            linear if learner == "linear" else learner, rows, head, seed
        )
        title = f"{LEARNERS[learner]} on neighbourhoods"
        found[learner] = Method(title, partial(_answer_from_rows, fitted))
    return found


def _answer_from_rows(fitted: Callable[..., Any], image: np.ndarray) -> np.ndarray:
    """What a fitted method says about a scene, a strip of rows after the other."""

    def read(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [
                _features_of_rows(image, some, cols)
                for some in np.array_split(rows, -(-len(rows) // _GRID_ROWS))
            ]
        )

    return answer_in_steps((image.shape[0], image.shape[1]), read, fitted)


def _features_of_rows(
    image: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> np.ndarray:
    """Features of some pixels, from the rows about them alone."""
    margin = max(SCALES_PX) // 2 + 1  # the gradient reads one further
    first = max(int(rows[0]) - margin, 0)
    part = image[first : int(rows[-1]) + margin + 1]
    found = neighbourhood_features(part, np.isfinite(part))
    return found[np.ix_(rows - first, cols)].reshape(-1, found.shape[-1])


def score_methods(
    methods: Mapping[str, Method],
    store: TileStore,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Scores methods on the scenes of the given tiles, each pixel once.

    Args:
        methods: From ``scene_methods``.
        store: The tile store.
        test_indices: Tiles to score; each belongs to a scene, which is put together.
        info: The label.
        head: What is answered.
        seed: Seed of the intervals.

    Returns:
        Name of the method -> the layout of an evaluation's ``result``, with a
        ``title``.
    """

    def of_scene(method: Method) -> Callable[[xr.Dataset], np.ndarray]:
        return lambda scene: method.answer(source_pixels(scene))

    told = {name: (_title(one), of_scene(one)) for name, one in methods.items()}
    return score_answers(told, store, test_indices, info, head, seed)


def score_answers(
    told: Mapping[str, tuple[str, Callable[[xr.Dataset], np.ndarray]]],
    store: TileStore,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Scores whatever answers about assembled scenes, each pixel once.

    Args:
        told: By name a title, and what gives activated answers about a scene; pixels
            of which it says nothing (NaN), such as land, are not counted.
        store: The tile store.
        test_indices: Tiles to score.
        info: The label.
        head: What is answered.
        seed: Seed of the intervals.

    Returns:
        As ``score_methods``.
    """
    if not told:
        return {}
    evaluations = {n: evaluation_for(head, seed=seed, num_pictures=0) for n in told}
    manifest = store.manifest.iloc[np.asarray(test_indices)]
    groups = manifest.groupby("scene_id", sort=True)
    for scene_id, rows in track(groups, f"baselines of {info.name}"):
        tiles = store.manifest.index.get_indexer(rows.index)
        scene, truths = assemble_scene(store, tiles)
        valid = scene["valid"].values
        for name, (_, answer) in told.items():
            said = answer(scene)
            for start in range(0, len(valid), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                truth, found = truths[info.name][part], said[part]
                counted = valid[part] & ~np.isnan(found).all(-1)
                found = np.where(np.isnan(found), 1.0 / found.shape[-1], found)
                evaluations[name].add(str(scene_id), truth, found, counted=counted)
    return {
        name: {"title": told[name][0]} | evaluation.result()
        for name, evaluation in evaluations.items()
    }


def source_pixels(scene: xr.Dataset) -> np.ndarray:
    """The pixels of an assembled scene as methods want them, NaN where invalid."""
    image = np.moveaxis(scene["image"].values, 0, -1).astype(np.float32)
    image[~scene["valid"].values] = np.nan
    return image


def is_simulated(store: TileStore) -> bool:
    """Whether scenes of a store say that they are simulated."""
    return any("simulated" in said for said in _origins(store))


def is_own_generator(store: TileStore) -> bool:
    """Whether scenes are simulated with constants that methods have as well.

    Those of the world ``disjoint`` say so, and are not.
    """
    return any("simulated" in s and "disjoint" not in s for s in _origins(store))


def _origins(store: TileStore) -> set[str]:
    """What scenes tell of sensor and service."""
    columns = [c for c in ("sensor", "service") if c in store.manifest]
    rows = store.manifest[columns].drop_duplicates()
    return {" ".join(map(str, row)) for row in rows.itertuples(index=False)}


def _otsu(
    sample: Sample,
    flattening: Flattening,
    bands: Sequence[str],
    num_classes: int | None,
) -> Method:
    """The halves of the band that tells most.

    Beside radar these are backscatter and brightness temperatures: winds or a season
    part no scene, and tell few scenes apart by chance.
    """
    chosen = list(range(len(bands)))
    if flattening.radar:
        cold = [k for k, name in enumerate(bands) if name.startswith("btemp")]
        chosen = sorted({*flattening.radar, *cold})
    values = np.stack([flattening.band(sample.values, k) for k in chosen], axis=-1)
    halves = OtsuHalves()
    halves.fit(values, sample.truth, sample.scene, num_classes=num_classes)
    band = chosen[halves.band_]
    return Method(
        "threshold of Otsu in each scene",
        lambda image: halves.predict(flattening.band(image, band)),
        bands[band],
    )


def _title(method: Method) -> str:
    return f"{method.title} ({method.detail})" if method.detail else method.title


def _usual(sample: Sample, num_classes: int | None) -> np.ndarray:
    """Shares of the classes in training, or the mean."""
    if num_classes is None:
        return np.array([sample.truth.mean()])
    counts = np.bincount(sample.truth.astype(int), minlength=num_classes)
    return counts / len(sample.truth)
