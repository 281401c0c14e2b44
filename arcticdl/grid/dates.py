"""Dates of a series as one scene: the bands of each, the last one's grid."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import SeriesError
from arcticdl.grid.stack import stack
from arcticdl.scene import check_scene, label_names, read_values
from arcticdl.series import Steps
from arcticdl.sources.core.lazy import WindowArray


def stack_dates(scenes: Mapping[int, xr.Dataset], steps: Steps) -> xr.Dataset:
    """Puts the dates of a series that a network sees into one scene.

    Args:
        scenes: Step -> scene, on one grid and with the same bands; ``0`` must be
            there, other dates may be missing.
        steps: Which dates are seen.

    Returns:
        The scene of date 0, whose bands are those of all dates: float32, with NaN
        where a date is missing or its pixel invalid. It is valid where date 0 is.

    Raises:
        SeriesError: Date 0 is missing, or dates have different bands.
        GridMismatchError: Their grids differ.

    Example:
        >>> import xarray as xr
        >>> from affine import Affine
        >>> from odc.geo.geobox import GeoBox
        >>> from arcticdl.scene import grid_coords
        >>> grid = grid_coords(GeoBox((2, 3), Affine(40, 0, 0, 0, -40, 0), 3413))
        >>> image = (("band", "y", "x"), np.ones((1, 2, 3)))
        >>> day = xr.Dataset({"image": image}, {"band": ["HH"], **grid})
        >>> both = stack_dates({0: day}, Steps(history=2))
        >>> both["band"].values.tolist(), float(both["image"][0, 0, 0])
        (['HH_t-1', 'HH'], nan)
    """
    if 0 not in scenes:
        raise SeriesError(
            "The date that a sequence is named after must be there. Received: dates "
            f"{sorted(scenes)}."
        )
    now = check_scene(scenes[0])
    names = [str(band) for band in now["band"].values]
    members = []
    for step in steps.seen:
        scene = scenes.get(step)
        if scene is not None and list(map(str, scene["band"].values)) != names:
            raise SeriesError(
                f"All dates of a series must have the bands {names}. Received: "
                f"{list(map(str, scene['band'].values))} in "
                f"{scene.attrs.get('scene_id')!r}."
            )
        members.append(_one_date(scene, now, [steps.named(n, step) for n in names]))
    # Date 0 comes last, and is first in line: attributes and labels are its own.
    both = stack([members[-1], *members[:-1]]) if len(members) > 1 else members[-1]
    return both.sel(band=list(steps.band_names(names)))


def _one_date(
    scene: xr.Dataset | None, now: xr.Dataset, names: list[str]
) -> xr.Dataset:
    """A date as float32 with NaN; labels and ``valid`` only of date 0."""
    base = now if scene is None else check_scene(scene)
    absent = partial(_missing, len(names))
    read = absent if scene is None else partial(known_pixels, base)
    image = WindowArray(base["image"].shape, np.dtype("float32"), read)
    attrs, encoding = dict(base["image"].attrs), base["image"].encoding
    variable = image.variable(("band", "y", "x"), attrs, encoding)
    changed = base.drop_vars("image").assign(image=variable)
    changed = changed.assign_coords(band=names)
    if scene is not now:
        changed = changed.drop_vars(["valid", *label_names(base)], errors="ignore")
    changed.set_close(base.close)
    return changed


def _missing(count: int, bands: list[int], rows: slice, cols: slice) -> np.ndarray:
    shape = (len(bands), rows.stop - rows.start, cols.stop - cols.start)
    return np.full(shape, np.nan, "float32")


def known_pixels(
    scene: xr.Dataset, bands: list[int], rows: slice, cols: slice
) -> np.ndarray:
    """Reads a window of some bands, float32 (band, y, x), NaN where not valid."""
    window: dict[str, Any] = {"y": rows, "x": cols}
    part = scene["image"].isel({"band": bands, **window})
    image = read_values(part, "band", "y", "x").astype("float32")
    if "valid" in scene:
        image[:, ~read_values(scene["valid"].isel(window), "y", "x")] = np.nan
    return image
