"""The images whose style a step of augmentation takes: of the training part alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from arcticdl.errors import ConfigError
from arcticdl.tiles import TileStore

STYLES = frozenset(("images", "own"))
"""Arguments of such a step that come from the data."""

_MAX_TILES = 64


def with_styles(
    steps: Sequence[dict[str, Any]], store: TileStore, tiles: np.ndarray
) -> list[dict[str, Any]]:
    """Gives steps that say ``to`` the images that it names.

    Args:
        steps: Of ``train.augment``.
        store: The tile store.
        tiles: Training tiles of the fold; at most 64 of those that fit are kept, and as
            many of the others.

    Raises:
        ConfigError: ``to`` names no column, or no training tile has its value; or all
            have, and quantiles of others are needed.
    """
    return [
        {**step, **_find(step, store, tiles, number)}
        if step["name"] == "style" and step.get("to")
        else step
        for number, step in enumerate(steps)
    ]


def _find(
    step: dict[str, Any], store: TileStore, tiles: np.ndarray, number: int
) -> dict[str, np.ndarray | None]:
    wanted: dict[str, str] = step["to"]
    manifest, key = store.manifest.iloc[tiles], f"train.augment.{number}.to"
    fits = np.ones(len(tiles), bool)
    for column, value in wanted.items():
        if column not in manifest or column == "geometry":
            known = sorted(set(map(str, manifest.columns)) - {"geometry"})
            raise ConfigError(
                f"`{key}` must name columns of the scenes: {known}. Received: "
                f"{column!r}."
            )
        fits &= (manifest[column].astype(str) == str(value)).to_numpy()
    shown = (manifest["valid_fraction"] > 0).to_numpy()
    if not (fits & shown).any():
        told = {
            column: sorted(set(manifest[column].dropna().astype(str)))[:12]
            for column in wanted
        }
        raise ConfigError(
            f"`{key}` must fit a training tile: styles are never taken of what is held "
            f"out. Received: {wanted}; the training tiles of this fold have {told}. "
            "Scenes without labels may be added to train (`optional: true`)."
        )
    others = tiles[~fits & shown]
    if not len(others) and step.get("how") == "quantiles":
        raise ConfigError(
            f"`{key}` must leave training tiles to be changed, whose quantiles are "
            f"taken. Received: {wanted}, which all {len(tiles)} of this fold have. "
            "Leave the step out, or take `how: moments`."
        )
    return {
        "images": _read(store, tiles[fits & shown]),
        "own": _read(store, others) if len(others) else None,
    }


def _read(store: TileStore, tiles: np.ndarray) -> np.ndarray:
    """Some tiles, evenly spread, NaN where not valid."""
    places = np.linspace(0, len(tiles) - 1, min(len(tiles), _MAX_TILES)).round()
    read = store.read(tiles[places.astype(int)], ["image", "valid"])
    image = np.asarray(read["image"], np.float32)
    return np.where(read["valid"][..., None], image, np.float32("nan"))
