"""The charts that true parameters give, of scenes that are simulated."""

import xarray as xr

from arcticdl.config import Experiment
from arcticdl.errors import LabelError
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.scenes import open_configured
from arcticdl.sources.charts.ai4arctic import CEILING, LABELS
from arcticdl.tiles import TileStore

_CARRIED = {*LABELS, "sic"}


def open_ceilings(config: Experiment, store: TileStore) -> dict[str, xr.Dataset]:
    """Opens the charts that the true parameters of simulated scenes give, lazily.

    Args:
        config: The experiment.
        store: Its store.

    Returns:
        Scene -> by head the chart, on the pixels and in the form of the label. Empty
        where scenes are not simulated, or where no head is of a chart that files of
        the AI4Arctic layout carry; without scenes whose files are gone, or of an older
        make: a run is scored from its store alone.
    """
    from arcticdl.evaluation.baselines.methods import is_simulated

    heads = config.each_head
    labels = {n: config.data.labels[n] for n in heads if n in config.data.labels}
    carried = {
        name: label.model_copy(
            update={"carried": f"{label.carried}{CEILING}", "corrections": None}
        )
        for name, label in labels.items()
        if label.carried in _CARRIED
    }
    if not carried or not is_simulated(store):
        return {}
    options = {**config.data.reader_options, "ceiling": True}
    data = config.data.model_copy(update={"labels": carried, "reader_options": options})
    found = {}
    try:
        anchors = find_anchors(data)
    except FileNotFoundError:
        return {}
    for anchor in anchors:
        try:
            scene = open_configured(data, anchor)
        except (LabelError, FileNotFoundError):
            continue
        found[str(scene.attrs["scene_id"])] = scene[list(carried)]
    return found
