"""Configured data: which files are a scene, and what they become."""

import glob
import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.config import DataConfig, Experiment, LabelConfig, Replace
from arcticdl.errors import ConfigError
from arcticdl.experiment.check import check_preparation
from arcticdl.experiment.labels.image_labels import image_label
from arcticdl.experiment.labels.sides import name_sides
from arcticdl.experiment.labels.weak import threshold_labels
from arcticdl.sources import open_scene
from arcticdl.tiles import TileStore
from arcticdl.tiles import prepare as prepare_tiles
from arcticdl.void import VOID_CLASS


def prepare(config: Experiment, overwrite: bool = False) -> TileStore:
    """Cuts the experiment's scenes into its tile store.

    Raises:
        FileNotFoundError: No file matches ``data.scenes``, or a file is missing.
        ConfigError: An option of readers, splitters, samplers or augmentation does not
            fit, or an attribute's pattern does not match a path.
    """
    check_preparation(config)
    scenes = [
        open_configured(config.data, anchor) for anchor in find_anchors(config.data)
    ]
    return prepare_tiles(
        scenes,
        config.store_path,
        tile_size_px=config.tiles.size_px,
        overlap_px=config.tiles.overlap_px,
        edge=config.tiles.edge,
        min_valid_fraction=config.tiles.min_valid_fraction,
        labels=list(config.each_head),
        quality=config.tiles.quality,
        overwrite=overwrite,
    )


def open_scenes(config: Experiment) -> list[xr.Dataset]:
    """Opens every scene of an experiment, lazily."""
    return [
        open_configured(config.data, anchor) for anchor in find_anchors(config.data)
    ]


class Anchor:
    """The file (and the image in it) that a scene is found by.

    Args:
        path: First file of the scene.
        index: Image of an (N, y, x) array, or ``None``.
    """

    def __init__(self, path: str, index: int | None = None):
        self.path, self.index = path, index

    @property
    def scene_id(self) -> str:
        """Stem of the file, with the image's number where there are several."""
        stem = Path(self.path).stem
        return stem if self.index is None else f"{stem}_{self.index:03d}"


def find_anchors(data: DataConfig, paths: list[str] | None = None) -> list[Anchor]:
    """Expands ``data.scenes`` (or the given paths) to one anchor a scene.

    Raises:
        FileNotFoundError: Nothing matches.
    """
    if paths is None:
        paths = sorted(glob.glob(data.scenes, recursive=True))
        if not paths:
            raise FileNotFoundError(
                f"No file matches `data.scenes`: {data.scenes}. Does the folder exist, "
                "and do environment variables in the path point at it?"
            )
    for path in paths:
        if not Path(path).exists():
            raise FileNotFoundError(f"No such scene: {path}")
    if not data.each_index:
        return [Anchor(path) for path in paths]
    return [
        Anchor(path, index)
        for path in paths
        for index in range(len(np.load(path, mmap_mode="r", allow_pickle=False)))
    ]


def open_configured(
    data: DataConfig, anchor: Anchor, *, with_labels: bool = True
) -> xr.Dataset:
    """Opens one scene with its bands, labels and attributes as configured."""
    files = [anchor.path, *(_beside(anchor.path, part) for part in data.stack)]
    options: dict[str, Any] = {"reader": data.reader, **data.reader_options}
    options |= {} if anchor.index is None else {"index": anchor.index}
    # Threshold rules may look at bands that the model never sees.
    late = with_labels and any(label.rules for label in data.labels.values())
    if with_labels:
        options |= _file_labels(data, anchor)
    scene = open_scene(
        files if len(files) > 1 else files[0],
        bands=None if late else data.use_bands,
        band_names=data.bands,
        scene_id=anchor.scene_id,
        **options,
    )
    if with_labels:
        for name, label in data.labels.items():
            if label.rules:
                scene[name] = threshold_labels(
                    scene, label.classes, [(r.name, r.where) for r in label.rules]
                )
                _describe_label(scene, name, label)
            if label.sides is not None:
                scene[name] = _named_sides(scene[name], label)
        if data.void is not None:
            _void_where(scene, data, anchor.path)
    if late and data.use_bands is not None:
        scene = scene.sel(band=list(data.use_bands))
    scene = scene.assign_attrs(_attributes(data, anchor, needed=with_labels))
    return _finish_labels(scene, data) if with_labels else scene


