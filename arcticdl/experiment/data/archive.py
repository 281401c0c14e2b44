"""The store of an experiment as an archive: it grows, and keeps its folds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from arcticdl import tiles
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.check import check_preparation
from arcticdl.experiment.data.anchors import find_anchors, find_made
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.recipe import LABEL_FILES, differences
from arcticdl.experiment.data.series import check_series, told_series
from arcticdl.experiment.scenes import how_prepared, open_configured
from arcticdl.experiment.split import build_splitter
from arcticdl.tiles.folds.drift import mark_drift
from arcticdl.tiles.plan import parse_tile_size
from arcticdl.tiles.quality.checks import check_actions
from arcticdl.tiles.writing import unfinished


class Growth(NamedTuple):
    """What `append` did.

    Attributes:
        store: The store.
        new: Scenes that were added.
        gone: Scenes of the store that the configuration no longer finds; they stay.
        dropped: Scenes that were dropped from the store and are found still; they stay
            out.
    """

    store: tiles.TileStore
    new: tuple[str, ...]
    gone: tuple[str, ...]
    dropped: tuple[str, ...]


def append(config: Experiment) -> Growth:
    """Adds the scenes that the configuration finds and its store does not hold.

    Only these are opened, read and measured; what was dropped stays out. After an
    interruption the same call goes on where it stopped. A file of labels that all
    scenes share may have grown with them; those that are in keep the labels of before.

    Raises:
        FileNotFoundError: There is no store yet, or a file is missing.
        ConfigError: The store was prepared with other settings.
        StoreError: The scenes do not fit the store.
    """
    check_preparation(config)
    path = config.store_path
    if not path.is_dir():
        raise FileNotFoundError(
            f"Scenes are appended to a store that is there. Received: {path}, which is "
            "no folder. Make it first: `arcticdl prepare CONFIG` without --append."
        )
    store = tiles.open_store(path)
    asked = how_prepared(config)
    _check_settings(store, config, asked)
    # What an earlier checkout wrote tells nothing, and is not told to be of today.
    told = isinstance(store.about.get("recipe"), Mapping)
    recipe = asked["recipe"] if told else None
    anchors = find_anchors(config.data) + find_made(config.data)
    held, found = set(store.scenes), {anchor.scene_id for anchor in anchors}
    out = found & set(store.about.get("dropped", ())) - held
    new = found - held - out
    # Of scenes that are in, the clearing up may have been cut off.
    for wanted in (held & _begun(path), new):
        chosen = [a for a in anchors if a.scene_id in wanted]
        if chosen:
            scenes = [open_configured(config.data, anchor) for anchor in chosen]
            if (series := told_series(config)) is not None:
                for scene in scenes:
                    check_series([scene], series)
            store = tiles.append(path, scenes, recipe=recipe)
    names = (tuple(sorted(group)) for group in (new, held - found, out))
    return Growth(store, *names)


def keep_folds(config: Experiment) -> list[tiles.Fold]:
    """Splits the store as ``folds`` says, and keeps that in the store.

    The column ``fold`` of its manifest then says which fold tests each tile. The
    splitter ``stable`` goes by it from then on, whatever is appended or dropped.

    Raises:
        FileNotFoundError: There is no store.
        SplitError: A split that leaks or tests a tile twice, or that is of sequences,
            a selection or several stores.
    """
    check_preparation(config)
    store = open_prepared(config)
    manifest = mark_drift(store.manifest, config.folds.drifts)
    folds = list(build_splitter(config).split(manifest))
    tiles.write_folds(store, folds, seed=config.folds.seed)
    return folds


def _begun(path: Path) -> set[str]:
    """Scenes that were being appended when an earlier call was cut off."""
    plan = unfinished.read_plan(path / unfinished.APPEND)
    return set(plan["scenes"]) if plan else set()


def _check_settings(
    store: tiles.TileStore, config: Experiment, asked: Mapping[str, Any]
) -> None:
    """Refuses a configuration that would cut other tiles than the store holds."""
    about = store.about
    plan = about["plan"]
    mine = {
        "tiles.size_px": list(store.tile_size_px),
        "tiles.overlap_px": plan["overlap_px"],
        "tiles.edge": plan["edge"],
        "tiles.min_valid_fraction": plan["selection"]["min_valid_fraction"],
        "tiles.allow": plan["selection"]["quality"],
        "labels": sorted(store.labels),
        "train.feed": "tiles" if store.keeps_pixels else "scenes",
        "tiles.pixels_at": about.get("pixels_at", ""),
    }
    theirs = {
        "tiles.size_px": list(parse_tile_size(asked["tile_size_px"])),
        "tiles.overlap_px": asked["overlap_px"],
        "tiles.edge": asked["edge"],
        "tiles.min_valid_fraction": asked["min_valid_fraction"],
        "tiles.allow": check_actions(asked["quality"]),
        "labels": sorted(asked["labels"]),
        "train.feed": "tiles" if asked["keep_pixels"] else "scenes",
        "tiles.pixels_at": asked["pixels_at"] or "",
    }
    unequal = [key for key in mine if mine[key] != theirs[key]]
    made = differences(asked["recipe"], about.get("recipe"), config.stored_labels)
    unequal += [key for key, *_ in made if not key.startswith(LABEL_FILES)]
    if unequal:
        raise ConfigError(
            "Scenes are appended with the settings that their store was prepared with. "
            f"Received: {store.path}, from which {unequal} differ. Restore these, or "
            "prepare the store anew with --overwrite."
        )
