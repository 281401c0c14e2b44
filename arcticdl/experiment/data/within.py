"""What strata within scenes need of an experiment: its bands, classes and scenes."""

import xarray as xr

from arcticdl.config import Experiment
from arcticdl.evaluation.strata.within import Within, check_within
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.scenes import open_configured
from arcticdl.tasks import TASKS
from arcticdl.tiles import TileStore


def strata_within(config: Experiment) -> list[Within]:
    """What the configuration has pixels told apart by."""
    return [Within(**vars(asked)) for asked in config.strata_within]


def scenes_beside(config: Experiment, store: TileStore) -> dict[str, xr.Dataset]:
    """The scenes by their names, where a band is asked for that the store lacks.

    A network may be kept from what its scores are told by, such as the angle of
    incidence (``data.use_bands``).
    """
    needed = {asked.of for asked in config.strata_within if asked.by == "band"}
    if needed <= set(store.bands):
        return {}
    data = config.data.model_copy(update={"use_bands": None})
    scenes = [
        open_configured(data, anchor, with_labels=False)
        for anchor in find_anchors(data)
    ]
    return {str(scene.attrs["scene_id"]): scene for scene in scenes}


def check_strata_within(config: Experiment, store: TileStore) -> None:
    """Refuses strata that cannot be told, before a network is trained.

    Raises:
        ConfigError: A band or class that is not there, or edges that do not rise.
    """
    beside = scenes_beside(config, store)
    bands = {str(band) for s in beside.values() for band in s["band"].values}
    mapped = [
        name
        for name in config.each_head
        if TASKS[config.task_of(name)].form.scored_by == "classes"
        and store.labels[name].is_pixel
    ]
    classes = {c for name in mapped for c in store.labels[name].classes}
    check_within(strata_within(config), bands | set(store.bands), classes)
