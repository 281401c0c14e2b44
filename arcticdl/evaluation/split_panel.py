"""Whether the split of a run leaks, as its report shows it."""

from collections.abc import Mapping
from typing import Any

from arcticdl.evaluation.run_folder import RunFolder
from arcticdl.tiles.folds.audit import distance_text

_MAX_NAMES = 20


def split_rows(run: RunFolder) -> list[dict[str, Any]]:
    """What the leakage audit of each fold found: one row a fold that has one.

    A broken audit leaves a note, and no row.
    """
    rows = []
    for fold in run.folds:
        if fold.leakage is not None:
            try:
                rows.append({"fold": fold.number, **_row(fold.leakage)})
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                run.notes.append(
                    f"fold{fold.number}/leakage.json is not an audit: {error!r}"
                )
    return rows


def _row(report: Mapping[str, Any]) -> dict[str, Any]:
    (audit,) = report["folds"]
    return {
        "verdict": str(report["verdict"]),
        "distance": _distance(audit["distance"], report["unit"]),
        "gap": "–" if audit["gap_days"] is None else f"{audit['gap_days']:.3g} days",
        "overlaps": int(audit["num_overlaps"]),
        "duplicates": int(audit["num_duplicates"]),
        "groups": _names(audit["shared_groups"]),
        "drift": [
            f"{pair['train']} (train) and {pair['test']} (test): "
            f"{pair['distance_km']:.1f} km, {pair['days']:.1f} days apart"
            for pair in audit["drift"][:_MAX_NAMES]
        ],
        "num_drift": len(audit["drift"]),
        "findings": [
            f"{finding['severity']}: {finding['message']}"
            for finding in report["findings"]
        ],
    }


def _distance(value: float | None, unit: str) -> str:
    return "–" if value is None else distance_text(value, unit)


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMES]) or "none"
    return f"{shown}, …" if len(names) > _MAX_NAMES else shown
