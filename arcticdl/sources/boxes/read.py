"""``add_boxes``: the one way from files of objects to a label of boxes of a scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.boxes import IGNORE, BoxRule, boxes_from_polygons, inside_share
from arcticdl.choices import check_choice, check_names
from arcticdl.errors import LabelError, SourceError
from arcticdl.scene import box_label, class_attributes, refuse_taken
from arcticdl.sources.boxes.found import (
    BoxFormat,
    FoundImage,
    FoundObject,
    scene_shape,
)
from arcticdl.sources.boxes.table import BOX_FORMATS
from arcticdl.sources.reader import option_names

_HEAD_BYTES = 4096
FAULTY = ("drop", "refuse")
"""What becomes of boxes without area, or wholly outside their image."""


def add_boxes(
    scene: xr.Dataset,
    name: str,
    path: str | Path,
    *,
    classes: Sequence[str] = (),
    colors: Sequence[str] = (),
    rule: BoxRule = BoxRule(),  # noqa: B008  (a tuple: nobody can change it)
    max_boxes: int | None = None,
    image: str | None = None,
    **options: Any,
) -> xr.Dataset:
    """Adds the objects of a file to a scene, as a label of boxes.

    COCO annotations (boxes, polygons, run-length encodings), YOLO text (boxes, oriented
    boxes, outlines), Pascal VOC XML, and vector files of areas on scenes with a grid.
    An oriented box is the smallest rectangle around an outline.

    Args:
        scene: The scene.
        name: Of the label.
        path: The file.
        classes: Names of the classes that are learnt, in the order of their codes;
            empty: those of the file. A class of the file that is not among them is
            refused, unless `ignore` or `leave_out` names it.
        colors: ``#rrggbb`` of each, or empty.
        rule: ``BoxRule(oriented, min_share)``: whether boxes may be turned, and the
            share of a box that a tile must show.
        max_boxes: Most boxes in a tile; ``None``: as many as the fullest has.
        image: Name of the image in the file; ``None``: that of the scene.
        **options: ``format``, a name of `BOX_FORMATS`, where the content should not
            decide; ``ignore``, classes that are neither object nor background;
            ``leave_out``, classes that are background; ``faulty``, one of `FAULTY`;
            and those of the
            format, such as ``columns`` and ``absent_images`` (COCO), ``first_pixel``
            (VOC), ``attribute`` (vectors).

    Returns:
        The scene with the label; with ``columns``, its attribute ``columns`` has these.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: It is of none of the formats, or damaged.
        LabelError: The name is taken, or its objects do not fit: another size of image,
            an unknown class, no area, outside the image, or no outline where boxes are
            oriented.
        ValueError: An unknown choice or option.

    Example:
        ``add_boxes(scene, "seals", "seals.json", rule=BoxRule(oriented=True))``
    """
    check_names(classes=classes, colors=colors)
    refuse_taken(scene, name)
    path = Path(path)
    told = dict(options)
    ignore, leave_out = _names(told, "ignore"), _names(told, "leave_out")
    faulty = told.pop("faulty", "refuse")
    check_choice("faulty", faulty, FAULTY)
    box_format = BOX_FORMATS[find_format(path, told.pop("format", None))]
    _check_options(box_format, told)
    image = str(scene.attrs.get("scene_id")) if image is None else image
    found = box_format.read(path, scene, image, tuple(classes), **told)
    where = f"{path} for label `{name}` of scene {scene.attrs.get('scene_id')!r}"
    _check_size(found, scene, where)
    codes, attrs = _codes(found, classes, colors, (ignore, leave_out), where)
    kept = [entry for entry in found.objects if entry.category not in leave_out]
    boxes = _boxes(kept, codes, rule.oriented, where)
    boxes = _without_faults(boxes, kept, scene_shape(scene), faulty == "drop", where)
    label = box_label(name, boxes, attrs, max_boxes=max_boxes, **rule._asdict())
    added = scene.assign({name: label})
    added.set_close(scene.close)
    if not found.columns:
        return added
    return added.assign_attrs(columns=scene.attrs.get("columns", {}) | found.columns)


def find_format(path: Path, name: str | None = None) -> str:
    """Name of the format of a file, by its content unless told.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: It is of no known format.
        ValueError: There is no format of this name.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if name is not None:
        check_choice("format", name, BOX_FORMATS)
        return name
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for known in BOX_FORMATS:
        if BOX_FORMATS[known].sniff(path, head):
            return known
    raise SourceError(
        f"A file of boxes must be of one of the formats {sorted(BOX_FORMATS)}. "
        f"Received: {path}, first bytes {head[:20]!r}; name one by `format`."
    )


