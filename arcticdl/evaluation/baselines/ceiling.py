"""What the true parameters of a simulation give: the ceiling beside its scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.evaluation.baselines.methods import score_answers
from arcticdl.evaluation.baselines.names import CEILING
from arcticdl.scene import BandStats
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore
from arcticdl.void import VOID_CLASS

TITLE = "true parameters of the simulation (ceiling)"

Ceilings = Mapping[str, xr.Dataset]
"""Scene -> by head the map ``(y, x)`` of its true parameters, in the label's form."""


def ceiling_answers(
    ceilings: Ceilings, heads: Mapping[str, Head], scene: xr.Dataset
) -> dict[str, np.ndarray]:
    """What the true parameters answer about a scene.

    Args:
        ceilings: Of this scene at least.
        heads: Heads of classes, or of a quantity.
        scene: The scene as ``assemble_scene`` gives it.

    Returns:
        Activated answers ``(y, x, channel)`` by head, NaN where there is none.
    """
    known = ceilings[str(scene.attrs["scene_id"])]
    shape = (scene.sizes["y"], scene.sizes["x"])
    found = {}
    for name, head in heads.items():
        values = known[name].values[: shape[0], : shape[1]]
        of_classes = head.form.scored_by == "classes"
        said = np.full((*shape, len(head.classes) or 1), np.nan, np.float32)
        place = said[: values.shape[0], : values.shape[1]]
        if of_classes:
            place[:] = values[..., None] == np.arange(len(head.classes))
            place[values == VOID_CLASS] = np.nan
        else:
            place[:] = values[..., None]
        found[name] = said
    return found


def score_ceiling(
    ceilings: Ceilings,
    store: TileStore,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Scores the true parameters as a method is scored.

    Args:
        ceilings: Of the scenes of these tiles.
        store: The tile store.
        test_indices: Tiles to score.
        info: The label.
        head: What is answered.
        seed: Seed of the intervals.

    Returns:
        As ``score_methods``, of the one method ``true_parameters``; empty where a scene
        has no such map.
    """
    scenes = set(store.manifest["scene_id"].iloc[np.asarray(test_indices)])
    if not all(str(s) in ceilings and info.name in ceilings[str(s)] for s in scenes):
        return {}

    def answer(scene: xr.Dataset, stats: BandStats | None = None) -> np.ndarray:
        return ceiling_answers(ceilings, {info.name: head}, scene)[info.name]

    return score_answers(
        {CEILING: (TITLE, answer)}, store, test_indices, info, head, seed
    )
