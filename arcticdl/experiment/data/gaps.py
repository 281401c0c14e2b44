"""Gaps of configured scenes: marked, and hidden beside them what is to be learnt."""

from functools import partial

import xarray as xr

from arcticdl.config import DataConfig
from arcticdl.derived import mark_gaps
from arcticdl.derived.gaps import GAP
from arcticdl.experiment.data.further import kept_inside
from arcticdl.sources.core.lazy import WindowArray


def open_gaps(scene: xr.Dataset, data: DataConfig, *, hide: bool) -> xr.Dataset:
    """Marks the gaps of a scene, as ``data.gaps`` has it.

    Args:
        scene: The scene, with its bands and labels.
        data: The configuration.
        hide: Whether simulated clouds hide what is observed, for training and scores;
            a scene that is mapped has its own gaps alone.

    Returns:
        The scene with a band ``gap``; labels that restore bands are void outside gaps,
        so that what was seen is neither learnt nor scored.

    Raises:
        ValueError: The scene lacks a band that is restored.
        SceneError: It has a band of that name.
    """
    gaps = data.gaps
    if gaps is None:
        return scene
    restored = {n: lb.restores for n, lb in data.labels.items() if lb.restores}
    bands = sorted({band for found in restored.values() for band in found.bands})
    if not hide:
        return mark_gaps(scene, bands, reach_px=gaps.reach_px)
    from arcticdl.simulate import hide_clouds

    marked = hide_clouds(
        scene,
        bands,
        gaps.share,
        size_px=gaps.size_px,
        reach_px=gaps.reach_px,
        seed=gaps.seed,
    )
    gap = marked["image"].sel(band=GAP).variable
    for name in restored.keys() & marked.data_vars.keys():
        label = marked[name].variable
        read = partial(kept_inside, label, gap)
        lazy = WindowArray(label.shape, label.dtype, read)
        marked[name] = lazy.variable(tuple(map(str, label.dims)), label.attrs)
    marked.set_close(scene.close)
    return marked