def _finish_labels(scene: xr.Dataset, data: DataConfig) -> xr.Dataset:
    """Adds what attributes tell of whole images, and the units of quantities."""
    for name, label in data.labels.items():
        if label.attribute is not None:
            scene[name] = image_label(scene, name, label)
            if label.classes:
                _describe_label(scene, name, label)
        if label.units is not None:
            scene[name].attrs["units"] = label.units
    return scene


def _beside(path: str, part: Replace) -> str:
    anchor = path
    for old, new in part.replace.items():
        path = path.replace(old, new)
    if path == anchor:
        raise ConfigError(
            f"`replace` finds none of {sorted(part.replace)} in the path {path}."
        )
    if not Path(path).exists():
        raise FileNotFoundError(f"No such file beside the scene: {path}")
    return path


def _file_labels(data: DataConfig, anchor: Anchor) -> dict[str, Any]:
    files: dict[str, Any] = {}
    codes: dict[str, dict[int, int]] = {}
    for name, label in data.labels.items():
        if label.file is not None:
            path = _beside(anchor.path, label.file)
            colors = (label.colors,) if label.colors else ()
            files[name] = (path, label.classes, *colors) if label.classes else path
            if label.codes:
                codes[name] = label.codes
    if not files:
        return {}
    given = {n: data.labels[n].options for n in files if data.labels[n].options}
    further = {"label_codes": codes, "label_options": given}
    return {"labels": files} | {key: value for key, value in further.items() if value}


def _describe_label(scene: xr.Dataset, name: str, label: LabelConfig) -> None:
    scene[name].attrs |= {
        "flag_values": list(range(len(label.classes))),
        "flag_meanings": " ".join(c.replace(" ", "_") for c in label.classes),
        "void_class": VOID_CLASS,
    }
    if label.colors:
        scene[name].attrs["flag_colors"] = " ".join(label.colors)


def _named_sides(codes: xr.DataArray, label: LabelConfig) -> xr.DataArray:
    assert label.sides is not None
    line, upper, lower = (
        label.classes.index(name)
        for name in (label.sides.line, label.sides.upper, label.sides.lower)
    )
    return name_sides(
        codes, line=line, upper=upper, lower=lower, width_px=label.sides.width_px
    )


def _void_where(scene: xr.Dataset, data: DataConfig, path: str) -> None:
    assert data.void is not None
    mask = open_scene(_beside(path, data.void.file))
    if mask.sizes["y"] != scene.sizes["y"] or mask.sizes["x"] != scene.sizes["x"]:
        raise ConfigError(
            f"`data.void` must lie on the scene's grid. Received: a mask of "
            f"{mask.sizes['y']} x {mask.sizes['x']} px for a scene of "
            f"{scene.sizes['y']} x {scene.sizes['x']} px ({path})."
        )
    masked = (mask["image"] > 0).any("band").values
    for name in scene.data_vars.keys() & data.labels.keys():
        label = scene[name]
        void = np.nan if label.dtype.kind == "f" else VOID_CLASS
        values = np.where(masked, label.dtype.type(void), label.values)
        scene[name] = label.copy(data=values)


def _attributes(data: DataConfig, anchor: Anchor, *, needed: bool) -> dict[str, str]:
    """What a scene's path says of it; needed for splits, but not to map a new scene."""
    found = {}
    for name, pattern in data.attributes.items():
        match = re.search(pattern, anchor.path)
        if match is None and not needed:
            continue
        if match is None:
            raise ConfigError(
                f"`data.attributes.{name}` finds nothing: {pattern!r} does not match "
                f"{anchor.path}."
            )
        value = match.group(1)
        names = data.rename.get(name)
        if names is not None and value not in names and not needed:
            found[name] = value
            continue
        if names is not None and value not in names:
            raise ConfigError(
                f"`data.rename.{name}` has no entry for {value!r} ({anchor.path}). "
                f"Known: {sorted(names)}."
            )
        found[name] = names[value] if names is not None else value
    return found
