"""Backscatter that falls with the incidence angle: one line for all, or one a class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arcticdl.derived.radar import INCIDENCE_BANDS
from arcticdl.evaluation.baselines.sample import Method, Sample
from arcticdl.seaice.sar import flatten_incidence

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


@dataclass(frozen=True)
class Flattening:
    """Brings backscatter to one incidence angle along one slope for all surfaces.

    Attributes:
        radar: Positions of the bands of backscatter.
        angle: Position of the incidence angle; ``None``: bands stay as they are.
        slopes_db: Of each band of backscatter, dB per degree.
    """

    radar: tuple[int, ...]
    angle: int | None
    slopes_db: tuple[float, ...]

    def band(self, image: np.ndarray, band: int) -> np.ndarray:
        """One band ``(..., band)`` -> float64 ``(...)``, flattened where it is radar.

        Args:
            image: ``(..., band)`` in source units.
            band: Position of the band.
        """
        values = image[..., band].astype(np.float64)
        if self.angle is None or band not in self.radar:
            return values
        slope_db = self.slopes_db[self.radar.index(band)]
        return flatten_incidence(values, image[..., self.angle], slope_db=slope_db)


def fit_flattening(
    sample: Sample, bands: Sequence[str], *, of_classes: bool
) -> Flattening:
    """Fits the slopes of backscatter over the incidence angle to training pixels.

    One slope a band, by least squares beside a level for each class (of a quantity
    beside a line in it): that the classes lie at other angles does not tilt it. No
    constant of the literature takes part, nor one of a simulator.

    Args:
        sample: Training pixels.
        bands: Names of their bands.
        of_classes: Whether the truth is of classes.
    """
    radar, angle = radar_bands(bands), angle_band(bands)
    slopes = []
    for band in radar:
        slope = 0.0
        if angle is not None:
            db, theta = sample.values[:, band], sample.values[:, angle]
            known = np.isfinite(db) & np.isfinite(theta)
            slope = common_slope(
                db[known], theta[known], sample.truth[known], of_classes=of_classes
            )
        slopes.append(slope)
    return Flattening(radar, angle, tuple(slopes))


def common_slope(
    backscatter_db: np.ndarray,
    incidence_deg: np.ndarray,
    truth: np.ndarray,
    *,
    of_classes: bool = True,
) -> float:
    """The slope that all classes share, each about a level of its own.

    Args:
        backscatter_db: ``(n,)``, finite.
        incidence_deg: ``(n,)``, finite.
        truth: ``(n,)`` class codes, or a quantity.
        of_classes: Which of the two.

    Returns:
        dB per degree; 0 where the angle does not vary, or there is no pixel.

    Example:
        >>> angle = np.array([20.0, 30.0, 40.0, 30.0, 40.0])
        >>> common_slope(np.array([-10.0, -12, -14, -22, -24]), angle,
        ...              np.array([0, 0, 0, 1, 1])).__round__(3)
        -0.2
    """
    if not len(truth):
        return 0.0
    codes = np.unique(truth)
    beside = (
        (truth[:, None] == codes).astype(np.float64)
        if of_classes
        else np.stack([np.ones(len(truth)), truth], axis=-1)
    )
    angle = incidence_deg - incidence_deg.mean()
    table = np.concatenate([angle[:, None], beside], axis=1)
    return float(np.linalg.lstsq(table, backscatter_db)[0][0])


def fit_mixtures(
    sample: Sample, bands: Sequence[str], num_classes: int, *, seed: int
) -> Method | None:
    """Fits Gaussian mixtures about lines of incidence to training pixels.

    Args:
        sample: Training pixels.
        bands: Names of their bands.
        num_classes: Classes of the head.
        seed: Seed of the mixtures.

    Returns:
        The method; ``None`` without backscatter or its angle, or where no class has
        enough pixels. A pixel that lacks one of the bands has the classes' shares.
    """
    radar, angle = list(radar_bands(bands)), angle_band(bands)
    if not radar or angle is None:
        return None
    known = np.isfinite(sample.values[:, [*radar, angle]]).all(-1)
    values, truth = sample.values[known], sample.truth[known].astype(int)
    if not len(truth) or np.bincount(truth).max() < _LEAST_PIXELS:
        return None
    model = IncidenceGaussians(seed=seed)
    model.fit(values[:, radar], values[:, angle], truth)
    usual = np.bincount(truth, minlength=num_classes) / len(truth)

    def answer(image: np.ndarray) -> np.ndarray:
        there = np.isfinite(image[..., [*radar, angle]]).all(-1)
        said = np.broadcast_to(usual, (*there.shape, num_classes)).astype(np.float32)
        found = image[there].astype(np.float64)
        if len(found):
            prob = np.zeros((len(found), num_classes), np.float32)
            prob[:, model.classes_] = model.predict_proba(
                found[:, radar], found[:, angle]
            )
            said[there] = prob
        return said

    return Method("Gaussian mixtures about lines of incidence", answer)


def radar_bands(bands: Sequence[str]) -> tuple[int, ...]:
    """Positions of bands of backscatter, corrected or not."""
    return tuple(
        k
        for k, name in enumerate(bands)
        if name.removesuffix("_corrected") in _POLARISATIONS
    )


def angle_band(bands: Sequence[str]) -> int | None:
    """Position of the incidence angle, if it is there."""
    return next((k for k, name in enumerate(bands) if name in INCIDENCE_BANDS), None)
