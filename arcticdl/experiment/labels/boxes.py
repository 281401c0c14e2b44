"""Labels of boxes: from their files to scenes, and folds that hold some."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.boxes import IGNORE, BoxRule
from arcticdl.config import DataConfig, Experiment, LabelConfig
from arcticdl.errors import ConfigError, LabelError, SourceError, SplitError
from arcticdl.experiment.data.anchors import Anchor, find_file, lacks_file
from arcticdl.scene import box_label, class_attributes
from arcticdl.sources import add_boxes
from arcticdl.sources.boxes.read import find_format
from arcticdl.sources.boxes.table import BOX_FORMATS
from arcticdl.sources.formats.coco import CocoFile, image_path, is_coco, read_coco
from arcticdl.tiles import TileStore

_SHOWN = 5


def add_objects(scene: xr.Dataset, data: DataConfig, anchor: Anchor) -> xr.Dataset:
    """Adds the labels of boxes to a scene that lies on its last grid.

    Raises:
        ConfigError: The scene was brought to a grid, and its boxes are in pixels.
        FileNotFoundError: A file is not there.
        SourceError, LabelError: See ``sources.add_boxes``.
    """
    for name, label in data.labels.items():
        if label.boxes is None or label.file is None:
            continue
        if lacks_file(label, anchor, data):
            scene[name] = _all_ignored(scene, name, label)
            continue
        path = find_file(label.file, anchor, data)
        _refuse_grid(data, name, path, label)
        scene = add_boxes(
            scene,
            name,
            path,
            classes=label.classes,
            colors=label.colors,
            rule=_rule(label),
            max_boxes=label.boxes.max_boxes,
            **_options(label, anchor, path),
        )
    return scene


def check_annotated(data: DataConfig, anchors: Sequence[Anchor]) -> None:
    """Refuses files of annotations that name images which are no scenes, or two.

    Raises:
        LabelError: One does, and nobody has said that these may be left out; or one
            image would be two scenes, which both had its objects.
    """
    named = {PurePath(anchor.path).name for anchor in anchors}
    stems = {anchor.scene_id for anchor in anchors}
    for name, label in data.labels.items():
        path = None if label.file is None else label.file.path
        if path is None or "*" in path or not _is_coco(path, label):
            continue
        absent_images = label.options.get("absent_images", "refuse")
        if label.boxes is not None:
            absent_images = label.boxes.absent_images
        coco = read_coco(path, absent_images=absent_images)
        _refuse_shared(coco, anchors, label)
        if label.boxes is None or absent_images == "leave_out":
            continue
        files = [image_path(entry["file_name"]) for entry in coco.images.values()]
        absent = sorted(
            str(f) for f in files if f.name not in named and f.stem not in stems
        )
        if absent:
            raise LabelError(
                f"Each image of {path} must be a scene of `data`. Received: "
                f"{len(absent)} of {len(files)} that are none, such as "
                f"{absent[:_SHOWN]}. Complete the scenes, or leave these annotations "
                f"out by `data.labels.{name}.boxes.absent_images: leave_out`."
            )


def _is_coco(path: str, label: LabelConfig) -> bool:
    """Whether a file, of boxes or of label maps, holds annotations of many images."""
    if PurePath(path).suffix.lower() != ".json":
        return False
    if label.boxes is not None:
        return _format(path, label) == "coco"
    with open(path, "rb") as file:
        return is_coco(Path(path), file.read(4096))


def _refuse_shared(
    coco: CocoFile, anchors: Sequence[Anchor], label: LabelConfig
) -> None:
    """Refuses an image whose objects two scenes would have."""
    taken: dict[Any, str] = {}
    for anchor in anchors if "image" not in label.options else ():
        try:
            key = coco.find(anchor.path)
        except SourceError:  # which opening the scene tells
            continue
        if key in taken:
            raise LabelError(
                f"Each image of {coco.path} must be one scene. Received: "
                f"{coco.images[key]['file_name']!r}, whose name both {taken[key]} and "
                f"{anchor.path} have. Give the folders in its `file_name` as well."
            )
        taken[key] = anchor.path


def refuse_empty(
    store: TileStore,
    config: Experiment,
    number: int,
    parts: Mapping[str, NDArray[np.int64]],
) -> None:
    """Refuses a fold of which a part holds no object of a label that is learnt.

    Args:
        store: The experiment's store.
        config: The experiment.
        number: Of the fold.
        parts: What a part does -> its tiles.

    Raises:
        SplitError: A part holds none.
    """
    for name in config.each_head:
        if name not in store.labels or not store.labels[name].is_object:
            continue
        counts = store.scored_counts(name)
        for does, tiles in parts.items():
            if not counts[tiles].sum():
                raise SplitError(
                    f"Each fold must have objects to learn from and to be scored on. "
                    f"Received: fold {number}, which {does} on {len(tiles)} tiles "
                    f"without one of {name!r}. Choose another `folds.group` or "
                    "`folds.seed`, or fewer folds."
                )


def _options(label: LabelConfig, anchor: Anchor, path: str) -> dict[str, Any]:
    assert label.boxes is not None
    options: dict[str, Any] = {"image": anchor.path, **label.options}
    if label.boxes.columns:
        if _format(path, label) != "coco":
            raise ConfigError(
                "`boxes.columns` are of images in COCO annotations. Received: "
                f"{list(label.boxes.columns)} for {path}; use `data.attributes` or "
                "`data.table`."
            )
        options["columns"] = label.boxes.columns
    if label.boxes.absent_images == "leave_out" and _format(path, label) == "coco":
        options["absent_images"] = "leave_out"
    return options


def _format(path: str, label: LabelConfig) -> str:
    return find_format(Path(path), label.options.get("format"))


def _refuse_grid(data: DataConfig, name: str, path: str, label: LabelConfig) -> None:
    if data.grid is None or BOX_FORMATS[_format(path, label)].georeferenced:
        return
    raise ConfigError(
        f"`data.grid` resamples scenes, and the boxes of `data.labels.{name}` are in "
        f"pixels of the files that they were drawn on. Received: {path}. Leave "
        "`data.grid` out, or give the boxes as a vector file."
    )


def _rule(label: LabelConfig) -> BoxRule:
    assert label.boxes is not None
    return BoxRule(label.boxes.form == "oriented", label.boxes.min_share)


def _all_ignored(scene: xr.Dataset, name: str, label: LabelConfig) -> xr.DataArray:
    """The label of a scene of whose objects nothing is known: one ignored box."""
    assert label.boxes is not None
    rows, cols = scene["image"].shape[1:]
    oriented = label.boxes.form == "oriented"
    turned = oriented and rows > cols
    sides = [rows, cols, -np.pi / 2] if turned else [cols, rows, 0.0]
    return box_label(
        name,
        [[cols / 2, rows / 2, *sides, IGNORE]],
        class_attributes(label.classes, label.colors),
        max_boxes=label.boxes.max_boxes,
        **_rule(label)._asdict(),
    )
