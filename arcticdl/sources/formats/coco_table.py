"""Images of COCO files as a table of scenes."""

import math
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from arcticdl.errors import SourceError
from arcticdl.sources.formats.coco import CocoFile, read_coco

Row = dict[str, Any]


def coco_table(
    files: Sequence[str | Path],
    images: str | Path,
    *,
    seen_from: str | Path = ".",
    ranges: Mapping[str, Sequence[float]] | None = None,
) -> list[Row]:
    """Lists the images of COCO files, one row each, to split and to label them by.

    Public sets often come in two files, one to train and one to test on: the table
    joins them, and tells of each image which file it is in.

    Args:
        files: The JSON files.
        images: Folder of the images, which file names of entries are seen from; of a
            name with folders the last part will do.
        seen_from: Folder that the table is to lie in: its paths are relative to it.
        ranges: Column of numbers -> rising limits; a further column ``NAME_range`` then
            says between which of them a value lies, such as ``128-145`` of whole
            numbers from 128 to below 146. Chips that were cut around a place of fixed
            extent have sizes by which regions are told.

    Returns:
        Rows of ``path``, ``annotations`` (the JSON file), ``part`` (the last word of
        its name: ``train`` of ``instances_train.json``), ``image_id``, ``width`` and
        ``height`` in pixels, ``num_objects``, what else the entries say in text or
        numbers, and the ranges.

    Raises:
        SourceError: A file is no COCO annotations, an image is not in the folder, two
            files list one image, or a range is not of a column of numbers.

    Example:
        >>> import json, tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (6, 4)).save(folder / "a.png")
        >>> entry = {"id": 7, "file_name": "a.png", "width": 6, "height": 4}
        >>> tree = {"images": [entry], "annotations": [], "categories": []}
        >>> _ = (folder / "slumps_train.json").write_text(json.dumps(tree))
        >>> rows = coco_table(
        ...     [folder / "slumps_train.json"], folder, seen_from=folder,
        ...     ranges={"height": [4, 9]},
        ... )
        >>> rows[0]["path"], rows[0]["part"], rows[0]["height_range"]
        ('a.png', 'train', '4-8')
    """
    rows: list[Row] = []
    seen: dict[Path, str] = {}
    for file in files:
        coco = read_coco(file)
        found = _find_images(coco, Path(images))
        for image_id, path in found.items():
            if path in seen:
                raise SourceError(
                    f"An image must be listed once, or one part leaks into the other. "
                    f"Received: {path.name} in {seen[path]} and in {file}; take it out "
                    "of one of them."
                )
            seen[path] = str(file)
            rows.append(_row(coco, image_id, path, Path(seen_from)))
    for name, limits in (ranges or {}).items():
        _check_range(rows, name, limits)
        values = [*limits, *(row[name] for row in rows)]
        whole = all(float(value).is_integer() for value in values)
        for row in rows:
            row[f"{name}_range"] = _range(row[name], limits, whole=whole)
    return rows


def _find_images(coco: CocoFile, folder: Path) -> dict[Any, Path]:
    found, absent = {}, []
    for image_id, entry in coco.images.items():
        name = PurePosixPath(str(entry["file_name"]))
        places = [folder / name, folder / name.name]
        there = [place for place in places if place.is_file()]
        if there:
            found[image_id] = there[0]
        else:
            absent.append(str(name))
    if absent:
        raise SourceError(
            f"Every image of {coco.path} must lie in {folder}. Received: {len(absent)} "
            f"of {len(coco.images)} that do not, such as {absent[:3]}. Name the folder "
            "that holds them, or take them out of the file."
        )
    return found


def _row(coco: CocoFile, image_id: Any, path: Path, folder: Path) -> Row:
    entry = coco.images[image_id]
    told = {k: v for k, v in entry.items() if isinstance(v, str | int | float)}
    for name in ("id", "file_name"):
        told.pop(name, None)
    own = {
        "path": _relative(path, folder),
        "annotations": _relative(Path(coco.path), folder),
        "part": Path(coco.path).stem.rpartition("_")[2],
        "image_id": image_id,
        "width": int(entry["width"]),
        "height": int(entry["height"]),
        "num_objects": len(coco.annotations.get(image_id, [])),
    }
    return own | told | own  # an entry's own `path` is often that of another machine


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _check_range(rows: Sequence[Row], name: str, limits: Sequence[float]) -> None:
    for row in rows:
        value = row.get(name)
        if not _is_number(value):
            numbers = sorted(k for k, v in row.items() if _is_number(v))
            raise SourceError(
                f"`ranges` must name a column of numbers, one of {numbers}. Received: "
                f"{name!r}, which is {value!r} of {row['path']}."
            )
    rising = [a < b for a, b in pairwise(limits)]
    if not limits or not all(rising):
        raise SourceError(
            f"The limits of `ranges` must rise. Received: {name!r}: {list(limits)}."
        )


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _range(value: float, limits: Sequence[float], *, whole: bool) -> str:
    """Which range a value lies in; of whole numbers with the last that it holds."""
    place = bisect_right(limits, value)
    if place == 0:
        return f"below {limits[0]:g}"
    if place == len(limits):
        return f"from {limits[-1]:g}"
    high = limits[place] - 1 if whole else limits[place]
    return f"{limits[place - 1]:g}-{high:g}"
