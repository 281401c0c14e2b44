"""Folds into one: counts add up image by image, scores are of all images together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arcticdl.evaluation.choose import empty_evaluation, head_of
from arcticdl.evaluation.objects.instances import pool_instances
from arcticdl.evaluation.strata.bias import audit_strata, mean_trained
from arcticdl.evaluation.strata.scenes import pool_strata
from arcticdl.evaluation.strata.within import pool_within
from arcticdl.tasks import SCORES


def pool_folds(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Pools the evaluations of cross-validation folds into one.

    Counts add up image by image, so the pooled scores are those of all test images
    together, not means of the folds' scores.

    Args:
        folds: The folds' results, as an evaluation's ``result`` gives them, with
            ``fold``, ``baselines``, ``strata``, ``strata_within`` and ``instances``
            where they hold these; or, of several heads, ``{"fold": ..., "heads": {name:
            result}}``. At least one.

    Returns:
        The layout of a single result, whose ``intervals`` are over all images;
        ``folds``: each fold's number, images and headline scores; ``over_folds``: their
        ``mean``, ``std`` (of a sample; ``None`` for one fold) and ``num_folds``, by
        score; ``bias``: as of ``audit_strata``.
        Of several heads ``{"heads": {name: pooled}}``.

    Raises:
        ValueError: If there is none, or they are of different things.
    """
    if not folds:
        raise ValueError("`folds` must hold at least one result. Received: none.")
    if "heads" not in folds[0]:
        return _pool_head(folds)
    heads = {
        name: _pool_head(
            [{"fold": fold.get("fold")} | fold["heads"][name] for fold in folds]
        )
        for name in folds[0]["heads"]
    }
    return {"heads": heads}


def results_by_head(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Name -> result of each head; a single one has the name ``""``."""
    return dict(result["heads"]) if "heads" in result else {"": result}


def _pool_head(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    pooled = _pooled(folds)
    pooled["folds"] = [
        {
            "fold": number if fold.get("fold") is None else fold["fold"],
            "num_images": fold["num_images"],
            **{s.key: fold["scores"][s.key] for s in SCORES[pooled["scored_by"]]},
            "extra": {n: e["median"] for n, e in (fold.get("extra") or {}).items()},
        }
        for number, fold in enumerate(folds)
    ]
    pooled["over_folds"] = _over_folds(pooled["folds"], pooled["scored_by"])
    pooled["strata"] = pool_strata(folds, pooled)
    if within := pool_within(folds, pooled):
        pooled["strata_within"] = within
    if instances := pool_instances(folds):
        pooled["instances"] = instances
    pooled["bias"] = audit_strata(pooled, mean_trained(folds))
    promised = {(fold.get("conformal") or {}).get("coverage") for fold in folds}
    if len(promised) == 1 and None not in promised:
        pooled["coverage_promised"] = promised.pop()
    shared = [
        name for name in folds[0].get("baselines") or {} if _all_have(folds, name)
    ]
    pooled["baselines"] = {
        name: {"title": folds[0]["baselines"][name]["title"]}
        | _pooled([fold["baselines"][name] for fold in folds])
        for name in shared
    }
    return pooled


def _over_folds(
    folds: Sequence[Mapping[str, Any]], scored_by: str
) -> dict[str, dict[str, Any]]:
    """Mean and deviation of the folds' scores, which differ from the pooled ones."""
    found = {}
    for score in SCORES[scored_by]:
        values = [f[score.key] for f in folds if f[score.key] is not None]
        found[score.key] = {
            "mean": float(np.mean(values)) if values else None,
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "num_folds": len(values),
        }
    return found


def _pooled(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    evaluation = empty_evaluation(head_of(results[0]))
    for result in results:
        evaluation.merge(result)
    return evaluation.result()


def _all_have(folds: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(name in (fold.get("baselines") or {}) for fold in folds)
