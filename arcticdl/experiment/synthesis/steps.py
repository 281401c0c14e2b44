"""The steps of augmentation, compared with signatures and tried before any data."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from arcticdl.augment.table import AUGMENTATIONS
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.options import check_call, parameters
from arcticdl.experiment.synthesis.styles import STYLES
from arcticdl.tiles.plan import parse_tile_size

_BANDS = ("bands", "angle_band")  # may be names, where a step wants numbers
_SIZED = ("crop", "hide_patches")
_MIXING = ("classmix", "copy_paste", "cutmix", "mixup")
_EMPTY = {"class": np.uint8, "value": np.float32}
"""Type of the labels of pixels, by kind."""


def check_augment(config: Experiment) -> None:
    """Compares the steps of augmentation with signatures, and builds each of them.

    Args:
        config: The experiment.

    Raises:
        ConfigError: An option is unknown, missing, of another type or out of range; or
            a step names a band that is not there, or does not fit a tile or its labels.
    """
    for number, step in enumerate(config.train.augment):
        options = {key: value for key, value in step.items() if key != "name"}
        function = AUGMENTATIONS[step["name"]]
        check_call(
            function,
            {k: v for k, v in options.items() if k not in _BANDS},
            f"train.augment.{number}",
            {k for k in _BANDS if k in options and k in parameters(function)} | STYLES,
        )
        _refuse_bands(step, function, number)
        _build_step(step, number, _known_bands(config))
    _try_steps(config)


def _build_step(step: dict[str, Any], number: int, known: Sequence[str] | None) -> None:
    """Lets a step itself refuse arguments out of range, and bands that are not there.

    Raises:
        ConfigError: It does.
    """
    from arcticdl.augment import build_policy

    bands = step.get("bands")
    if bands is not None and not isinstance(bands, list | tuple):
        raise ConfigError(
            f"`train.augment.{number}.bands` must be a list. Received: {bands!r}."
        )
    named = [step.get("angle_band"), *(bands or ())]
    names = [band for band in named if isinstance(band, str)]
    try:
        build_policy([step], bands=names if known is None else known)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"`train.augment.{number}`: {error}") from error


def _try_steps(config: Experiment) -> None:
    """Tries on empty tiles what must fit into a tile, and what must know its label.

    Raises:
        ConfigError: A window or patch is too large; or it is not told which label is
            mixed, or how many classes it has.
    """
    shape = (2, *parse_tile_size(config.tiles.size_px))
    learnt = [(name, config.data.answered[name]) for name in config.each_head]
    maps = all(x.target == "pixel" and x.kind in _EMPTY for _, x in learnt)
    labels = {name: np.zeros(shape, _EMPTY[x.kind]) for name, x in learnt if maps}
    tried = _SIZED + (_MIXING if maps else ())
    chosen = [step for step in config.train.augment if step["name"] in tried]
    if not chosen:
        return
    from arcticdl.augment import build_policy

    image, valid = np.zeros((*shape, 1), np.float32), np.ones(shape, bool)
    policy = build_policy([step | {"p": 1.0} for step in chosen])
    try:
        policy(image, labels, valid, np.random.default_rng(0))
    except ValueError as error:
        raise ConfigError(f"`train.augment`: {error}") from error


def _known_bands(config: Experiment) -> tuple[str, ...] | None:
    """The bands of a store, where the configuration alone tells them; else ``None``."""
    data = config.data
    changed = (data.series, data.condition, data.gaps)
    return data.use_bands if all(part is None for part in changed) else None


def _refuse_bands(step: dict[str, Any], function: Any, number: int) -> None:
    unknown = {"bands", "angle_band"} & step.keys() - parameters(function).keys()
    if unknown:
        raise ConfigError(
            f"`train.augment.{number}.{min(unknown)}` is no option of "
            f"{step['name']!r}. Options: {sorted(parameters(function))}."
        )
