"""The challenge's score of tallied scenes, and what it does not show."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from arcticdl.evaluation.autoice.tally import Tallies
from arcticdl.metrics.autoice import AUTOICE_CLASSES, autoice_score, class_index_r2
from arcticdl.metrics.confusion import scores, without_nan
from arcticdl.metrics.intervals import interval_of
from arcticdl.seaice.schemes import AUTOICE_FLOE, AUTOICE_SIC, AUTOICE_SOD

_SCHEMES = {"SIC": AUTOICE_SIC, "SOD": AUTOICE_SOD, "FLOE": AUTOICE_FLOE}


def score_tallies(
    tallies: Tallies,
    strata: Mapping[str, Mapping[str, str]] | None = None,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores the pixels of all scenes together, as the challenge does.

    Args:
        tallies: From ``tally_charts``.
        strata: By column the stratum of each scene, as ``scene_strata`` gives it.
        num_resamples: Draws of scenes behind the interval.
        seed: Seed of the draws.

    Returns:
        ``official``: ``SIC``, ``SOD``, ``FLOE`` and ``combined`` in percent, exactly as
        the challenge computes them, ``None`` where no pixel is charted;
        ``interval`` of 95 % of ``combined`` over scenes, ``None`` of a single one;
        ``charts``: by chart ``support``, ``r2`` (of SIC), ``weighted_f1``,
        ``macro_f1``, both again over ``ice_only`` pixels, those that the chart calls
        ice, and ``per_class``; ``strata``: by column and stratum the scenes' number
        and ``official``; ``scenes``: by scene its counts.

    Raises:
        ValueError: No scene is given.
    """
    if not tallies:
        raise ValueError("`tallies` must hold at least one scene. Received: none.")
    pooled = _pooled(tallies)
    found = {
        "official": _official(pooled),
        "interval": _interval(tallies, num_resamples, seed),
        "num_scenes": len(tallies),
        "charts": {name: _chart(name, counts) for name, counts in pooled.items()},
        "strata": {
            column: _by_stratum(tallies, named)
            for column, named in (strata or {}).items()
        },
        "scenes": {
            scene: {name: counts.tolist() for name, counts in each.items()}
            for scene, each in tallies.items()
        },
    }
    return without_nan(found)


def _pooled(tallies: Tallies) -> dict[str, np.ndarray]:
    names = [n for n in AUTOICE_CLASSES if any(n in each for each in tallies.values())]
    return {
        name: np.sum([each[name] for each in tallies.values() if name in each], axis=0)
        for name in names
    }


def _official(pooled: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """The official numbers; a chart that nothing tells leaves ``combined`` unknown."""
    told = {name: counts for name, counts in pooled.items() if counts.sum()}
    if set(told) == set(AUTOICE_CLASSES):
        return dict(autoice_score(told["SIC"], told["SOD"], told["FLOE"]))
    found: dict[str, float | None] = dict.fromkeys((*AUTOICE_CLASSES, "combined"))
    for name, counts in told.items():
        sic = name == "SIC"
        value = class_index_r2(counts) if sic else scores(counts)["weighted_f1"]
        found[name] = round(100 * float(value), 3)
    return found


def _chart(name: str, counts: np.ndarray) -> dict[str, Any]:
    whole = scores(counts, _SCHEMES[name].classes)
    ice = counts.copy()
    ice[0] = 0  # the first class of every chart is water
    table = {"support": int(counts.sum()), **_f1(whole)}
    if name == "SIC":
        table["r2"] = class_index_r2(counts) if counts.sum() else float("nan")
    kept = ("f1", "precision", "recall", "support")
    return table | {
        "ice_only": {"support": int(ice.sum()), **_f1(scores(ice))},
        "per_class": {
            one: {key: values[key] for key in kept}
            for one, values in whole["per_class"].items()
        },
    }


def _f1(found: Mapping[str, Any]) -> dict[str, float]:
    return {key: found[key] for key in ("weighted_f1", "macro_f1")}


def _by_stratum(tallies: Tallies, named: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for stratum in sorted(set(named.values())):
        part = {s: each for s, each in tallies.items() if named.get(s) == stratum}
        if part:
            official = _official(_pooled(part))
            found[stratum] = {"num_scenes": len(part), "official": official}
    return found


def _interval(tallies: Tallies, num_resamples: int, seed: int) -> list[float] | None:
    """Percentiles of ``combined`` of scenes drawn with replacement."""
    scenes = list(tallies.values())
    if len(scenes) < 2:
        return None
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(num_resamples):
        chosen = rng.integers(0, len(scenes), len(scenes))
        part = {str(k): scenes[one] for k, one in enumerate(chosen)}
        drawn.append(_official(_pooled(part))["combined"])
    known = [value for value in drawn if value is not None]
    if not known:
        return None
    return interval_of(known)
