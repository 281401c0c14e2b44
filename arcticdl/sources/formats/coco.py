"""COCO annotations as label maps and boxes.

The layout is that of Lin et al. (2014, arXiv 1405.0312): one JSON file with ``images``,
``annotations`` and ``categories`` (cocodataset.org/#format-data).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice, check_choices
from arcticdl.errors import LabelError, SourceError
from arcticdl.scene import MAX_SIDE_PX, class_attributes
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.formats.coco_masks import (
    VERTICES,
    CocoMask,
    Outline,
    read_outline,
)
from arcticdl.sources.reader import LabelContext, Reader
from arcticdl.void import VOID_CLASS

MAX_JSON_BYTES = 2 * 2**30
"""A longer file is not read; the annotations of COCO 2017 have 0.5 GB."""

ORDERS = ("area", "file")
"""Which object lies on top: ``"area"``, the smaller one, equal ones by their place in
the file; ``"file"``, the later one."""

CROWDS = ("object", "void")
"""What a crowd region (``iscrowd``) is: of its category, or void. Objects lie on top of
crowds in either case."""

DRAWN = ("class", "number")
"""What a pixel of an object holds: the code of its class; or the object's own number,
from 1 on in the order of the file."""

IMAGE_ENDINGS = frozenset(
    (".bmp", ".gif", ".img", ".jp2", ".jpeg", ".jpg", ".nc", ".npy", ".npz", ".png",
     ".tif", ".tiff", ".vrt", ".webp")
)  # fmt: skip
"""What is left out of a file's name to find the image that it is another form of."""

ABSENT_IMAGES = ("leave_out", "refuse")
"""What becomes of annotations whose image the file does not list."""


@dataclass(frozen=True)
class CocoFile:
    """One file of annotations, by image.

    Attributes:
        path: The file.
        images: By identifier: ``file_name``, ``height``, ``width``.
        categories: Names by identifier, in the order of the identifiers.
        annotations: Of each image, in the order of the file.
    """

    path: str
    images: dict[Any, dict[str, Any]]
    categories: dict[Any, str]
    annotations: dict[Any, list[dict[str, Any]]]

    def find(self, image: Any) -> Any:
        """Identifier of an image that is given by it, or by its file's name.

        Raises:
            SourceError: There is no such image, or several.
        """
        if image is None and len(self.images) == 1:
            return next(iter(self.images))
        if image in self.images and not isinstance(image, str):
            return image
        names, stems = self._named
        path = PurePosixPath(str(image))
        # Without its ending, as a scene's name is; a dot is none by itself.
        bare = path.stem if path.suffix.lower() in IMAGE_ENDINGS else path.name
        found = names.get(path.name) or stems.get(path.name) or stems.get(bare)
        found = found or [key for key in self.images if key == image]
        alike = {key: _alike(self.images[key]["file_name"], image) for key in found}
        found = [key for key in found if alike[key] == max(alike.values())]
        if len(found) != 1:
            raise SourceError(
                f"`image` must be the file name or identifier of one of the "
                f"{len(self.images)} images of {self.path}, such as "
                f"{sorted(str(v['file_name']) for v in self.images.values())[:3]}. "
                f"Received: image={image!r}, which {len(found)} of them match."
            )
        return found[0]

    @cached_property
    def _named(self) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Identifiers by the name of the image's file, and by it without ending."""
        by: tuple[dict[str, list[Any]], dict[str, list[Any]]] = {}, {}
        for key, entry in self.images.items():
            path = image_path(entry["file_name"])
            by[0].setdefault(path.name, []).append(key)
            by[1].setdefault(path.stem, []).append(key)
        return by

    def size(self, image_id: Any) -> tuple[int, int]:
        """Rows and columns of an image."""
        entry = self.images[image_id]
        return int(entry["height"]), int(entry["width"])

    def outlines(
        self, image_id: Any, vertices: str = "corners"
    ) -> list[tuple[dict[str, Any], Outline | None]]:
        """The annotations of an image, each with its outline.

        Raises:
            SourceError: One is malformed; the message names it.
        """
        size = self.size(image_id)
        return [
            (entry, read_outline(entry.get("segmentation"), size,
                                 f"annotation {entry.get('id')!r} of {self.path}",
                                 vertices))
            for entry in self.annotations.get(image_id, [])
        ]  # fmt: skip


def image_path(name: Any) -> PurePosixPath:
    """The path of an image's file, which may come from Windows."""
    return PurePosixPath(str(name).replace("\\", "/"))


def _alike(name: Any, image: Any) -> float:
    """How many folders above two files have the same names; infinite: all of them."""
    both = [image_path(path).parts[-2::-1] for path in (name, image)]
    apart = [one != other for one, other in zip(*both, strict=False)] + [True]
    return math.inf if name == str(image) else apart.index(True)


