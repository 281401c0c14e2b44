"""Clouds over scenes: ragged masks, hidden pixels, series with gaps."""

from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.derived.gaps import REACH_PX, mark_gaps
from arcticdl.scene import grid_coords
from arcticdl.simulate import fields
from arcticdl.simulate.optical import OPTICAL_BANDS, draw_surface, reflectance
from arcticdl.simulate.scene import REGIONS, region_geobox, summer_attributes

CLOUDY_BANDS = ("B03", "B08")
"""Sentinel-2 green and near infrared, which tell snow, ponds and water apart."""

CLOUDY_DAYS = 4
"""Days of a place in a series under cloud."""

CLOUD_PX = 24
"""Size of the largest parts of a cloud, unless told."""


def cloud_mask(
    shape: tuple[int, int],
    share: float,
    rng: np.random.Generator,
    *,
    size_px: float = CLOUD_PX,
) -> np.ndarray:
    """Draws which pixels clouds cover.

    The mask is where a fractal field is highest: few large patches with ragged rims and
    small ones about them, as the perimeters and areas of real clouds have it (Lovejoy
    1982, doi:10.1126/science.216.4542.185).

    Args:
        shape: (rows, columns).
        share: Share of the pixels that is covered, above 0 and below 1.
        rng: Source of randomness.
        size_px: Scale of the largest patches.

    Returns:
        Boolean of that shape; exactly the share, to a pixel.

    Raises:
        ValueError: A share of nothing or of everything, or a size below 1.

    Example:
        >>> cloud_mask((50, 40), 0.3, np.random.default_rng(0)).mean().item()
        0.3
    """
    if not 0 < share < 1 or not size_px >= 1:
        raise ValueError(
            "`share` must lie above 0 and below 1, and `size_px` be at least 1: where "
            "nothing or everything is hidden, nothing is learnt. Received: "
            f"share={share}, size_px={size_px}."
        )
    veil = fields.fractal_noise(rng, shape, size_px, octaves=5).ravel()
    count = round(share * veil.size)
    covered = np.zeros(veil.size, bool)
    first = veil.size - count
    covered[np.argpartition(veil, min(first, veil.size - 1))[first:]] = True
    return covered.reshape(shape)


def hide_clouds(
    scene: xr.Dataset,
    bands: Sequence[str],
    share: float,
    *,
    size_px: float = CLOUD_PX,
    reach_px: int = REACH_PX,
    seed: int = 0,
) -> xr.Dataset:
    """Hides bands of a scene under simulated clouds, where the truth is known.

    The same scene and seed give the same clouds. They are drawn over the whole scene,
    void pixels too, so that of those observed about the share is hidden.

    Args:
        scene: A Scene, with ``scene_id``.
        bands: The bands that are hidden.
        share: Share of the scene, above 0 and below 1.
        size_px: Scale of the largest patches.
        reach_px: See ``derived.mark_gaps``.
        seed: Seed of all scenes.

    Returns:
        The scene with its gaps marked, of clouds and of what was void before; see
        ``derived.mark_gaps``. Labels stay as they are.

    Raises:
        ValueError: As of ``cloud_mask`` and ``derived.mark_gaps``.

    Example:
        >>> hidden = hide_clouds(cloudy_scene(64), ["B03", "B08"], 0.4)
        >>> hidden["band"].values.tolist()
        ['B03', 'B08', 'gap']
    """
    check_names(bands=bands)
    height, width = scene["image"].shape[1:]
    key = crc32(str(scene.attrs["scene_id"]).encode())

    def read(rows: slice, cols: slice) -> np.ndarray:
        return _covered(height, width, share, size_px, (seed, key))[rows, cols]

    cloud_mask((1, 1), share, np.random.default_rng(0), size_px=size_px)  # refuses
    return mark_gaps(scene, bands, reach_px=reach_px, hidden=read)


@lru_cache(maxsize=4)  # a scene is read in many windows, one scene after the other
def _covered(
    height: int, width: int, share: float, size_px: float, key: tuple[int, ...]
) -> np.ndarray:
    rng = np.random.default_rng(key)
    return cloud_mask((height, width), share, rng, size_px=size_px)


def cloudy_scene(size_px: int = 128, seed: int = 0, *, index: int = 0) -> xr.Dataset:
    """Draws one day of summer ice with gaps under clouds, and what lies beneath them.

    Scenes come in series of ``CLOUDY_DAYS`` days a place. The ice of every other place
    is fast; elsewhere it drifts some pixels a day. Ponds grow, and the light changes
    from day to day.

    Args:
        size_px: Side of the scene, at least 16; a pixel is 10 m.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene: day ``index % CLOUDY_DAYS`` of a place.

    Returns:
        A Scene: ``image`` (band, y, x) float32 reflectance of ``CLOUDY_BANDS``, NaN
        under clouds; ``valid``; and the label ``clear`` (channel, y, x), the same
        without clouds.

    Raises:
        ValueError: A size below 16.

    Example:
        >>> scene = cloudy_scene(64, index=5)
        >>> scene.attrs["group"], bool(0.5 < scene["valid"].values.mean() < 0.9)
        ('beaufort_sea_01', True)
    """
    if size_px < 16:
        raise ValueError(f"`size_px` must be at least 16. Received: {size_px}.")
    place, day = divmod(index, CLOUDY_DAYS)
    rng = np.random.default_rng([seed, index, 15])
    clear = _seen(rng, size_px, seed, place, day)
    cloud = cloud_mask((size_px, size_px), rng.uniform(0.1, 0.45), rng)
    region = sorted(REGIONS)[place % len(REGIONS)]
    where = np.random.default_rng([seed, place, 16])
    names = list(CLOUDY_BANDS)
    units = {"units": "1"}
    label = xr.DataArray(
        clear, dims=("channel", "y", "x"), coords={"channel": names}, attrs=units
    )
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), np.where(cloud, np.nan, clear), units),
            "valid": (("y", "x"), ~cloud),
            "clear": label,
        },
        coords={
            "band": names,
            **grid_coords(region_geobox(where, region, size_px, 10.0)),
        },
        attrs=summer_attributes(
            f"simulated_cloudy_{seed}_{place:02d}_{day:02d}",
            region,
            1 + day,
            group=f"{region}_{place:02d}",
        ),
    )


def _seen(
    rng: np.random.Generator, size_px: int, seed: int, place: int, day: int
) -> np.ndarray:
    """The reflectance of one day without clouds, float32 (band, y, x)."""
    ice = np.random.default_rng([seed, place, 17])
    drift = ice.normal(0.0, 4.0, 2) * (place % 2)  # pixels a day
    margin = int(np.ceil(np.abs(drift).max() * CLOUDY_DAYS)) + 1
    surface = draw_surface(ice, size_px + 2 * margin, 0.15 + 0.04 * day)
    chosen = [OPTICAL_BANDS.index(band) for band in CLOUDY_BANDS]
    whole = reflectance(ice, surface)[chosen]
    top, left = (margin + np.round(drift * day)).astype(int)
    seen = whole[:, top : top + size_px, left : left + size_px]
    seen = seen * rng.uniform(0.94, 1.06) + 0.004 * rng.standard_normal(seen.shape)
    return np.clip(seen, 0.0, 1.2).astype(np.float32)
