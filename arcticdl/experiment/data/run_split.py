"""The folds of a trained run in a store that may have changed since."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from arcticdl.config import Experiment
from arcticdl.errors import SplitError
from arcticdl.experiment.folder import FULL, fold_path
from arcticdl.experiment.split import PARTS, Split, choose_everything, choose_folds
from arcticdl.experiment.warm import scenes_seen
from arcticdl.tiles import TileStore, open_store


def folds_of_run(
    folder: Path,
    store: TileStore,
    config: Experiment,
    numbers: Collection[int | str],
) -> dict[int | str, Split]:
    """Finds the parts that trained folds had, in a store that may have changed since.

    A splitter deals a store that grew anew, and might then test a fold on scenes that
    it was trained on. Scenes that were added are therefore in no part, and the others
    must be where the fold's ``split.json`` names them.

    Args:
        folder: Run folder.
        store: The experiment's store.
        config: The experiment.
        numbers: Folds that were trained; or ``full`` alone.

    Returns:
        Number of the fold -> its parts, in rising order.

    Raises:
        SplitError: Scenes would be in another part than they were; or a fold has tiles
            of one scene in several parts, and the store has changed.
    """
    ids = store.manifest["scene_id"].astype(str).to_numpy()
    records = {number: _record(fold_path(folder, number)) for number in numbers}
    parts = {n: {p: set(r[p]) for p in PARTS} for n, r in records.items()}
    dealt = _deal(store, config, numbers)
    # Of all tiles first: groups may be in no part, as with a share of the training.
    left = [n for n in numbers if _scenes(dealt[n], ids) != parts[n]]
    if left:
        known = set().union(*(scenes for n in left for scenes in parts[n].values()))
        among = np.flatnonzero(np.isin(ids, sorted(known)))
        if came := set(ids) - known:
            _say(
                f"note: {len(came)} scenes of {store.path} came after the training, "
                f"such as {min(came)!r}, and are in no part of its folds."
            )
        dealt |= _deal(store, config, left, among)
    for number in numbers:
        now = _scenes(dealt[number], ids)
        if now != parts[number]:
            _refuse_moved(number, parts[number], now, set(ids))
        _refuse_shared(number, records[number], parts[number], store)
    return {number: dealt[number] for number in numbers}


def _record(fold_dir: Path) -> dict[str, Any]:
    """What a fold was made from."""
    text = (fold_dir / "split.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _deal(
    store: TileStore,
    config: Experiment,
    numbers: Collection[int | str],
    among: NDArray[np.int64] | None = None,
) -> dict[int | str, Split]:
    """Folds by number, or the full model's."""
    if FULL in numbers:
        return {FULL: choose_everything(store, config, among)}
    dealt = choose_folds(store, config, [int(n) for n in numbers], among)
    return dict(dealt.items())


def _scenes(split: Split, ids: NDArray[Any]) -> dict[str, set[str]]:
    return {part: set(ids[getattr(split, part)]) for part in PARTS}


def _refuse_moved(
    number: int | str,
    was: Mapping[str, set[str]],
    now: Mapping[str, set[str]],
    here: set[str],
) -> NoReturn:
    there = set().union(*was.values())
    moved = set().union(*(was[part] ^ now[part] for part in PARTS))
    raise SplitError(
        f"Fold {number} must find its scenes in the parts that they had. Received: a "
        f"store that deals {len(moved)} of them anew, such as {min(moved)!r}; "
        f"{len(there - here)} are no longer in it, {len(here - there)} were in no "
        "part. Prepare the store with the scenes of then, name other scenes as `data` "
        "(--data), or train again."
    )


def _refuse_shared(
    number: int | str,
    record: Mapping[str, Any],
    was: Mapping[str, set[str]],
    store: TileStore,
) -> None:
    """Refuses scenes of several parts, whose tiles another store may deal anew."""
    known = record.get("store")
    shared = sorted((was["train"] | was["validation"]) & was["test"])
    if shared and known is not None and known != store.fingerprint:
        raise SplitError(
            f"Fold {number} has tiles of one scene in several parts, such as of "
            f"{shared[0]!r}, and must find the tiles that it was trained with. "
            f"Received: {store.path}, which has changed since. Prepare the store of "
            "then, name other scenes as `data` (--data), or train again."
        )


def refuse_other_tiles(
    folder: Path, store: TileStore, todo: Collection[int | str]
) -> None:
    """Refuses to train folds of a run on other tiles than it was begun with.

    Its folds would be dealt differently, and one that goes on could be tested on what
    it has learnt.

    Args:
        folder: Run folder, there or not.
        store: The store that they would be trained on.
        todo: Folds that are to be trained.

    Raises:
        SplitError: A fold that is there was made from tiles of another fingerprint.
    """
    for path in sorted(folder.glob("f*/split.json")) if todo else ():
        known = _record(path.parent).get("store")
        if known is not None and known != store.fingerprint:
            raise SplitError(
                "The folds of a run must be made from the same tiles. Received: "
                f"{path.parent}, from others than {store.path} holds now. Prepare the "
                "store of then, give this run another --run-dir, or train all folds "
                "anew with --overwrite."
            )


def refuse_seen(
    fold_dirs: Iterable[Path], config: Experiment, data: str | Path
) -> None:
    """Refuses to score models on another store's scenes that they have learnt from.

    Scenes of one name are the same where a tile of both has the same pixels. Where that
    cannot be told, since the fold's own store is gone or has tiles of another size, a
    note says so.

    Args:
        fold_dirs: Folders of the folds that score the store, or an opened bundle.
        config: The experiment, whose store tells the pixels.
        data: The store.

    Raises:
        SplitError: A model has learnt from a scene of the store.
    """
    other = open_store(data)
    for fold_dir in fold_dirs:
        name = fold_dir.name if fold_dir.name.startswith("fold") else "the model"
        names = scenes_seen(fold_dir) & set(other.manifest["scene_id"].astype(str))
        if not names:
            continue
        own = _store_of(config, _record(fold_dir).get("store"))
        if own is None or own.tile_size_px != other.tile_size_px:
            _say(
                f"note: {name} has learnt from {len(names)} scenes whose names "
                f"are in {data}, such as {min(names)!r}; whether they are the same "
                "cannot be told, since its own tiles are gone or of another size."
            )
            continue
        same = _keys(own, names) & _keys(other, names)
        if same:
            raise SplitError(
                "A fold must not be scored on what it has learnt from. Received: "
                f"{data}, of which {len(same)} tiles trained {name}. Leave "
                "`data` (--data) out to score the scenes that it holds out, or drop "
                "the others: arcticdl archive drop STORE SCENE"
            )


def _say(line: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(line)


def _store_of(config: Experiment, known: str | None) -> TileStore | None:
    """The experiment's store, if it still holds the tiles of that fingerprint."""
    try:
        own = open_store(config.store_path)
    except (FileNotFoundError, ValueError):
        return None
    return own if own.fingerprint == known else None


def _keys(store: TileStore, names: set[str]) -> set[str]:
    """Hashes of the pixels of some scenes' tiles."""
    rows = store.manifest["scene_id"].astype(str).isin(names)
    return set(store.manifest["image_key"][rows].astype(str))