def read_coco(path: str | Path, *, absent_images: str = "refuse") -> CocoFile:
    """Reads a file of annotations; a second call for an unchanged file costs nothing.

    Args:
        path: The JSON file.
        absent_images: One of ``ABSENT_IMAGES``.

    Returns:
        Its content, by image.

    Raises:
        SourceError: It is no COCO annotation file, or contradicts itself.
        ValueError: An unknown choice.
    """
    check_choice("absent_images", absent_images, ABSENT_IMAGES)
    state = Path(path).stat()
    if state.st_size > MAX_JSON_BYTES:
        raise SourceError(
            f"{path} must be at most {MAX_JSON_BYTES} bytes. Received: {state.st_size}."
        )
    leave_out = absent_images == "leave_out"
    return _read(str(path), state.st_size, state.st_mtime_ns, leave_out)


@lru_cache(maxsize=4)
def _read(path: str, size: int, changed_ns: int, leave_out: bool) -> CocoFile:
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(content, dict):
        content = {}
    lists = {key: content.get(key) for key in ("images", "annotations", "categories")}
    wrong = [
        key
        for key, value in lists.items()
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value)
    ]
    if wrong:
        raise SourceError(
            f"{path} must hold the lists images, annotations and categories of COCO. "
            f"Received: {sorted(content)[:8]}; unusable: {wrong}."
        )
    try:
        return _by_image(path, lists, leave_out)
    except TypeError:  # an identifier that is a list, or of mixed kinds
        raise SourceError(
            f"Identifiers of {path} must be numbers or text. Received: something else."
        ) from None


def _by_image(path: str, lists: Mapping[str, Any], leave_out: bool) -> CocoFile:
    images = {entry.get("id"): entry for entry in lists["images"]}
    for key, entry in images.items():
        _check_image(path, key, entry)
    if len(images) != len(lists["images"]):
        raise SourceError(f"{path} must give each image an `id` of its own.")
    known = sorted(lists["categories"], key=lambda category: category.get("id", 0))
    categories = {entry.get("id"): str(entry.get("name", "")) for entry in known}
    if len(set(categories.values()) - {""}) != len(known):
        raise SourceError(
            f"{path} must give each category an `id` and a `name` of its own. "
            f"Received: {categories}."
        )
    by_image: dict[Any, list[dict[str, Any]]] = {}
    orphans = [e for e in lists["annotations"] if e.get("image_id") not in images]
    if orphans and not leave_out:
        raise SourceError(_orphaned(path, orphans, lists))
    for entry in lists["annotations"]:
        if entry.get("image_id") not in images:
            continue
        if entry.get("category_id") not in categories:
            raise SourceError(
                f"Annotation {entry.get('id')!r} of {path} must name one of "
                f"{len(categories)} known as category_id. Received: "
                f"{entry.get('category_id')!r}."
            )
        by_image.setdefault(entry["image_id"], []).append(entry)
    return CocoFile(path, images, categories, by_image)


def _check_image(path: str, key: Any, entry: Mapping[str, Any]) -> None:
    sides = [entry.get("height"), entry.get("width")]
    whole = all(isinstance(n, int) and 0 < n <= MAX_SIDE_PX for n in sides)
    if key is None or not whole or not entry.get("file_name"):
        raise SourceError(
            f"Images of {path} must have `id`, `file_name`, `height` and `width`, of "
            f"1 to {MAX_SIDE_PX} px. Received: {dict(list(entry.items())[:6])}."
        )


def _orphaned(
    path: str, orphans: Sequence[Mapping[str, Any]], lists: Mapping[str, Any]
) -> str:
    first = orphans[0]
    return (
        f"Each annotation of {path} must be of one of its {len(lists['images'])} "
        f"images. Received: {len(orphans)} of {len(lists['annotations'])} that are of "
        f"none, such as annotation {first.get('id')!r} with image_id="
        f"{first.get('image_id')!r}. List their images, or leave them out: in Python "
        "by absent_images='leave_out' (label_options={'absent_images': 'leave_out'} of "
        "`open_scene`), in YAML by `data.labels.NAME.boxes.absent_images: leave_out`, "
        "of a label map by `data.labels.NAME.options: {absent_images: leave_out}`."
    )


