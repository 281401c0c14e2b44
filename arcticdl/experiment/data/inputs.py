"""The scenes that a call maps: those named or those tested, all or a share of them."""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import xarray as xr

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.data.series import join_dates
from arcticdl.experiment.scenes import open_configured
from arcticdl.files import safe_name
from arcticdl.sources import open_scene


def open_inputs(
    config: Experiment | None, inputs: list[str], split: Path
) -> list[xr.Dataset]:
    """Opens the scenes that are named, or those that a fold was tested on.

    Args:
        config: The run's configuration; ``None`` of a bare model.
        inputs: Files; none: the tested ones.
        split: The fold's ``split.json``.

    Raises:
        ConfigError: None is named, of a bare or of the full model; or the
            configuration finds no file of a scene that was tested.
    """
    if config is None:
        if not inputs:
            raise ConfigError("A bare model needs the scenes to map. Received: none.")
        return [open_scene(path) for path in inputs]
    anchors = find_anchors(config.data, inputs or None)
    tested = None if inputs else _tested(split, {a.scene_id for a in anchors})
    series = config.data.series  # whose earlier dates are seen, if not mapped
    if tested is not None and series is None:
        anchors = [anchor for anchor in anchors if anchor.scene_id in tested]
    scenes = [open_configured(config.data, a, with_labels=False) for a in anchors]
    return scenes if series is None else join_dates(scenes, series, tested)


def files_of(config: Experiment | None, inputs: Sequence[str]) -> list[str]:
    """The files that are read: those that are named, else all of the configuration."""
    if inputs or config is None:
        return list(inputs)
    anchors = find_anchors(config.data)
    return [file for anchor in anchors for file in (anchor.path, *anchor.further)]


def check_tested(config: Experiment, splits: Iterable[Path]) -> None:
    """Refuses, before any is mapped, tested scenes of several folds that are gone.

    Args:
        config: The run's configuration.
        splits: The folds' ``split.json``.

    Raises:
        ConfigError: The configuration finds no file of one of them.
    """
    there = {anchor.scene_id for anchor in find_anchors(config.data)}
    for split in splits:
        _tested(split, there)


def _tested(split: Path, there: Collection[str]) -> set[str]:
    """The scenes that a fold was tested on, all of which must be there."""
    tested = set(json.loads(split.read_text(encoding="utf-8"))["test"])
    if not tested:
        raise ConfigError(
            "The full model was trained on every scene, so none is left to map. "
            "Name the scenes."
        )
    gone = sorted(tested - set(there))
    if gone:
        raise ConfigError(
            "Without INPUT the scenes that a fold was tested on are mapped, and the "
            f"configuration's `data` must find each. Received: {len(gone)} of "
            f"{len(tested)} without a file: {', '.join(gone[:5])}"
            f"{', ...' if len(gone) > 5 else ''}. Bring the files back, or name those "
            "to map."
        )
    return tested


def read_shard(text: str | None) -> tuple[int, int]:
    """The number of a part, from 1 on, and how many there are; ``None``: one of one.

    Raises:
        ConfigError: It is not ``I/N`` with I in 1 to N.
    """
    number, _, count = ("1/1" if text is None else text).partition("/")
    if not (number.isdecimal() and count.isdecimal() and 0 < int(number) <= int(count)):
        raise ConfigError(
            f"--shard is I/N, the I-th of N parts, such as 1/8 to 8/8. Received: {text}"
        )
    return int(number), int(count)


def take_share(scenes: list[xr.Dataset], part: tuple[int, int]) -> list[xr.Dataset]:
    """Every N-th scene, once it is known that the parts write different files."""
    if part[1] > 1:
        refuse_repeated([safe_name(str(scene.attrs["scene_id"])) for scene in scenes])
    return scenes[part[0] - 1 :: part[1]]


def refuse_repeated(names: Sequence[str]) -> None:
    """Refuses scenes that would be written to one file.

    Raises:
        ConfigError: Two have one name.
    """
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigError(f"Inputs share the names {sorted(repeated)}; map them apart.")