def _names(options: dict[str, Any], key: str) -> tuple[str, ...]:
    names = options.pop(key, ())
    if isinstance(names, str) or not all(isinstance(n, str) for n in names):
        raise LabelError(f"`{key}` must list names of classes. Received: {names!r}.")
    return tuple(names)


def _check_options(box_format: BoxFormat, options: Mapping[str, Any]) -> None:
    known = option_names(box_format.read) or ()
    unknown = sorted(set(options) - set(known))
    if unknown:
        every = sorted({*known, "faulty", "format", "ignore", "leave_out"})
        raise ValueError(f"A file of boxes takes {every}. Received: {unknown}.")


def _check_size(found: FoundImage, scene: xr.Dataset, where: str) -> None:
    shape = scene_shape(scene)
    if found.size_px is not None and found.size_px != shape:
        raise LabelError(
            f"Boxes must be of an image of the scene's size, {shape[0]} x {shape[1]} "
            f"px. Received: {found.size_px[0]} x {found.size_px[1]} px in {where}. "
            "Boxes in pixels stay with the file that they were drawn on: leave out "
            "what resamples it, such as `data.grid`."
        )


def _codes(
    found: FoundImage,
    classes: Sequence[str],
    colors: Sequence[str],
    spared: tuple[Sequence[str], Sequence[str]],
    where: str,
) -> tuple[dict[str, int], dict[str, Any]]:
    """Code of each class of the file, and the attributes that name them."""
    ignore, leave_out = spared
    names = tuple(classes)
    if not names:
        names = tuple(n for n in found.categories if n not in (*ignore, *leave_out))
    codes = {name: code for code, name in enumerate(names)}
    codes |= dict.fromkeys(ignore, IGNORE)
    unknown = {o.category for o in found.objects} - set(codes) - set(leave_out)
    if unknown:
        raise LabelError(
            f"Each class of {where} must be one of {list(names)}. Received: "
            f"{sorted(unknown)[:9]}. Name them in `classes`; or in `ignore`, if they "
            "are neither object nor background; or in `leave_out`, if they are "
            "background."
        )
    if not names:
        raise LabelError(f"`classes` must be named, since {where} names none.")
    return codes, class_attributes(names, colors)


def _boxes(
    objects: Sequence[FoundObject],
    codes: Mapping[str, int],
    oriented: bool,
    where: str,
) -> np.ndarray:
    if oriented:
        bare = [entry.name for entry in objects if not entry.has_outline]
        if bare:
            raise LabelError(
                "Oriented boxes need outlines or turned boxes in their file. Received: "
                f"{len(bare)} upright boxes, such as {bare[0]} of {where}. Leave "
                "`oriented` out, or give outlines."
            )
    numbers = [IGNORE if o.ignored else codes[o.category] for o in objects]
    outlines = [entry.points for entry in objects]
    return boxes_from_polygons(outlines, numbers, oriented=oriented)


def _without_faults(
    boxes: np.ndarray,
    objects: Sequence[FoundObject],
    shape: tuple[int, int],
    drop: bool,
    where: str,
) -> np.ndarray:
    flat = np.any(boxes[:, 2:4] <= 0, axis=1)
    outside = ~flat & (inside_share(boxes, shape) == 0)
    for wrong, fault in ((flat, "without area"), (outside, "outside their image")):
        names = [objects[k].name for k in np.flatnonzero(wrong).tolist()]
        if names and not drop:
            raise LabelError(
                f"Boxes must have an area within their image of {shape[0]} x "
                f"{shape[1]} px. Received: {len(names)} {fault}, such as {names[:3]} "
                f"of {where}. Correct them, or leave them out by `faulty='drop'`."
            )
    return boxes[~(flat | outside)]
