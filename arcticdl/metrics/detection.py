"""Detection scores by pycocotools, the reference implementation of COCO AP.

Lin et al. (2014, arXiv 1405.0312). Needs the extra ``coco``.
"""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from arcticdl.choices import check_choice
from arcticdl.errors import needs_extra

_STATS = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
IOU_TYPES = ("bbox", "segm")


def coco_scores(
    ground_truth: Mapping[str, Any] | str | Path,
    detections: Sequence[Mapping[str, Any]] | str | Path,
    *,
    iou_type: str = "segm",
) -> dict[str, Any]:
    """Computes COCO average precision and recall.

    Args:
        ground_truth: COCO annotations: a dict with ``images``, ``annotations``,
            ``categories``, or the path of such a JSON file.
        detections: COCO results: dicts of ``image_id``, ``category_id``, ``score`` and
            ``segmentation`` (RLE or polygons) or ``bbox``; or the path of a JSON file.
        iou_type: ``"segm"`` (masks) or ``"bbox"`` (boxes ``[x, y, width, height]``).

    Returns:
        ``ap`` (mean over IoU 0.50 to 0.95), ``ap50``, ``ap75``, ``ap_small`` (area
        below 32^2 px), ``ap_medium``, ``ap_large``, ``ar1``, ``ar10``, ``ar100``,
        ``ar_small``, ``ar_medium``, ``ar_large``: NaN where there is no such object;
        and ``per_category``: ``{name: ap}``.

    Raises:
        MissingExtraError: pycocotools is not installed.
        ValueError: Unknown `iou_type`, or a detection names an unknown image or
            category.
    """
    check_choice("iou_type", iou_type, IOU_TYPES)
    truth, found = _read(ground_truth), _read(detections)
    _check_ids(truth, found)
    coco, evaluator = _import_pycocotools()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        reference = coco()
        reference.dataset = _complete(truth)
        reference.createIndex()
        # It reads an empty list as an error, and no detection as a valid answer.
        own = [dict(one) for one in found]  # which it writes into
        results = reference.loadRes(own) if own else _empty(coco, truth)
        run = evaluator(reference, results, iou_type)
        run.evaluate()
        run.accumulate()
        run.summarize()
    values = np.where(run.stats < 0, np.nan, run.stats)
    scores: dict[str, Any] = dict(zip(_STATS, values.tolist(), strict=True))
    scores["per_category"] = _per_category(run, truth)
    return scores


def coco_annotations(
    instances: ArrayLike, image_id: int, category_ids: Mapping[int, int] | int = 1
) -> list[dict[str, Any]]:
    """Writes a map of instances as COCO annotations with run-length encoded masks.

    Add a ``score`` to each and they are COCO results.

    Args:
        instances: Integer ``(y, x)``: 0 is background, each other number one object.
        image_id: COCO image id.
        category_ids: Category of all objects, or of each ``{object: category}``.

    Returns:
        Dicts of ``image_id``, ``category_id``, ``segmentation``, ``bbox``, ``area``,
        ``iscrowd``; ready for JSON.

    Raises:
        MissingExtraError: pycocotools is not installed.
        ValueError: `instances` is not a map of integers.
    """
    codes = np.asarray(instances)
    if codes.ndim != 2 or codes.dtype.kind not in "iu":
        raise ValueError(
            "`instances` must be an integer map (y, x). "
            f"Received: shape {codes.shape}, dtype {codes.dtype}."
        )
    _import_pycocotools()
    from pycocotools import mask as masks

    annotations = []
    for code in np.unique(codes[codes != 0]).tolist():
        encoded = masks.encode(np.asfortranarray(codes == code, np.uint8))
        category = category_ids if isinstance(category_ids, int) else category_ids[code]
        annotations.append(
            {
                "image_id": image_id,
                "category_id": category,
                "segmentation": {
                    "size": [int(n) for n in encoded["size"]],
                    "counts": encoded["counts"].decode("ascii"),
                },
                "bbox": [float(v) for v in masks.toBbox(encoded)],
                "area": float(masks.area(encoded)),
                "iscrowd": 0,
            }
        )
    return annotations


def _import_pycocotools() -> tuple[Any, Any]:
    with needs_extra("coco", "A COCO score"):
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    return COCO, COCOeval


def _read(source: Any) -> Any:
    if isinstance(source, str | Path):
        return json.loads(Path(source).read_text())
    return source


def _check_ids(truth: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> None:
    for key, table in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in truth[table]}
        unknown = sorted({entry[key] for entry in found} - known)
        if unknown:
            raise ValueError(
                f"Every detection's `{key}` must be among the ground truth's {table}. "
                f"Received: {unknown[:12]}."
            )


def _complete(truth: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers annotations from 1: pycocotools takes id 0 for no match at all."""
    annotations = [
        {"iscrowd": 0, **entry, "id": number}
        for number, entry in enumerate(truth["annotations"], start=1)
    ]
    return {**truth, "annotations": annotations, "info": truth.get("info", {})}


def _empty(coco: Any, truth: Mapping[str, Any]) -> Any:
    results = coco()
    results.dataset = {**truth, "annotations": []}
    results.createIndex()
    return results


def _per_category(run: Any, truth: Mapping[str, Any]) -> dict[str, float]:
    """Averages precision over IoU and recall for each category, as ``ap`` does."""
    precision = run.eval["precision"][:, :, :, 0, -1]
    names = {entry["id"]: entry["name"] for entry in truth["categories"]}
    result = {}
    for column, category in enumerate(run.params.catIds):
        known = precision[:, :, column]
        known = known[known > -1]
        result[names[category]] = float(known.mean()) if known.size else float("nan")
    return result