def open_coco(
    path: str | Path,
    *,
    image: Any = None,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    categories: Sequence[str] | None = None,
    background: str | None = "background",
    on_top: str = "area",
    crowd: str = "object",
    absent_images: str = "refuse",
    draw: str = "class",
    vertices: str = "corners",
) -> xr.Dataset:
    """Opens the annotations of one image as a scene whose band holds class codes.

    As a label of an image, ``open_scene("a.png", labels={"pond": "instances.json"})``
    finds the image's own annotations by its file name.

    Args:
        path: The JSON file.
        image: File name or identifier of the image; may be left out where there is one.
        bands: ``["category"]``, or ``["number"]``, is all there is.
        band_names: New name of the band.
        categories: Names of those to draw, which get codes in this order; ``None``:
            all, in the order of their identifiers. Objects of others are left out.
        background: Name of the class of pixels without an object, code 0, the
            categories from 1 on; ``None``: such pixels are void, categories from 0 on.
        on_top: One of ``ORDERS``.
        crowd: One of ``CROWDS``.
        absent_images: One of ``ABSENT_IMAGES``.
        draw: One of ``DRAWN``; numbers are a label without classes, which objects that
            are mapped are scored by (``instances`` of a configuration).
        vertices: One of ``VERTICES`` of polygons.

    Returns:
        A plain scene ``category`` (1, y, x), uint8 unless codes need more, void 255 not
        ``valid``; the image's attributes name the classes. Of numbers a scene
        ``number``, float32, 0 without an object, void NaN and not ``valid``.

    Raises:
        SourceError: The file, the image or one of its annotations is not as COCO's, or
            an object has a box and no outline.
        LabelError: A category is not there, or shares its name with another class.
        ValueError: An unknown choice.
    """
    check_choice("on_top", on_top, ORDERS)
    check_choice("crowd", crowd, CROWDS)
    check_choice("draw", draw, DRAWN)
    check_choice("vertices", vertices, VERTICES)
    coco = read_coco(path, absent_images=absent_images)
    image_id = coco.find(image)
    names = _chosen(coco, categories)
    classes = ([] if background is None else [background]) + names
    if len(classes) > VOID_CLASS:
        raise LabelError(
            f"Classes must be at most {VOID_CLASS}. Received: {len(classes)}; choose "
            "among them by `categories`."
        )
    numbered = draw == "number"
    codes = {name: code for code, name in enumerate(classes) if name in names}
    void = math.nan if numbered else VOID_CLASS
    stacking = (on_top, void if crowd == "void" else None, vertices, numbered)
    objects = _stacked(coco, image_id, codes, *stacking)
    mask = CocoMask(objects, void if background is None else 0, void)
    shape = coco.size(image_id)
    band = "number" if numbered else "category"
    chosen = choose_bands([band], bands, band_names)[1]
    layer = WindowArray((1, *shape), mask.dtype, mask.read)
    valid = WindowArray(shape, bool, partial(_read_valid, mask))
    attrs = {} if numbered else class_attributes(classes)
    return make_scene(
        layer.variable(("band", "y", "x"), attrs),
        chosen,
        valid=valid.variable(("y", "x")),
        attrs={"scene_id": image_path(coco.images[image_id]["file_name"]).stem},
    )


def _read_valid(mask: CocoMask, rows: slice, cols: slice) -> np.ndarray:
    found = mask.read([0], rows, cols)[0]
    return np.isfinite(found) & (found != mask.void)


def _chosen(coco: CocoFile, categories: Sequence[str] | None) -> list[str]:
    known = list(coco.categories.values())
    if categories is None:
        return known
    if isinstance(categories, str) or not categories:
        raise LabelError(
            f"`categories` must be a list of {sorted(known)}. Received: {categories!r}."
        )
    try:
        check_choices("categories", categories, known)
    except ValueError as error:
        raise LabelError(str(error)) from None
    return list(categories)


def _stacked(
    coco: CocoFile,
    image_id: Any,
    codes: Mapping[str, int],
    on_top: str,
    void: float | None,
    vertices: str,
    numbered: bool,
) -> list[tuple[Outline, float]]:
    """Outlines and codes of an image from the bottom to the top, crowds lowest.

    `void` is the code of crowds, ``None`` where they are objects.
    """
    found = []
    for number, (entry, outline) in enumerate(coco.outlines(image_id, vertices), 1):
        name = coco.categories[entry["category_id"]]
        if name not in codes:
            continue
        if outline is None:
            raise SourceError(
                f"Annotation {entry.get('id')!r} of {coco.path} must have a "
                "segmentation to be drawn. Received: none; a file of boxes alone is "
                "read by `arcticdl.sources.read_coco_boxes`."
            )
        is_crowd = bool(entry.get("iscrowd", 0))
        code = float(number) if numbered else codes[name]
        code = void if is_crowd and void is not None else code
        found.append((outline, code, not is_crowd))
    if on_top == "area":
        found.sort(key=lambda item: (item[2], -item[0].area()))
    else:
        found.sort(key=lambda item: item[2])
    return [(outline, code) for outline, code, _ in found]


def open_coco_label(
    path: str | Path, context: LabelContext, **options: Any
) -> xr.Dataset:
    """Opens the annotations of a scene's image, by the name of its file."""
    return open_coco(path, **{"image": str(context.path), **options})


def is_coco(path: Any, head: bytes) -> bool:
    """JSON that begins as COCO annotations do."""
    keys = (b'"images"', b'"annotations"', b'"categories"', b'"info"', b'"licenses"')
    opens = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"
    is_json = opens and path.suffix.lower() == ".json"
    return is_json and any(key in head for key in keys)


READER = Reader(is_coco, open_coco, open_coco_label)
