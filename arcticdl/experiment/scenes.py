"""Configured data: which files are a scene, and what they become."""

from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.config import DataConfig, Experiment, LabelConfig
from arcticdl.derived import add_bands
from arcticdl.errors import ConfigError, LabelError
from arcticdl.experiment.check import check_preparation
from arcticdl.experiment.data.absent import tell_absent
from arcticdl.experiment.data.anchors import (
    Anchor,
    files_of,
    find_anchors,
    find_attributes,
    find_file,
    find_made,
    lacks_file,
)
from arcticdl.experiment.data.further import (
    align_further,
    void_attributes,
    void_outside,
)
from arcticdl.experiment.data.gaps import open_gaps
from arcticdl.experiment.data.recipe import recipe_of
from arcticdl.experiment.data.series import check_series, told_series
from arcticdl.experiment.labels.boxes import add_objects, check_annotated
from arcticdl.experiment.labels.corrections import correct_labels, corrected_labels
from arcticdl.experiment.labels.image_labels import image_label
from arcticdl.experiment.labels.quantity import (
    band_itself,
    bands_of_file,
    refuse_unit,
)
from arcticdl.experiment.labels.several import band_label
from arcticdl.experiment.labels.shares import HINT, charted_shares, refuse_kind
from arcticdl.experiment.labels.sides import name_sides
from arcticdl.experiment.labels.times import check_times
from arcticdl.experiment.labels.weak import threshold_labels
from arcticdl.experiment.synthesis.condition import see_classes
from arcticdl.grid import align
from arcticdl.labelling.unaided import unaided_name
from arcticdl.made import MADE_FROM
from arcticdl.scene import (
    ATTRIBUTES,
    CHANNEL,
    class_attributes,
    made_of,
    share_attributes,
)
from arcticdl.sources import open_scene
from arcticdl.sources.charts.share_form import void_shares
from arcticdl.sources.core.assemble import utc_text
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.labels import check_same_grid
from arcticdl.sources.open import find_reader
from arcticdl.sources.reader import READERS
from arcticdl.tiles import TileStore
from arcticdl.tiles import prepare as prepare_tiles
from arcticdl.tiles.plan import parse_tile_size
from arcticdl.void import VOID_CLASS


def prepare(config: Experiment, overwrite: bool = False) -> TileStore:
    """Cuts the experiment's scenes into its tile store.

    Raises:
        FileNotFoundError: No file matches ``data.scenes``, or a file is missing.
        ConfigError: An option of readers, splitters, samplers or augmentation does not
            fit, or an attribute's pattern does not match a path. Or ``tiles.store`` is
            a file that joins stores.
        LabelError: Corrections of a label are none.
        SeriesError: ``data.series`` needs times that scenes do not tell, or other ones.
    """
    check_preparation(config)
    if config.store_path.is_file():
        raise ConfigError(
            "`tiles.store` must be a folder to be prepared. Received: "
            f"{config.store_path}, a file. Prepare each store that it joins by itself."
        )
    settings = how_prepared(config)
    scenes = open_scenes(config)
    tell_absent(scenes)
    if (series := told_series(config)) is not None:
        check_series(scenes, series)
    return prepare_tiles(scenes, config.store_path, overwrite=overwrite, **settings)


def how_prepared(config: Experiment) -> dict[str, Any]:
    """The arguments of `tiles.prepare` that decide what an experiment's tiles are."""
    layers = corrected_labels(config)
    tested = [unaided_name(name) for name, layer in layers.items() if layer.by_model]
    return {
        "tile_size_px": config.tiles.size_px,
        "overlap_px": config.tiles.overlap_px,
        "edge": config.tiles.edge,
        "min_valid_fraction": _least_valid_fraction(config),
        "labels": [*config.stored_labels, *tested],
        "quality": config.tiles.quality,
        "keep_pixels": config.train.feed == "tiles",
        "pixels_at": config.tiles.pixels_at,
        "recipe": recipe_of(config.data),
    }


def _least_valid_fraction(config: Experiment) -> float:
    """The configured share; with a region at least so much as one pixel is.

    Tiles that lie wholly outside a region would only cost disk and time.
    """
    height, width = parse_tile_size(config.tiles.size_px)
    least = 0.0 if config.data.region is None else 1.0 / (height * width)
    return max(config.tiles.min_valid_fraction, least)


def check_first_scene(config: Experiment) -> None:
    """Opens the first scene of a series, where data are there, for it must tell a time.

    Raises:
        SeriesError: It tells none.
    """
    if (series := told_series(config)) is None:
        return
    with suppress(FileNotFoundError):  # a configuration goes before its data
        anchor = find_anchors(config.data)[0]
        with open_configured(config.data, anchor, with_labels=False) as scene:
            check_series([scene], series)


def open_scenes(config: Experiment) -> list[xr.Dataset]:
    """Opens every scene of an experiment, lazily."""
    anchors = find_anchors(config.data)
    check_annotated(config.data, anchors)
    anchors += find_made(config.data)
    return [open_configured(config.data, anchor) for anchor in anchors]


