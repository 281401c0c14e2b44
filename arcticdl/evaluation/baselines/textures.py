"""Textures of radar backscatter and a random forest, on scenes as they are answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from arcticdl.evaluation.baselines.classical import Rows, fit_method
from arcticdl.evaluation.baselines.incidence import Flattening
from arcticdl.evaluation.baselines.pixels import read_tiles
from arcticdl.evaluation.baselines.sample import (
    Method,
    Sample,
    answer_in_steps,
    draw_places,
    unscaled,
)
from arcticdl.seaice.texture import TEXTURES, grey_levels, haralick_textures
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore

LEVELS, WINDOW_PX = 16, 11
_EDGES = (1.0, 99.0)  # percentiles of training that the grey levels span


@dataclass(frozen=True)
class Textures:
    """Textures of some bands of scenes.

    Attributes:
        flattening: What brings the bands to one incidence angle.
        limits: Position of each band -> what its grey levels span, in dB.
    """

    flattening: Flattening
    limits: dict[int, tuple[float, float]]

    def read(self, image: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Reads the textures about some pixels.

        Args:
            image: ``(y, x, band)`` in source units, NaN without data.
            rows: ``(n,)`` rows of the pixels.
            cols: ``(n,)`` their columns.

        Returns:
            float32 ``(n, feature)``, 0 where nothing is known about a pixel.
        """
        found = np.empty((len(rows), len(self.limits) * len(TEXTURES)), np.float32)
        for number, (band, limits) in enumerate(self.limits.items()):
            values = self.flattening.band(image, band)
            grey = grey_levels(values, limits, levels=LEVELS)
            part = haralick_textures(
                grey, rows, cols, levels=LEVELS, window_px=WINDOW_PX
            )
            start = number * len(TEXTURES)
            found[:, start : start + len(TEXTURES)] = np.nan_to_num(part)
        return found

    def answer(
        self, image: np.ndarray, fitted: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Answers about a scene, ``(y, x, channel)``, by what was fitted to rows."""

        def read(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
            places = np.meshgrid(rows, cols, indexing="ij")
            return self.read(image, places[0].ravel(), places[1].ravel())

        return answer_in_steps((image.shape[0], image.shape[1]), read, fitted)


def fit_textures(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    sample: Sample,
    flattening: Flattening,
    *,
    max_samples: int,
    seed: int,
) -> Method | None:
    """Fits a random forest to the textures about training pixels.

    Grey-level co-occurrence (`seaice.texture`) of 16 levels in windows of 11 pixels, of
    each band of backscatter, brought to one incidence angle first: the method of Park
    et al. 2020, The Cryosphere 14, 2629-2645, in small. The levels span the middle 98 %
    of the training pixels.

    Args:
        store: A tile store with bands of backscatter in dB.
        indices: Tiles to fit on.
        info: The label.
        head: What is answered.
        sample: Training pixels, from ``draw_sample``.
        flattening: From ``fit_flattening``.
        max_samples: Pixels whose windows are read, of all tiles together.
        seed: Seed of the draw and of the forest.

    Returns:
        The method; ``None`` where the bands of backscatter do not vary.
    """
    limits = {}
    for band in flattening.radar:
        values = flattening.band(sample.values, band)
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, _EDGES) if len(values) else (0.0, 0.0)
        if low < high:
            limits[band] = (float(low), float(high))
    if not limits:
        return None
    textures = Textures(flattening, limits)
    rng = np.random.default_rng(seed)
    share = max(1, max_samples // len(indices))
    features, truths = [], []
    for tile in read_tiles(store, indices, info.name, unscaled(store)):
        drawn = draw_places(rng, tile.counted & info.scored(tile.label), share)
        places = np.unravel_index(drawn, tile.label.shape)
        features.append(textures.read(tile.source, *places))
        truths.append(tile.label[places])
    rows = Rows(np.concatenate(features), np.concatenate(truths))
    fitted = fit_method("random_forest", rows, head, seed)
    return Method(
        "random forest on textures (GLCM)",
        lambda image: textures.answer(image, fitted),
    )
