"""Scores of the images that share a season, a sensor, or a gap in time to a label."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from arcticdl.choices import check_names
from arcticdl.evaluation.strata.within import score_images

GAP_SUFFIX = "_time_gap_h"
"""How a store names the hours between a scene and its label, after the label."""

_GAP_EDGES_H = (1, 3, 6, 12)
_GAP_CLASSES = ("up to 1 h", "1 to 3 h", "3 to 6 h", "6 to 12 h", "beyond 12 h")
_UNKNOWN = "unknown"

Strata = Mapping[str, Mapping[str, str]]


def scores_by_stratum(
    result: Mapping[str, Any], strata: Strata
) -> dict[str, list[dict[str, Any]]]:
    """Pools the images of each stratum, as all images are pooled, and scores them.

    Args:
        result: Of one head, as an evaluation's ``result`` gives it.
        strata: By column the stratum of each image, ``{column: {image_id: name}}``, as
            ``scene_strata`` gives it. Images of no stratum are left out.

    Returns:
        By column one entry a stratum, in order: ``stratum``, ``images`` (their names),
        ``num_images`` and ``num_pixels`` (as the result counts them), ``scores`` of
        these pixels together, and ``intervals`` of 95 % over these images, empty for a
        single one. An image without a scored pixel, such as one whose map is void,
        belongs to no stratum.

    Example:
        >>> import numpy as np
        >>> from arcticdl.evaluation import SegmentationEvaluation
        >>> evaluation = SegmentationEvaluation(["water", "ice"])
        >>> evaluation.add("a", np.array([[0, 1]]), np.array([[0, 1]]))
        >>> evaluation.add("b", np.array([[0, 1]]), np.array([[1, 1]]))
        >>> found = scores_by_stratum(
        ...     evaluation.result(), {"season": {"a": "freeze-up", "b": "melt"}})
        >>> [(e["stratum"], e["scores"]["accuracy"]) for e in found["season"]]
        [('freeze-up', 1.0), ('melt', 0.5)]
    """
    scored = [entry for entry in result["images"] if entry["num_pixels"]]
    found: dict[str, list[dict[str, Any]]] = {}
    for column, named in strata.items():
        members: dict[str, list[Mapping[str, Any]]] = {}
        for entry in scored:
            if entry["image_id"] in named:
                members.setdefault(named[entry["image_id"]], []).append(entry)
        if members:
            names = sorted(members, key=_place)
            found[column] = [_scored(result, name, members[name]) for name in names]
    return found


def scene_strata(
    manifest: pd.DataFrame, columns: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Reads the stratum of each scene from columns of a store's manifest.

    Args:
        manifest: One row a tile, with ``scene_id``; what a column says of a scene all
            its tiles say.
        columns: Columns; those that the manifest lacks are left out. Hours between
            scene and label (``LABEL_time_gap_h``) become classes, each with its upper
            end, and scenes without them are left out; of other columns these are
            ``"unknown"``.

    Returns:
        ``{column: {scene_id: stratum}}``.

    Example:
        >>> table = pd.DataFrame({"scene_id": ["a", "b"], "ice_time_gap_h": [3.0, 3.5]})
        >>> scene_strata(table, ["ice_time_gap_h", "season"])
        {'ice_time_gap_h': {'a': '1 to 3 h', 'b': '3 to 6 h'}}
    """
    check_names(columns=columns)
    scenes = manifest.drop_duplicates("scene_id")
    ids = scenes["scene_id"].astype(str)
    strata: dict[str, dict[str, str]] = {}
    for column in columns:
        if column not in scenes:
            continue
        pairs = zip(ids, scenes[column], strict=True)
        if column.endswith(GAP_SUFFIX):
            strata[column] = {i: _gap_class(v) for i, v in pairs if not pd.isna(v)}
        else:
            strata[column] = {i: _name(value) for i, value in pairs}
    return strata


def pool_strata(
    results: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Scores the strata of several folds' images together.

    Args:
        results: The folds' results, with ``strata`` where they have any.
        pooled: The folds pooled.

    Returns:
        As ``scores_by_stratum``.
    """
    strata: dict[str, dict[str, str]] = {}
    for result in results:
        for column, entries in (result.get("strata") or {}).items():
            named = strata.setdefault(column, {})
            for entry in entries:
                named |= dict.fromkeys(entry["images"], entry["stratum"])
    return scores_by_stratum(pooled, strata)


def _scored(
    result: Mapping[str, Any], name: str, images: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Pools a part of the images."""
    found = score_images(result, images)
    kept = ("num_images", "num_pixels", "scores", "intervals")
    members = [entry["image_id"] for entry in images]
    return {"stratum": name, "images": members, **{k: found[k] for k in kept}}


def _gap_class(hours: float) -> str:
    # Upper ends belong to their class, as `max_time_gap_h: 3` keeps a gap of 3 h.
    return _GAP_CLASSES[int(np.searchsorted(_GAP_EDGES_H, hours))]


def _name(value: Any) -> str:
    if pd.isna(value) or value == "":
        return _UNKNOWN
    return f"{value:g}" if isinstance(value, float) else str(value)


def _place(name: str) -> tuple[bool, float, str]:
    """Gaps and numbers in rising order, names by the alphabet, the unknown last."""
    if name in _GAP_CLASSES:
        return False, _GAP_CLASSES.index(name), ""
    try:
        return name == _UNKNOWN, float(name), ""
    except ValueError:
        return name == _UNKNOWN, np.inf, name