def open_configured(
    data: DataConfig, anchor: Anchor, *, with_labels: bool = True
) -> xr.Dataset:
    """Opens one scene with its bands, labels and attributes as configured.

    Each step takes and gives a lazy Scene, and their order is part of the rule: grid,
    further sources, derived bands, labels (which may look at bands that the model never
    sees), bands that are kept, gaps, and last the region: what lies outside is no gap.

    Args:
        data: The section ``data``.
        anchor: What the scene is found by.
        with_labels: Whether labels are opened, as for a store; maps need none.
    """
    with_labels = with_labels or data.condition is not None  # it is what is seen
    attrs: dict[str, Any] = dict(find_attributes(data, anchor, needed=with_labels))
    if "time" in attrs:
        attrs["time"] = utc_text(attrs["time"])
    scene = _open_files(data, anchor, with_labels=with_labels).assign_attrs(attrs)
    if with_labels:
        for name, label in data.labels.items():
            if label.carried is not None:
                scene = _named_as(scene, name, label)
    scene = _brought_to_grid(scene, data)
    scene = align_further(scene, data, anchor)
    if data.derive:
        scene = add_bands(scene, data.derive)
    if with_labels:
        scene = add_objects(scene, data, anchor)
        _add_labels(scene, data, anchor)
    if data.use_bands is not None:
        scene = scene.sel(band=list(data.use_bands))
    scene = open_gaps(scene, data, hide=with_labels)
    scene = see_classes(scene, data)
    scene = void_outside(scene, data, anchor)
    columns = {k: v for k, v in attrs.items() if k not in (*ATTRIBUTES, "time")}
    columns |= scene.attrs.get("columns", {})
    if anchor.made and MADE_FROM not in columns:
        raise ConfigError(
            "`data.synthetic` must match scenes that say what they were made from, as "
            f"`arcticdl synthesize` writes them. Received: {anchor.path}, without the "
            f"tag `{MADE_FROM}`. Name observed scenes as `data.scenes`."
        )
    if with_labels:
        columns |= check_times(scene, data)
        columns |= correct_labels(scene, data)
        scene = made_of(scene, files_of(data, anchor))
    return scene.assign_attrs(columns=columns) if columns else scene


def _open_files(data: DataConfig, anchor: Anchor, *, with_labels: bool) -> xr.Dataset:
    files = [anchor.path, *anchor.further]
    files += [find_file(part, anchor, data) for part in data.stack]
    options: dict[str, Any] = {"reader": data.reader, **data.reader_options}
    options |= _which_of_several(anchor.path, anchor)
    if with_labels:
        options |= _file_labels(data, anchor)
    else:
        options.pop("shares", None)  # of a raw file, which a map needs not be made of
    # Rules, and bands made of bands, may look at what the model never sees.
    rules = with_labels and any(label.rules for label in data.labels.values())
    late = rules or bool(data.align) or bool(data.derive)
    return open_scene(
        files if len(files) > 1 else files[0],
        bands=None if late else data.use_bands,
        band_names=data.bands,
        scene_id=anchor.scene_id,
        **options,
    )


def _which_of_several(path: str, anchor: Anchor) -> dict[str, int]:
    """The reader's option for one image of an array, or one time of a NetCDF file.

    A file that holds one image alone goes with all of them.
    """
    if anchor.index is None:
        return {}
    known = READERS[find_reader(path)].options
    keys = ("index", "time_index")
    return {key: anchor.index for key in keys if known is None or key in known}


def _brought_to_grid(scene: xr.Dataset, data: DataConfig) -> xr.Dataset:
    if data.grid is None:
        return scene
    return align(scene, **data.grid.model_dump())


def _add_labels(scene: xr.Dataset, data: DataConfig, anchor: Anchor) -> None:
    """Adds the labels that no file of a map tells, and what finishes the others."""
    for name, label in data.labels.items():
        if label.band is not None:
            scene[name] = band_itself(scene, name, label.band)
        if label.rules:
            scene[name] = threshold_labels(
                scene, label.classes, [(r.name, r.where) for r in label.rules]
            )
            _describe_label(scene, name, label)
        if label.boxes is None and lacks_file(label, anchor, data):
            scene[name] = _void_map(scene, name, label)
        elif label.shares and label.file is not None:
            file = find_file(label.file, anchor, data)
            scene[name] = charted_shares(scene, name, label, file)
        if label.file is not None and (label.several or label.outputs):
            file = find_file(label.file, anchor, data)
            own = open_scene(file, **label.options)
            opened = _on_pixels(own, scene, data, f"Label `{name}`")
            scene[name] = (
                bands_of_file(opened, name, label.outputs)
                if label.outputs
                else band_label(opened, name, label)
            )
        if label.sides is not None:
            scene[name] = _named_sides(scene[name], label)
        if label.attribute is not None:
            scene[name] = image_label(scene, name, label)
            if label.classes and not label.several:
                _describe_label(scene, name, label)
        if label.units is not None:
            refuse_unit(scene[name], name, label.units)
            scene[name].attrs["units"] = label.units
    if data.void is not None:
        _void_where(scene, data, anchor)


