"""Objects of COCO annotations: boxes, polygons, run-length encodings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.errors import SourceError
from arcticdl.sources.boxes.found import BoxFormat, FoundImage, FoundObject, corners
from arcticdl.sources.formats.coco import CocoFile, is_coco, read_coco
from arcticdl.sources.formats.coco_masks import Outline, Polygons

_STANDARD = ("id", "file_name", "width", "height")


def read_boxes(
    path: Path,
    scene: xr.Dataset,
    image: str,
    classes: Sequence[str],
    *,
    columns: Sequence[str] = (),
    absent_images: str = "refuse",
) -> FoundImage:
    """Reads the objects of one image.

    Args:
        path: The JSON file.
        scene: The scene that they are in; not needed.
        image: File name or identifier of the image.
        classes: Not needed: the file names its own.
        columns: What of the entry of the image is kept, such as a flight by which
            images are split.
        absent_images: What becomes of annotations whose image the file does not list:
            ``"refuse"`` or ``"leave_out"``.

    Raises:
        SourceError: The file or an annotation is not as COCO's, or the image is not in
            it, or lacks one of `columns`.
    """
    coco = read_coco(path, absent_images=absent_images)
    image_id = coco.find(image)
    entry = coco.images[image_id]
    found = []
    for annotation, outline in coco.outlines(image_id):
        edges = _edges(coco, annotation, outline)
        points = corners(*edges) if outline is None else _points(outline)
        found.append(
            FoundObject(
                name=f"annotation {annotation.get('id')!r}",
                category=coco.categories[annotation["category_id"]],
                points=points,
                has_outline=outline is not None,
                ignored=bool(annotation.get("iscrowd", 0)),
            )
        )
    told = {name: _column(entry, name, path) for name in columns}
    names = tuple(coco.categories.values())
    return FoundImage(found, names, told, coco.size(image_id))


def _points(outline: Outline) -> NDArray[np.float64]:
    """Points whose hull is that of the outline; of a mask the corners of its pixels."""
    if isinstance(outline, Polygons):
        return np.concatenate(outline.rings)
    left, top, right, bottom = (int(edge) for edge in outline.box())
    mask = outline.mask(slice(top, bottom), slice(left, right))
    row, col = np.nonzero(mask)
    if not len(row):
        return corners(0, 0, 0, 0)
    steps = corners(0, 0, 1, 1)
    pixel = np.stack([col + left, row + top], axis=1)
    return (pixel[:, None] + steps).reshape(-1, 2)


def _column(entry: Mapping[str, Any], name: str, path: Path) -> Any:
    value = entry.get(name)
    if not isinstance(value, str | int | float):
        known = sorted(
            key
            for key, told in entry.items()
            if isinstance(told, str | int | float) and key not in _STANDARD
        )
        raise SourceError(
            f"`columns` must name texts or numbers of the images of {path}. Received: "
            f"{name!r}; image {entry.get('file_name')!r} has {known}."
        )
    return value


def read_coco_boxes(
    path: str | Path, image: Any = None, *, absent_images: str = "refuse"
) -> dict[str, Any]:
    """Reads the boxes of the objects of one image.

    Args:
        path: The JSON file.
        image: File name or identifier of the image; may be left out where there is one.
        absent_images: What becomes of annotations whose image the file does not list:
            ``"refuse"`` or ``"leave_out"``.

    Returns:
        ``boxes`` (object, 4) float32 ``x_min, y_min, x_max, y_max`` in pixels, by
        ``bbox`` or, without, by the outline; ``category`` (object,) int64, positions in
        ``categories``; ``is_crowd`` (object,) boolean; ``id``, a list; and
        ``categories``, a tuple of names in the order of their identifiers.

    Raises:
        SourceError: The file, the image or an annotation is not as COCO's.
    """
    coco = read_coco(path, absent_images=absent_images)
    image_id = coco.find(image)
    order = list(coco.categories)
    found = coco.outlines(image_id)
    boxes = [_edges(coco, entry, outline) for entry, outline in found]
    return {
        "boxes": np.array(boxes, "float32").reshape(-1, 4),
        "category": np.array(
            [order.index(e["category_id"]) for e, _ in found], "int64"
        ),
        "is_crowd": np.array([bool(e.get("iscrowd", 0)) for e, _ in found], bool),
        "id": [entry.get("id") for entry, _ in found],
        "categories": tuple(coco.categories.values()),
    }


def _edges(
    coco: CocoFile, entry: Mapping[str, Any], outline: Outline | None
) -> tuple[float, ...]:
    """Edges of an annotation's box: its ``bbox``, or else those of its outline.

    Raises:
        SourceError: It has neither, or what it has is no box.
    """
    given = entry.get("bbox")
    if given is None and outline is not None:
        return outline.box()
    try:
        left, top, width, height = np.array(given, "float64").ravel().tolist()
        if not np.isfinite([left, top, width, height]).all() or min(width, height) < 0:
            raise ValueError
    except (TypeError, ValueError):
        raise SourceError(
            f"Annotation {entry.get('id')!r} of {coco.path} must have a bbox [x, y, "
            f"width, height] in pixels. Received: {given!r}."
        ) from None
    return left, top, left + width, top + height


FORMAT = BoxFormat(is_coco, read_boxes)
