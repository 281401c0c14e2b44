"""Corrections of labels: applied where scenes are opened, told in stores and cards."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.config import DataConfig, Experiment, LabelConfig
from arcticdl.errors import StoreError
from arcticdl.labelling.corrections import (
    Corrections,
    apply_corrections,
    read_corrections,
)
from arcticdl.labelling.unaided import unaided_name
from arcticdl.tiles import TileStore

_LAYER, _PIXELS = "{}_corrections", "{}_corrected_px"


def layer_of(label: LabelConfig) -> Corrections | None:
    """The layer that a label is corrected by, ``None`` where none is configured.

    Raises:
        FileNotFoundError: The file is not there.
        LabelError, SourceError: It is no layer of corrections.
    """
    if label.corrections is None:
        return None
    path = Path(label.corrections)
    if not path.is_file():
        raise FileNotFoundError(
            f"No corrections at {path}. `arcticdl labels apply` begins the file; until "
            "then leave `corrections` out."
        )
    about = path.stat()
    return _read(path, label.classes, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, classes: tuple[str, ...], *_: int) -> Corrections:
    return read_corrections(path, classes)


def correct_labels(scene: xr.Dataset, data: DataConfig) -> dict[str, Any]:
    """Corrects the labels of a scene in place.

    Where a model has pointed at corrections, the label as it is tested stands beside.

    Args:
        scene: With all labels as they shall be but for this.
        data: The section.

    Returns:
        Columns for the manifest: ``LABEL_corrections``, version and hash of the layer,
        and ``LABEL_corrected_px``, the pixels that differ from before.
    """
    columns: dict[str, Any] = {}
    for name, label in data.labels.items():
        layer = layer_of(label)
        if layer is None:
            continue
        learnt = apply_corrections(scene, name, layer)
        if layer.by_model:
            tested = apply_corrections(scene, name, layer.without_model())
            scene[unaided_name(name)] = tested.label
        scene[name] = learnt.label
        columns[_LAYER.format(name)] = layer.signature
        columns[_PIXELS.format(name)] = learnt.changed
    return columns


def corrected_labels(config: Experiment) -> dict[str, Corrections]:
    """The layers of the labels that the store keeps, by name."""
    layers = {n: layer_of(config.data.labels[n]) for n in config.stored_labels}
    return {name: layer for name, layer in layers.items() if layer is not None}


def check_layers(config: Experiment, store: TileStore) -> None:
    """Refuses a store that was prepared with other corrections than are configured.

    Raises:
        StoreError: It was.
    """
    for name in config.stored_labels:
        layer = layer_of(config.data.labels[name])
        wanted = "" if layer is None else layer.signature
        column = store.manifest.get(_LAYER.format(name))
        found = {""} if column is None else set(column.fillna("").astype(str))
        if found != {wanted}:
            raise StoreError(
                "A store must hold the labels as they are configured to be corrected. "
                f"Received: {store.path} with version {sorted(found)} of the "
                f"corrections of {name!r}, where {wanted or 'none'!r} is configured. "
                "Prepare it anew: arcticdl prepare CONFIG --overwrite"
            )


def describe_corrections(store: TileStore, tiles: np.ndarray) -> dict[str, Any]:
    """What a card says of the corrections that training tiles bear.

    Args:
        store: The store.
        tiles: Indices of the training tiles.

    Returns:
        ``{label: {"version", "scenes", "changed_px"}}``, counted over the whole scenes
        of these tiles; empty where no layer is configured.
    """
    scenes = store.manifest.iloc[tiles].drop_duplicates("scene_id")
    found = {}
    for name in store.labels:
        if _LAYER.format(name) in scenes:
            changed = scenes[_PIXELS.format(name)].to_numpy("int64")
            found[name] = {
                "version": str(scenes[_LAYER.format(name)].iloc[0]),
                "scenes": int((changed > 0).sum()),
                "changed_px": int(changed.sum()),
            }
    return found
