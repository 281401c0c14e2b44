"""Who is served worse: strata with significantly lower scores, or hardly trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu, wilcoxon

from arcticdl.evaluation.compare.paired import holm
from arcticdl.evaluation.strata.within import score_images
from arcticdl.tasks import SCORES, Score

LEVEL = 0.05
LEAST_SHARE = 0.5
"""A stratum is under-represented whose share of the training scenes is less than this
part of its share of the scored ones."""

Trained = Mapping[str, Mapping[str, float]]


def audit_strata(
    result: Mapping[str, Any], trained: Trained | None = None
) -> list[dict[str, Any]]:
    """Names the strata that are served worse than the others, or hardly trained on.

    The scores of a stratum's images are compared with those of all others by the
    one-sided rank test of Mann and Whitney (1947, doi:10.1214/aoms/1177730491); Holm's
    correction is over all strata of all columns. Of strata within scenes the scores of
    a stratum's pixels are compared with those of the same scene's other pixels, by the
    one-sided signed-rank test of Wilcoxon (1945, doi:10.2307/3001968) over scenes. The
    images are the units, never their pixels. A stratum that is not named is not shown
    to be served as well: few images find little.

    Args:
        result: Of one head, with ``images``, ``strata`` and ``strata_within``.
        trained: By column and stratum the number of training scenes, of several folds
            their mean; ``None``: not known.

    Returns:
        One entry a stratum: ``column``, ``stratum``, ``num_images``, ``num_trained``
        (``None``: not known), ``median`` of the chief score and that of the others as
        ``others``, ``p_value`` and ``p_adjusted`` (``None`` where there are fewer than
        two images on a side), and ``findings``: of ``"worse"``, ``"under-represented"``
        and ``"never trained on"``.

    Example:
        >>> images = [{"image_id": str(n), "num_pixels": 9, "mean_iou": n / 10}
        ...           for n in range(10)]
        >>> strata = {"season": [{"stratum": "melt", "images": list("0123")},
        ...                      {"stratum": "winter", "images": list("456789")}]}
        >>> found = audit_strata({"images": images, "strata": strata})
        >>> [(e["stratum"], e["findings"], round(e["p_adjusted"], 4)) for e in found]
        [('melt', ['worse'], 0.0095), ('winter', [], 1.0)]
    """
    chief = SCORES[result.get("scored_by", "classes")][0]
    scores = _scores_of(result["images"], chief)
    entries = _audit_within(result, chief)
    for column, strata in (result.get("strata") or {}).items():
        names = [name for e in strata for name in e["images"] if name in scores]
        for stratum in strata:
            inside = [scores[n] for n in stratum["images"] if n in scores]
            others = [scores[n] for n in names if n not in set(stratum["images"])]
            entries.append(
                {
                    "column": column,
                    "stratum": stratum["stratum"],
                    "num_images": len(inside),
                    "num_trained": _trained(trained, column, stratum["stratum"]),
                    "median": _median(inside, chief.sign),
                    "others": _median(others, chief.sign),
                    "p_value": _p_value(inside, others),
                }
            )
    told = [np.nan if e["p_value"] is None else e["p_value"] for e in entries]
    for entry, adjusted in zip(entries, holm(told), strict=True):
        entry["p_adjusted"] = None if np.isnan(adjusted) else float(adjusted)
        entry["findings"] = _findings(entry, entries)
    return entries


def count_trained(
    strata: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, float]]:
    """Numbers of training scenes by column and stratum.

    Args:
        strata: Of the training scenes, as ``scene_strata`` gives it.
    """
    counted: dict[str, dict[str, float]] = {}
    for column, named in strata.items():
        counted[column] = {}
        for name in named.values():
            counted[column][name] = counted[column].get(name, 0) + 1
    return counted


def mean_trained(folds: Sequence[Mapping[str, Any]]) -> Trained | None:
    """The mean over folds of their numbers of training scenes, where all know them."""
    known = [fold["trained"] for fold in folds if fold.get("trained") is not None]
    if len(known) < len(folds):
        return None
    columns = {
        column: {n for k in known for n in k.get(column, {})} for column in known[0]
    }
    return {
        column: {
            name: float(np.mean([k.get(column, {}).get(name, 0) for k in known]))
            for name in sorted(names)
        }
        for column, names in columns.items()
    }


def describe_bias(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The strata that something was found of, a sentence each."""
    lines = []
    for entry in entries:
        name = f"{entry['column']} {entry['stratum']!r}"
        if "worse" in entry["findings"]:
            lines.append(
                f"{name} is served worse: median {entry['median']:.3f}, of the others "
                f"{entry['others']:.3f} (p = {entry['p_adjusted']:.2g} after Holm's "
                "correction)"
            )
        if "never trained on" in entry["findings"]:
            lines.append(f"{name} was never trained on")
        elif "under-represented" in entry["findings"]:
            lines.append(
                f"{name} is under-represented: {entry['num_trained']:g} scenes in "
                f"training, {entry['num_images']} scored"
            )
    return lines


def _scores_of(images: Sequence[Mapping[str, Any]], chief: Score) -> dict[str, float]:
    """The chief score of each image that has one, the higher the better."""
    return {
        str(entry["image_id"]): chief.sign * entry[chief.key]
        for entry in images
        if entry["num_pixels"] and entry.get(chief.key) is not None
    }


def _audit_within(result: Mapping[str, Any], chief: Score) -> list[dict[str, Any]]:
    """Strata within scenes: each scene's pixels beside its other ones."""
    entries = []
    for name, strata in (result.get("strata_within") or {}).items():
        for stratum in strata:
            rest = [i for s in strata if s is not stratum for i in s["images"]]
            others = score_images(result, rest)["images"] if rest else []
            inside = _scores_of(stratum["images"], chief)
            outside = _scores_of(others, chief)
            both = sorted(inside.keys() & outside.keys())
            pairs = [inside[n] for n in both], [outside[n] for n in both]
            entries.append(
                {
                    "column": name,
                    "stratum": stratum["stratum"],
                    "num_images": len(both),
                    "num_trained": None,
                    "median": _median(pairs[0], chief.sign),
                    "others": _median(pairs[1], chief.sign),
                    "p_value": _paired_p_value(*pairs),
                }
            )
    return entries


def _trained(trained: Trained | None, column: str, stratum: str) -> float | None:
    if trained is None or column not in trained:
        return None
    return trained[column].get(stratum, 0)


def _median(scores: Sequence[float], sign: int) -> float | None:
    return float(sign * np.median(scores)) if scores else None


def _p_value(inside: Sequence[float], others: Sequence[float]) -> float | None:
    if min(len(inside), len(others)) < 2:
        return None
    return float(mannwhitneyu(inside, others, alternative="less").pvalue)


def _paired_p_value(inside: Sequence[float], others: Sequence[float]) -> float | None:
    differences = np.subtract(inside, others)
    if len(differences) < 2:
        return None
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, alternative="less").pvalue)


def _findings(
    entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> list[str]:
    found = []
    adjusted = entry["p_adjusted"]
    if adjusted is not None and adjusted < LEVEL:
        found.append("worse")
    if entry["num_trained"] == 0:
        found.append("never trained on")
    elif entry["num_trained"] is not None:
        same = [e for e in entries if e["column"] == entry["column"]]
        trained = entry["num_trained"] / sum(e["num_trained"] for e in same)
        scored = entry["num_images"] / max(sum(e["num_images"] for e in same), 1)
        if trained < LEAST_SHARE * scored:
            found.append("under-represented")
    return found