def _on_pixels(
    opened: xr.Dataset, scene: xr.Dataset, data: DataConfig, what: str
) -> xr.Dataset:
    """A map beside a scene, brought to the grid that the scene was brought to."""
    if data.grid is not None:
        opened = align(opened, like=scene, resampling="nearest")
    check_same_grid(scene, opened, what)
    return opened


def _named_as(scene: xr.Dataset, name: str, label: LabelConfig) -> xr.Dataset:
    """Gives a label that the scene's own file carries its configured name."""
    if label.carried not in scene.data_vars:
        raise LabelError(
            f"`data.labels.{name}.carried` must name a variable of the scene's file. "
            f"Received: {label.carried!r}; scene {scene.attrs.get('scene_id')!r} "
            f"carries {sorted(set(map(str, scene.data_vars)) - {'image', 'valid'})}."
            + (f" {HINT}" if label.shares else "")
        )
    refuse_kind(scene, name, label)
    attrs = scene[label.carried].attrs
    found = str(attrs.get("flag_meanings", "")).split()
    found = found[label.shares :]  # the first channel is no class
    if label.classes and found and len(found) != len(label.classes):
        raise LabelError(
            f"`data.labels.{name}.classes` must name each class that the file carries: "
            f"{found}. Received: {list(label.classes)}."
        )
    if label.carried != name:
        # Another label of the file may bear the name, such as SIC beside sic.
        own = {label.carried: name}
        if label.shares:
            own[f"{label.carried}_{CHANNEL}"] = f"{name}_{CHANNEL}"
        scene = scene.drop_vars(name, errors="ignore").rename(own)
    if label.shares:
        scene[name].attrs |= share_attributes(label.classes, label.colors)
    elif label.classes:
        known = class_attributes(label.classes, label.colors)
        scene[name].attrs |= {k: v for k, v in known.items() if k != "flag_values"}
        scene[name].attrs.setdefault("flag_values", known["flag_values"])
    return scene


def _file_labels(data: DataConfig, anchor: Anchor) -> dict[str, Any]:
    files: dict[str, Any] = {}
    codes: dict[str, Any] = {}
    for name, label in data.labels.items():
        alone = not (label.several or label.outputs or label.boxes or label.shares)
        if label.file is not None and alone:
            if lacks_file(label, anchor, data):
                continue
            path = find_file(label.file, anchor, data)
            colors = (label.colors,) if label.colors else ()
            files[name] = (path, label.classes, *colors) if label.classes else path
            if label.codes:
                codes[name] = label.codes
    if not files:
        return {}
    given: dict[str, dict[str, Any]] = {}
    for name, spec in files.items():
        label = data.labels[name]
        path = spec[0] if isinstance(spec, tuple) else spec
        given[name] = _which_of_several(path, anchor) | label.options
        if label.kind == "value":
            given[name]["is_quantity"] = True
    further = {"label_codes": codes, "label_options": given}
    return {"labels": files} | {key: value for key, value in further.items() if value}


def _void_map(scene: xr.Dataset, name: str, label: LabelConfig) -> xr.DataArray:
    """The map of a scene of which nothing is known, read lazily."""
    shape = scene["image"].shape[1:]
    if label.shares:
        named = label.classes, label.colors
        return xr.DataArray(void_shares((shape[0], shape[1]), name, named))
    attrs = class_attributes(label.classes, label.colors) if label.classes else {}
    fill, dtype = (VOID_CLASS, "uint8") if label.classes else (np.nan, "float32")
    lazy = WindowArray(shape, np.dtype(dtype), partial(_filled, fill, dtype))
    return xr.DataArray(lazy.variable(("y", "x"), attrs))


def _filled(fill: float, dtype: str, rows: slice, cols: slice) -> np.ndarray:
    return np.full((rows.stop - rows.start, cols.stop - cols.start), fill, dtype)


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
        codes,
        line=line,
        upper=upper,
        lower=lower,
        width_px=label.sides.width_px,
        beyond_ends=label.sides.beyond_ends,
    )


def _void_where(scene: xr.Dataset, data: DataConfig, anchor: Anchor) -> None:
    assert data.void is not None
    opened = open_scene(find_file(data.void.file, anchor, data))
    mask = _on_pixels(opened, scene, data, "The mask `data.void`")
    masked = (mask["image"] > 0).any("band").values
    for name in scene.data_vars.keys() & data.labels.keys():
        label = scene[name]
        if {"y", "x"} <= set(label.dims):
            void = np.nan if label.dtype.kind == "f" else VOID_CLASS
            values = np.where(masked, label.dtype.type(void), label.values)
            scene[name] = label.copy(data=values).assign_attrs(void_attributes(label))
