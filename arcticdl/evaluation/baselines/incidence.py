"""Gaussian mixtures of backscatter whose means follow the incidence angle."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from arcticdl.derived.radar import INCIDENCE_BANDS
from arcticdl.evaluation.baselines.pixels import read_tiles
from arcticdl.evaluation.choose import evaluation_for
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore

_POLARISATIONS = ("HH", "HV", "VH", "VV")
_LEAST_PIXELS = 50  # of a class, below which it has no mixture


class IncidenceGaussians:
    """Classes as Gaussian mixtures about lines of decibels over the incidence angle.

    Lohse et al. 2020, Annals of Glaciology 61, 260-270: the backscatter of a class
    falls with the angle along a slope of its own, so that one correction for all
    surfaces is wrong for each. Slopes are fitted by least squares, what is left of a
    class by a Gaussian mixture, and classes weigh as often as they are seen.

    Args:
        num_components: Gaussians a class.
        seed: Seed of the mixtures' starts.

    Attributes:
        classes_: Codes that were fitted, sorted.
        slopes_db_: ``(class, band)``, dB per degree.
    """

    def __init__(self, num_components: int = 2, *, seed: int = 0) -> None:
        if num_components < 1:
            raise ValueError(
                f"`num_components` must be at least 1. Received: {num_components}."
            )
        self.num_components, self.seed = num_components, seed

    def fit(
        self, backscatter_db: np.ndarray, incidence_deg: np.ndarray, truth: np.ndarray
    ) -> "IncidenceGaussians":
        """Fits slopes and mixtures.

        Args:
            backscatter_db: ``(n, band)``, finite.
            incidence_deg: ``(n,)``, finite.
            truth: ``(n,)`` class codes; those of fewer than 50 pixels are left out.

        Raises:
            ValueError: No class has enough pixels.
        """
        from sklearn.linear_model import LinearRegression
        from sklearn.mixture import GaussianMixture

        codes, counts = np.unique(truth, return_counts=True)
        kept = counts >= _LEAST_PIXELS
        if not kept.any():
            raise ValueError(
                f"A class must have at least {_LEAST_PIXELS} pixels. Received: "
                f"{dict(zip(codes.tolist(), counts.tolist(), strict=True))}."
            )
        self.classes_ = codes[kept].astype(int)
        self._log_priors = np.log(counts[kept] / counts[kept].sum())
        self._lines, self._mixtures = [], []
        for code in self.classes_:
            angle = incidence_deg[truth == code, None]
            values = backscatter_db[truth == code]
            line = LinearRegression().fit(angle, values)
            mixture = GaussianMixture(self.num_components, random_state=self.seed)
            self._mixtures.append(mixture.fit(values - line.predict(angle)))
            self._lines.append(line)
        self.slopes_db_ = np.stack([line.coef_[:, 0] for line in self._lines])
        return self

    def predict_proba(
        self, backscatter_db: np.ndarray, incidence_deg: np.ndarray
    ) -> np.ndarray:
        """Probabilities of the fitted classes by Bayes' rule, ``(n, class)``."""
        from scipy.special import softmax

        scores = [
            mixture.score_samples(backscatter_db - line.predict(incidence_deg[:, None]))
            for line, mixture in zip(self._lines, self._mixtures, strict=True)
        ]
        found: np.ndarray = softmax(np.stack(scores, -1) + self._log_priors, axis=-1)
        return found


def fits_store(store: TileStore, head: Head) -> bool:
    """Whether the method can stand beside a head: radar, its angle, real scenes.

    Simulated backscatter follows such lines by construction: the method would be scored
    on its own assumption, so it is not.
    """
    told = [store.manifest[c] for c in ("sensor", "service") if c in store.manifest]
    made = any(text.astype(str).str.contains("simulated").any() for text in told)
    chosen = _bands(store)
    classes = head.spec.dense and head.form.scored_by == "classes"
    return classes and chosen is not None and not made


def incidence_baseline(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    normalizer: Any,
    max_samples: int = 50_000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Scores the mixtures on the test tiles, fitted on the training tiles.

    Args:
        store: A tile store with bands of backscatter in dB and of incidence angles.
        train_indices: Tiles to fit on.
        test_indices: Tiles to score; pixels that overlap count once.
        info: The label.
        head: What the network that they stand beside answers.
        normalizer: The network's own scaling, which is not used: slopes are in dB.
        max_samples: Training pixels to draw, evenly from all tiles.
        seed: Seed of the draw and of the mixtures.

    Returns:
        ``incidence_gaussians`` -> the layout of an evaluation's ``result``, with a
        ``title``; empty where no class has enough pixels.
    """
    chosen = _bands(store)
    assert chosen is not None  # `fits_store`
    radar, angle = chosen
    rng = np.random.default_rng(seed)
    share = max(1, max_samples // len(train_indices))
    rows, truths = [], []
    for tile in read_tiles(store, train_indices, info.name, normalizer):
        known = np.isfinite(tile.source[..., [*radar, angle]]).all(-1)
        known &= tile.counted & info.scored(tile.label)
        drawn = rng.permutation(np.flatnonzero(known))[:share]
        rows.append(tile.source.reshape(-1, tile.source.shape[-1])[drawn])
        truths.append(tile.label.reshape(-1)[drawn])
    pixels, truth = np.concatenate(rows).astype(np.float64), np.concatenate(truths)
    if not len(truth) or np.unique(truth, return_counts=True)[1].max() < _LEAST_PIXELS:
        return {}
    model = IncidenceGaussians(seed=seed)
    model.fit(pixels[:, radar], pixels[:, angle], truth)
    evaluation = evaluation_for(head, seed=seed, num_pictures=0)
    usual = np.bincount(truth.astype(int), minlength=len(head.classes)) / len(truth)
    for tile in read_tiles(store, test_indices, info.name, normalizer):
        known = np.isfinite(tile.source[..., [*radar, angle]]).all(-1)
        said = np.broadcast_to(usual, (*known.shape, len(usual))).copy()
        found = tile.source[known].astype(np.float64)
        if len(found):
            prob = np.zeros((len(found), len(usual)))
            prob[:, model.classes_] = model.predict_proba(
                found[:, radar], found[:, angle]
            )
            said[known] = prob
        evaluation.add(tile.scene_id, tile.label, said, counted=tile.counted)
    title = "Gaussian mixtures about lines of incidence"
    return {"incidence_gaussians": {"title": title} | evaluation.result()}


def _bands(store: TileStore) -> tuple[list[int], int] | None:
    """Positions of backscatter and of the incidence angle, if both are there."""
    radar = [
        k
        for k, name in enumerate(store.bands)
        if name.removesuffix("_corrected") in _POLARISATIONS
    ]
    angle = [k for k, name in enumerate(store.bands) if name in INCIDENCE_BANDS]
    return (radar, angle[0]) if radar and angle else None
