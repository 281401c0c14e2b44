"""The store of an experiment, opened as the configuration has it read."""

from collections.abc import Collection
from typing import Any

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError, StoreError
from arcticdl.evaluation.baselines.cfar import POLARISATIONS, fits_radar
from arcticdl.experiment.data.recipe import differences, recipe_of
from arcticdl.experiment.data.series import as_series
from arcticdl.experiment.data.within import check_strata_within
from arcticdl.experiment.scenes import open_scenes
from arcticdl.tiles import (
    JoinedStore,
    SceneStore,
    SeriesStore,
    TileStore,
    open_store,
)
from arcticdl.tiles.plan import parse_tile_size


def open_prepared(config: Experiment) -> TileStore:
    """Opens the experiment's store.

    Raises:
        FileNotFoundError: It is not there.
        ConfigError: ``strata`` names what is no column of its scenes,
            ``strata_within`` no band of them, ``instances`` no label of it,
            ``baselines`` stand beside a detector that is not on radar, or
            ``tiles.select`` is no condition.
        StoreError: Its pixels stay in the scenes, which are not those it was made of.
    """
    if not config.store_path.exists():
        raise FileNotFoundError(
            f"No tile store at {config.store_path}. Make it first: arcticdl prepare "
            "CONFIG"
        )
    store = as_series(_open(config), config)
    if config.strata:
        _check_strata(store.manifest, config.strata)
    if config.strata_within:
        check_strata_within(config, store)
    _check_baselines(config, store)
    if config.instances is not None and config.instances not in store.labels:
        raise ConfigError(
            f"`instances` names a label that {config.store_path} was prepared without. "
            f"Received: {config.instances!r}; it holds {sorted(store.labels)}. Make it "
            "again: arcticdl prepare CONFIG --overwrite"
        )
    return store


def check_prepared(config: Experiment, store: TileStore) -> None:
    """Refuses to train on tiles that were prepared otherwise than is configured.

    What a configuration says of its data and tiles is done by `prepare`; one that was
    changed since would be recorded with the run, and not be what it learnt from. The
    tiles of a store that the configuration names belong to another experiment. Files
    that were moved since are the same; per-scene files are not read for it.

    Raises:
        StoreError: They were.
    """
    whole = store.store if isinstance(store, SeriesStore) else store
    data, tiles = config.data, config.tiles
    settings: dict[str, tuple[Any, Any]] = {}
    if data.use_bands is not None and data.gaps is None and data.condition is None:
        settings["data.use_bands"] = [*data.use_bands], [*whole.bands]
    for name, label in data.labels.items():
        if label.classes and label.sides is None and name in whole.labels:
            asked = [one.replace(" ", "_") for one in label.classes]
            held = [one.replace(" ", "_") for one in whole.labels[name].classes]
            settings[f"data.labels.{name}.classes"] = asked, held
    if tiles.store is None:
        plan = whole.parts[0].about["plan"]
        size = [*parse_tile_size(tiles.size_px)], [*whole.tile_size_px]
        settings["tiles.size_px"] = size
        settings["tiles.overlap_px"] = tiles.overlap_px, plan["overlap_px"]
        settings["tiles.edge"] = tiles.edge, plan["edge"]
    told = [(key, *values) for key, values in settings.items()]
    if len(whole.parts) == 1:  # several were each prepared by a recipe of their own
        made = whole.parts[0].about.get("recipe")
        told += differences(recipe_of(data), made, config.stored_labels)
    for key, asked, held in told:
        if asked != held:
            raise StoreError(
                f"A store must hold the tiles that are configured. Received: {key} of "
                f"{asked}, and {store.path}, prepared with {held}. Prepare it anew: "
                "arcticdl prepare CONFIG --overwrite"
            )


def _check_baselines(config: Experiment, store: TileStore) -> None:
    """Refuses baselines of a detector on anything but radar, before it is trained."""
    infos = [store.labels[name] for name in config.each_head if name in store.labels]
    boxed = [info for info in infos if info.is_object]
    if not config.baselines or not boxed or fits_radar(store.bands, boxed[0]):
        return
    raise ConfigError(
        "`baselines` of a network that finds objects is a constant false-alarm rate, "
        f"which needs one class and backscatter in dB, a band of {POLARISATIONS}. "
        f"Received: bands {list(store.bands)}, classes {list(boxed[0].classes)}. Leave "
        "`baselines` out."
    )


def _open(config: Experiment) -> TileStore:
    """The store alone, or with the scenes that its pixels are read from."""
    store = open_store(config.store_path)
    if not store.keeps_pixels or config.train.feed != "tiles":
        if store.parts != (store,) or config.tiles.select is not None:
            raise ConfigError(
                "`tiles.select`, and a `tiles.store` that joins several, need pixels "
                "in the store. Received: tiles that are read from their scenes, "
                f"{store.path}. Prepare with `train.feed: tiles`."
            )
        store = SceneStore(store.path, open_scenes(config))
    if config.tiles.select is None:
        return store
    try:
        return JoinedStore([store], where=config.tiles.select)
    except ValueError as error:
        raise ConfigError(f"`tiles.select`: {error}") from error


def _check_strata(manifest: Any, strata: Collection[str]) -> None:
    """Refuses columns that are not there, or that tell tiles of a scene apart."""
    for column in strata:
        values = manifest.get(column)
        if values is None:
            raise ConfigError(
                "`strata` must name columns of the store's manifest. "
                f"Received: {column!r}; it has {sorted(map(str, manifest))}. Columns "
                "of `data.table` and `data.attributes` stand in it after `prepare`."
            )
        if (values.groupby(manifest["scene_id"]).nunique() > 1).any():
            raise ConfigError(
                f"`strata` must name what is one of a whole scene. Received: "
                f"{column!r}, which differs between tiles of a scene."
            )
