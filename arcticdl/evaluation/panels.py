"""Which pictures of a run a report shows."""

import base64
from pathlib import Path
from typing import Any

from arcticdl.evaluation.run_folder import RunFolder

_MAX_TILES = {"worst": 8, "best": 4}


def choose_tiles(run: RunFolder, head: str) -> dict[str, list[dict[str, Any]]]:
    """Chooses the worst and the best of all folds' tiles of one head."""
    entries = [
        entry | {"fold": fold.number}
        for fold in run.folds
        for entry in fold.pictures
        if entry["head"] == head
    ]
    scored = [e for e in entries if isinstance(e.get("score"), int | float)]
    chosen = {}
    for kind, room in _MAX_TILES.items():
        ranked = [e for e in scored if e.get("kind") == kind]
        ranked.sort(key=lambda e: e["score"], reverse=kind == "best")
        chosen[kind] = [
            as_picture(e["path"], str(e.get("image_id", ""))) | e for e in ranked[:room]
        ]
    return {kind: tiles for kind, tiles in chosen.items() if tiles}


def choose_scenes(run: RunFolder, head: str, units: str) -> list[dict[str, Any]]:
    """The worst scene of all folds, and the one nearest to the median of its fold."""
    found = [
        entry | {"fold": fold.number}
        for fold in run.folds
        for entry in fold.scenes
        if entry["head"] == head
    ]
    rank = {
        "worst": lambda entry: entry["score"],
        "median": lambda entry: abs(entry["score"] - entry["median"]),
    }
    chosen = []
    for kind, place in rank.items():
        if entries := [entry for entry in found if entry["kind"] == kind]:
            entry = min(entries, key=place)
            panels = [as_picture(path, what) for what, path in entry["paths"].items()]
            colors = ""
            if entry["limits"]:
                low, high = entry["limits"]
                of = "" if units in ("", "1") else f" {units}"
                colors = (
                    f"Dark to bright: {_number(low)} to {_number(high)}{of}; errors "
                    "red where too high, blue where too low, to "
                    f"{_number(high - low)}{of}."
                )
            chosen.append(entry | {"panels": panels, "colors": colors})
    return chosen


def as_picture(path: Path, caption: str) -> dict[str, Any]:
    """A picture as a page holds it."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return {"uri": f"data:image/png;base64,{data}", "caption": caption}


def _number(value: float) -> str:
    return f"{value:.4g}"
