"""What evaluations of any kind keep of each image beside its scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Extras = Mapping[str, Sequence[Mapping[str, float | None]]]
_INTERVAL_OF = ("mean", "median")


def finite_extra(extra: Mapping[str, float | None]) -> dict[str, float | None]:
    """Numbers about an image as floats; what is not finite says that there is none."""
    return {
        str(name): float(v) if v is not None and np.isfinite(v) else None
        for name, v in extra.items()
    }


def mean_extra(
    extras: Sequence[Mapping[str, float | None]],
) -> dict[str, float | None]:
    """Averages further numbers over the tiles of one image."""
    found: dict[str, list[float]] = {}
    for extra in extras:
        for name, value in extra.items():
            found.setdefault(name, []).extend([] if value is None else [value])
    return {name: float(np.mean(v)) if v else None for name, v in found.items()}


def summarise_extra(extras: Extras, seed: int, num_resamples: int) -> dict[str, Any]:
    """Mean and median of each further number over images, with bootstrap intervals.

    Args:
        extras: {image_id: numbers of each of its tiles}.
        seed: Seed of the bootstrap.
        num_resamples: How often images are drawn.
    """
    by_image = [mean_extra(one) for one in extras.values()]
    names = dict.fromkeys(name for extra in by_image for name in extra)
    return {
        name: _summary([e.get(name) for e in by_image], seed, num_resamples)
        for name in names
    }


def _summary(
    values: Sequence[float | None], seed: int, num_resamples: int
) -> dict[str, Any]:
    found = np.array([v for v in values if v is not None], float)
    summary: dict[str, Any] = {
        "num_images": len(found),
        "num_missing": len(values) - len(found),
        "mean": float(found.mean()) if found.size else None,
        "median": float(np.median(found)) if found.size else None,
        "intervals": {},
    }
    if len(found) > 1:
        rng = np.random.default_rng(seed)
        drawn = rng.choice(found, size=(num_resamples, len(found)))
        for name in _INTERVAL_OF:
            limits = np.percentile(getattr(np, name)(drawn, axis=1), [2.5, 97.5])
            summary["intervals"][name] = limits.tolist()
    return summary


def check_same(result: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses to pool evaluations of different things.

    Raises:
        ValueError: A value differs.
    """
    for key, value in wanted.items():
        if result.get(key) != value:
            raise ValueError(
                f"Evaluations must share their {key} to be pooled. "
                f"Received: {result.get(key)!r} and {value!r}."
            )
