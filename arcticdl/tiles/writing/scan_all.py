"""Scanning all scenes of a collection, each once, and noting what was found."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arcticdl.files import write_text
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.writing.collection import Collection
from arcticdl.tiles.writing.cut import SceneCache
from arcticdl.tiles.writing.scan import reading, scan_scene
from arcticdl.tiles.writing.unfinished import SCANS
from arcticdl.tiles.writing.work import Work


def scan_all(
    notes: Path,
    collection: Collection,
    fixes: Sequence[str],
    cache: SceneCache,
    work: Work,
) -> list[dict[str, Any]]:
    """Scans every scene that has not been, and returns all scans in order."""
    files = [notes / SCANS / f"{k:06d}.json" for k in range(len(collection.ids))]
    step = _Scan(collection, cache, tuple(fixes), files)
    pending = [k for k, file in enumerate(files) if not file.exists()]
    work.run("Scanning scenes", step, pending)
    return [json.loads(file.read_text("utf-8")) for file in files]


class _Scan:
    """Scans one scene; a class, so that it travels to the workers of a cluster."""

    def __init__(
        self,
        collection: Collection,
        cache: SceneCache,
        fixes: tuple[str, ...],
        files: list[Path],
    ) -> None:
        self.plans, self.labels = collection.plans, collection.labels
        self.cache, self.fixes, self.files = cache, fixes, files

    def __call__(self, position: int) -> None:
        with reading(self.cache.scenes[position]):
            scene = self.cache.get(position)
            found = scan_scene(scene, self.plans[position], self.labels, self.fixes)
        # Without indents, which Python's encoder writes several times as slowly.
        write_text(self.files[position], json.dumps(found, allow_nan=False))


def name_classes(
    labels: dict[str, LabelInfo], scans: list[dict[str, Any]]
) -> dict[str, LabelInfo]:
    """Completes labels by what was found: names of classes, rows for boxes.

    Classes without ``flag_meanings`` get their codes as names.
    """
    named = {}
    for name, info in labels.items():
        if info.is_object and not info.max_boxes:
            most = max(max(scan["num_boxes"][name]) for scan in scans)
            info = replace(info, max_boxes=max(most, 1))
        if not info.is_float and not info.classes:
            most = max(len(row) for s in scans for row in s["label_px"][name])
            info = replace(info, classes=tuple(str(code) for code in range(most)))
        named[name] = info
    return named
