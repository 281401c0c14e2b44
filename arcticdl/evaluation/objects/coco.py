"""Instances of maps as COCO results, and the annotations that they are scored by."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.choices import check_choice
from arcticdl.errors import SourceError
from arcticdl.files import safe_name
from arcticdl.metrics.detection import coco_annotations
from arcticdl.sources.formats.coco import CocoFile, read_coco
from arcticdl.sources.formats.coco_masks import VERTICES
from arcticdl.sources.open import open_scene

_ENDING = "_instances.tif"
_MANIFEST = ("image_id", "file_name")


def coco_results(
    maps: str | Path, images: str | Path, *, most: int | None = None
) -> list[dict[str, Any]]:
    """Reads maps of instances as COCO results, which challenges ask for.

    Args:
        maps: Folder of ``NAME_instances.tif`` and ``.gpkg``, as the product
            ``instances`` writes them; their scores need the output ``prob``.
        images: COCO annotations, or a table (``.csv``) of ``image_id`` and
            ``file_name``: which identifier each image has. Images without a map have no
            result.
        most: The surest objects of an image that are kept; ``None``: all.

    Returns:
        Dicts of ``image_id``, ``category_id``, ``segmentation`` (compressed run-length
        encoding) and ``score``, ready for JSON. A file of one category lends it to all
        objects, a table says 1; of several, each object's class must be one.

    Raises:
        MissingExtraError: pycocotools is not installed.
        SourceError: No map is of an image of the file, or one may be of several, has
            another size, no polygons, no score, or a class that is no category.
    """
    known = _read_images(Path(images))
    found = _find_maps(Path(maps), known, images)
    results: list[dict[str, Any]] = []
    for image_id, path in found.items():
        numbers, classes, scores = _read_map(path)
        if image_id in known.images and "height" in known.images[image_id]:
            _check_size(path, numbers.shape, known.size(image_id))
        categories = _categories(known, classes, path)
        entries = coco_annotations(np.maximum(numbers, 0), image_id)
        kept = np.argsort(-scores, kind="stable")[:most]
        for place in sorted(kept.tolist()):
            results.append(
                {
                    "image_id": image_id,
                    "category_id": categories[place],
                    "segmentation": entries[place]["segmentation"],
                    "score": float(scores[place]),
                }
            )
    return results


def mapped_images(maps: str | Path, images: str | Path) -> list[Any]:
    """Identifiers of the images of a file that have a map; see `coco_results`."""
    return list(_find_maps(Path(maps), _read_images(Path(images)), images))


def coco_truth(
    file: str | Path,
    image_ids: Sequence[Any] | None = None,
    *,
    vertices: str = "corners",
) -> dict[str, Any]:
    """Reads annotations as masks, for `metrics.coco_scores`.

    Areas are those of the masks, not what the file says; some files say those of boxes.

    Args:
        file: COCO annotations.
        image_ids: Images that are scored; ``None``: all.
        vertices: What points of polygons are, as `open_scene` of such a file takes it.

    Returns:
        ``images``, ``annotations`` and ``categories``.

    Raises:
        MissingExtraError: pycocotools is not installed.
        SourceError: The file is no COCO annotations, or an object has no outline.
        ValueError: Unknown `vertices`.

    Example:
        >>> import json, tempfile
        >>> image = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 8}
        >>> slump = {"id": 1, "image_id": 1, "category_id": 1}
        >>> slump["segmentation"] = [[2, 1, 5, 1, 5, 3, 2, 3]]
        >>> tree = {"images": [image], "annotations": [slump]}
        >>> tree["categories"] = [{"id": 1, "name": "rts"}]
        >>> file = Path(tempfile.mkdtemp()) / "truth.json"
        >>> _ = file.write_text(json.dumps(tree))
        >>> coco_truth(file, vertices="pixels")["annotations"][0]["area"]
        12.0
        >>> coco_truth(file)["annotations"][0]["area"]  # places between pixels
        6.0
    """
    check_choice("vertices", vertices, VERTICES)
    coco = read_coco(file)
    chosen = list(coco.images) if image_ids is None else list(image_ids)
    annotations = []
    for image_id in chosen:
        height, width = coco.size(image_id)
        for entry, outline in coco.outlines(image_id, vertices):
            if outline is None:
                raise SourceError(
                    f"Annotation {entry.get('id')!r} of {file} must have a "
                    "segmentation to be scored as a mask. Received: none."
                )
            mask = outline.mask(slice(0, height), slice(0, width)).astype(np.uint8)
            crowd = {"iscrowd": int(entry.get("iscrowd", 0))}
            drawn = coco_annotations(mask, image_id, entry["category_id"])
            annotations += [one | crowd for one in drawn]
    return {
        "images": [{**coco.images[key], "id": key} for key in chosen],
        "annotations": annotations,
        "categories": [{"id": k, "name": v} for k, v in coco.categories.items()],
    }


def _read_images(path: Path) -> CocoFile:
    if path.suffix.lower() != ".csv":
        return read_coco(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    try:
        images = {int(row["image_id"]): {"file_name": row["file_name"]} for row in rows}
    except (KeyError, TypeError, ValueError):
        images = {}
    if not images or len(images) != len(rows):
        raise SourceError(
            f"{path} must have the columns {list(_MANIFEST)}, a whole number of its "
            f"own for each image. Received: {rows[:1] or 'no row'}."
        )
    return CocoFile(str(path), images, {1: ""}, {})


def _find_maps(folder: Path, known: CocoFile, file: str | Path) -> dict[Any, Path]:
    """Maps of images of the file, by identifier.

    Raises:
        SourceError: There is none, or one may be of several images.
    """
    paths = sorted(folder.glob(f"*{_ENDING}"))
    found = {path.name.removesuffix(_ENDING): path for path in paths}
    named: dict[str, list[Any]] = {}
    for image_id, entry in known.images.items():  # as maps are named by `predict`
        stem = safe_name(Path(str(entry["file_name"])).stem)
        named.setdefault(stem, []).append(image_id)
    unclear = {name: named[name] for name in found if len(named.get(name, ())) > 1}
    if unclear:
        name, several = next(iter(unclear.items()))
        raise SourceError(
            f"A map must be of one image of {file}. Received: {name}{_ENDING}, which "
            f"is named as the images {several[:5]} are. Rename the images, or split "
            "the file, and map each part in a folder of its own."
        )
    both = {named[name][0]: path for name, path in found.items() if name in named}
    if not both:
        raise SourceError(
            f"{folder} must hold maps NAME{_ENDING} of images of {file}, such as "
            f"{sorted(named)[:3]}. Received: {sorted(found)[:3] or 'none'}; map "
            "them by `arcticdl predict` with the product `instances`."
        )
    return both


def _read_map(
    path: Path,
) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
    """Numbers of a map, and classes and scores in their order."""
    from arcticdl.sources.formats.vector import read_table

    with open_scene(path) as scene:
        numbers = scene["image"].values[0].astype(np.int64)
    polygons = path.with_suffix(".gpkg")
    if not polygons.is_file():
        raise SourceError(
            f"Beside {path} its objects must lie as {polygons.name}. Received: no such "
            "file; map the scene again."
        )
    frame = read_table(polygons).sort_values("number")
    if frame["number"].tolist() != np.unique(numbers[numbers > 0]).tolist():
        raise SourceError(
            f"{path} and its .gpkg must hold the same objects. Received: "
            f"{len(frame)} polygons; map the scene again."
        )
    if "score" not in frame:
        raise SourceError(
            f"Objects of {path} must have scores. Received: none; map with "
            "`predict.outputs: [class, prob]`."
        )
    scores = frame["score"].to_numpy(np.float64)
    return numbers, [str(name) for name in frame["class"]], scores


def _check_size(path: Path, got: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if tuple(got) != wanted:
        raise SourceError(
            f"{path} must have the size of its image, {wanted} as rows and columns. "
            f"Received: {tuple(got)}; predict on the scene's own grid."
        )


def _categories(known: CocoFile, classes: Sequence[str], path: Path) -> list[Any]:
    """The identifier of each object's category."""
    if len(known.categories) == 1:
        return list(known.categories) * len(classes)
    by_name = {name.replace("_", " "): key for key, name in known.categories.items()}
    absent = sorted({name for name in classes if name not in by_name})
    if absent:
        raise SourceError(
            f"Classes of objects must be categories of {known.path}: "
            f"{sorted(by_name)}. Received: {absent} in {path}."
        )
    return [by_name[name] for name in classes]
