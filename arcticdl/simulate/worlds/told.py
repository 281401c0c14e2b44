"""The chart that the true parameters of a scene give: what scores are held against."""

import numpy as np

from arcticdl.seaice import sar
from arcticdl.simulate.chart import Chart, egg_row
from arcticdl.simulate.radar import equivalent_looks_at
from arcticdl.simulate.scene import Truth
from arcticdl.void import VOID_CLASS

_STEP_PX = 4
_LEAST_PIXELS = 800
_ROUNDS = 30
_NUM_CLASSES = 6
_DB = 10.0 / np.log(10.0)


def told_chart(truth: Truth, chart: Chart) -> Chart:
    """Draws the chart of a scene from its backscatter and its true parameters.

    What no method can have: the outlines of the chart's polygons, and for each pixel
    the distribution of HH and HV that its angle, the wind, the noise floor and the
    constants of the scene give each class. The shares of the classes in a polygon are
    those of greatest likelihood (expectation and maximisation). Every fourth pixel of a
    row and of a column is looked at, and all of small polygons.

    Args:
        truth: The scene.
        chart: From ``draw_chart`` of it.

    Returns:
        The same polygons, with other egg codes.
    """
    rows, cols = _looked_at(truth, chart.polygon)
    polygon = chart.polygon[rows, cols]
    likely = _likelihoods(truth, rows, cols)
    shares = _shares(polygon, likely, len(chart.rows))
    return Chart(chart.polygon, tuple(egg_row(each) for each in shares))


def told_pixels(truth: Truth, chart: Chart) -> np.ndarray:
    """The likeliest class of each pixel by the true parameters of its scene.

    As ``told_chart``, with the shares of the classes in a polygon for what is usual
    there; a pixel's neighbours tell nothing.

    Args:
        truth: The scene.
        chart: From ``draw_chart`` of it.

    Returns:
        Classes, uint8 ``(y, x)``, 255 where the scene has none.
    """
    known = truth.radar.valid & (truth.ice.ice_type != VOID_CLASS)
    rows, cols = np.nonzero(known)
    polygon = chart.polygon[rows, cols]
    likely = _likelihoods(truth, rows, cols)
    shares = _shares(polygon, likely, len(chart.rows))
    found = np.full(known.shape, VOID_CLASS, np.uint8)
    found[rows, cols] = (shares[polygon] * likely).argmax(axis=1)
    return found


def _looked_at(truth: Truth, polygon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that tell, within the swath and off land."""
    looked = np.zeros(polygon.shape, bool)
    looked[::_STEP_PX, ::_STEP_PX] = True
    looked |= (np.bincount(polygon.ravel()) < _LEAST_PIXELS)[polygon]
    looked &= truth.radar.valid & (truth.ice.ice_type != VOID_CLASS)
    rows, cols = np.nonzero(looked)
    return rows, cols


def _shares(polygon: np.ndarray, likely: np.ndarray, count: int) -> np.ndarray:
    """Shares of the classes in each polygon, (polygon, class); 0 where none tells."""
    number = np.bincount(polygon, minlength=count)[:, None]
    shares = np.where(number > 0, 1.0 / _NUM_CLASSES, 0.0) * np.ones(_NUM_CLASSES)
    for _ in range(_ROUNDS):
        weight = shares[polygon] * likely
        weight /= weight.sum(axis=1, keepdims=True)
        for k in range(_NUM_CLASSES):
            shares[:, k] = np.bincount(polygon, weight[:, k], minlength=count)
        shares /= np.maximum(number, 1)
    return shares


def _likelihoods(truth: Truth, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """How likely HH and HV of a pixel are in each class, up to a factor; (n, class)."""
    radar = truth.radar
    seen = np.stack([radar.hh_db[rows, cols], radar.hv_db[rows, cols]], -1)
    noise = radar.noise.power()[rows, cols].astype(np.float64)
    angle = radar.incidence_deg[rows, cols].astype(np.float64)
    wind = radar.wind_ms[rows, cols].astype(np.float64)
    look = radar.wind_to_look_deg
    wet = np.maximum(sar.open_water_hh_db(wind, look, angle), -32.0)
    water = np.stack([wet, sar.open_water_hv_db(wind)], -1)
    looks = equivalent_looks_at(abs(truth.geobox.affine.a))
    logs = np.empty((len(rows), _NUM_CLASSES))
    for k in range(_NUM_CLASSES):
        mean, spread = _moments(truth, k, angle, water if k == 0 else 0.0, noise, looks)
        logs[:, k] = _log_density(seen - mean, spread)
    # A pixel that is far from every class is told by none more than by another.
    likely: np.ndarray = np.exp(np.maximum(logs - logs.max(1, keepdims=True), -30.0))
    return likely


def _moments(
    truth: Truth,
    number: int,
    angle: np.ndarray,
    beside_db: np.ndarray | float,
    noise: np.ndarray,
    looks: float,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Mean of HH and HV in dB, and their variances with the covariance between."""
    world = truth.radar.world
    one = world.signatures[number]
    level, slope = np.array([one.hh_db, one.hv_db]).T
    mean = level + slope * world.fallen_deg(angle)[:, None] + beside_db
    shared = one.floe_db**2 + one.coarse_db**2
    kept = 10.0 ** (world.kept_noise_db / 10.0)
    clean = 10.0 ** (mean[:, 1] / 10.0)
    whole = clean + kept
    part = clean / whole  # by which a change of the clean power is seen in decibels
    grain = clean**2 / looks + noise**2 * (1.0 / looks + world.seam**2)
    of_hh = np.full(len(angle), shared + one.fine_db**2 + _DB**2 / looks)
    of_hv = part**2 * (shared + one.fine_db**2) + (_DB / whole) ** 2 * grain
    mean[:, 1] = 10.0 * np.log10(whole)
    return mean, (of_hh, of_hv, part * shared)


def _log_density(
    away: np.ndarray, spread: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> np.ndarray:
    """Logarithm of a Gaussian density of two numbers, up to a constant."""
    first, second, between = spread
    determinant = first * second - between**2
    distance = second * away[:, 0] ** 2 + first * away[:, 1] ** 2
    distance = distance - 2.0 * between * away[:, 0] * away[:, 1]
    found: np.ndarray = -0.5 * (distance / determinant + np.log(determinant))
    return found
