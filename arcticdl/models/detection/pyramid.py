"""The feature pyramid of detectors: every level is kept, coarser ones are added."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from arcticdl.models.contracts import Pyramid, pyramid_levels
from arcticdl.models.layers.resampling import UpsampleNearest


def check_levels(levels: Sequence[int], have: Sequence[int]) -> tuple[int, int]:
    """Returns the finest and the coarsest level after checking them.

    Args:
        levels: ``(finest, coarsest)``, binary logarithms of strides.
        have: Levels of the backbone that may be used.

    Raises:
        ValueError: Not two numbers that rise, or finer than the backbone has them.
    """
    given = tuple(levels)
    whole = len(given) == 2 and all(isinstance(level, int) for level in given)
    if not whole or not have[0] <= given[0] <= given[1] <= 9:
        raise ValueError(
            "`levels` must be (finest, coarsest), from the finest level that a "
            f"detector may use of this backbone, {have[0]}, to 9 at most. Received: "
            f"levels={given}."
        )
    return given[0], given[1]


def feature_pyramid(
    features: Pyramid, levels: Sequence[int], channels: int
) -> dict[int, Any]:
    """Builds the top-down path over a backbone's levels, and coarser ones below.

    Args:
        features: Levels of a backbone.
        levels: ``(finest, coarsest)`` of the pyramid; those that the backbone lacks are
            halved from its coarsest one by convolutions of stride 2.
        channels: Channels of every level.

    Returns:
        Level -> map ``(batch, y, x, channel)`` of stride ``2**level``, fine to coarse.

    Raises:
        ValueError: Levels that cannot be had.

    Reference:
        Lin et al. 2017, doi:10.1109/CVPR.2017.106; the added levels as in Lin et al.
        2017, doi:10.1109/ICCV.2017.324.
    """
    have = pyramid_levels(features)
    finest, coarsest = check_levels(levels, have)
    x, found = None, {}
    for level in reversed([k for k in have if finest <= k]):
        lateral = layers.Conv2D(channels, 1, name=f"pyramid_lateral{level}")(
            features[f"P{level}"]
        )
        if x is not None:
            x = UpsampleNearest(name=f"pyramid_topdown{level}")(x)
            lateral = layers.Add(name=f"pyramid_sum{level}")([x, lateral])
        x = lateral
        if level <= coarsest:
            found[level] = _conv(channels, 1, f"pyramid_smooth{level}")(x)
    for level in range(max(found, default=finest) + 1, coarsest + 1):
        top = found.get(level - 1, x)
        found[level] = _conv(channels, 2, f"pyramid_extra{level}")(top)
    return dict(sorted(found.items()))


def _conv(channels: int, strides: int, name: str) -> layers.Layer:
    return layers.Conv2D(channels, 3, strides=strides, padding="same", name=name)
