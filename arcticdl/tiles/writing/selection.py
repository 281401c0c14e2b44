"""Which planned tiles enter a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arcticdl.errors import LabelError
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.quality.checks import class_findings, flag_tiles
from arcticdl.tiles.writing.collection import Collection
from arcticdl.tiles.writing.cut import TileTable
from arcticdl.tiles.writing.footprints import tile_footprints


@dataclass(frozen=True)
class Selection:
    """What a tile must have.

    Attributes:
        min_valid_fraction: Least share of valid pixels.
        min_label_fraction: Least share of scored pixels, of the label with most.
        roi: Shapely geometry in the scenes' CRS that a tile must touch (pixels for a
            plain image).
        require_classes: {label: classes} of which a tile must hold at least one pixel
            of at least one.
        actions: Of each quality check; see `quality.ACTIONS`.
    """

    min_valid_fraction: float = 0.0
    min_label_fraction: float = 0.0
    roi: Any = None
    require_classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=dict)

    @property
    def fixes(self) -> tuple[str, ...]:
        """Checks whose action is to fix."""
        return tuple(sorted(c for c, a in self.actions.items() if a == "fix"))

    def check(self, labels: Mapping[str, LabelInfo]) -> None:
        """Refuses shares out of range and classes that no label has.

        Raises:
            ValueError: As said.
        """
        for name in ("min_valid_fraction", "min_label_fraction"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"`{name}` must lie in 0...1. Received: {value}.")
        for label, classes in self.require_classes.items():
            known = labels[label].classes if label in labels else ()
            unknown = sorted(set(classes) - set(known))
            if unknown or not known:
                raise ValueError(
                    "`require_classes` must name classes of the labels: "
                    f"{ {n: list(i.classes) for n, i in sorted(labels.items())} }. "
                    f"Received: {label!r}: {list(classes)}."
                )

    def to_dict(self) -> dict[str, Any]:
        """The selection as plain JSON values."""
        return {
            "min_valid_fraction": self.min_valid_fraction,
            "min_label_fraction": self.min_label_fraction,
            "roi": None if self.roi is None else self.roi.wkt,
            "require_classes": {k: list(v) for k, v in self.require_classes.items()},
            "quality": dict(self.actions),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Selection":
        """The selection from `to_dict`."""
        import shapely

        rest = {k: v for k, v in values.items() if k not in ("roi", "quality")}
        roi = None if values["roi"] is None else shapely.from_wkt(values["roi"])
        return cls(**rest, roi=roi, actions=values["quality"])


def select_tiles(
    collection: Collection,
    scans: list[dict[str, Any]],
    selection: Selection,
    held: Sequence[str] = (),
) -> tuple[TileTable, list[np.ndarray], list[dict[str, Any]]]:
    """Chooses the tiles.

    Args:
        collection: The scenes.
        scans: Of the scenes.
        selection: What is wanted of tiles.
        held: ``image_key`` of tiles that the store holds already, which count where
            repeated images are dropped.

    Returns:
        The table of tiles, their positions in each scene's plan, and what quality
        checks dropped or fixed, as `quality.Finding` dicts.

    Raises:
        ValueError: No tile is left.
    """
    owner = np.repeat(np.arange(len(scans)), [len(p) for p in collection.plans])
    masks = {
        "min_valid_fraction": _valid_enough(collection, scans, selection),
        "min_label_fraction": _labelled_enough(collection, scans, selection),
        "require_classes": _has_class(collection, scans, selection),
        "roi": _in_region(collection, selection),
    }
    keep = np.logical_and.reduce(list(masks.values()))
    handled = [*_drop(collection, scans, selection, owner, keep, held)]
    handled += _describe_fixes(collection, scans, selection)
    if not keep.any():
        rest = {name: int(mask.sum()) for name, mask in masks.items()}
        raise ValueError(
            f"At least one tile must be left. Received: of {len(keep)} planned tiles, "
            f"this many pass each condition: {rest}; {len(handled)} quality findings "
            "were acted on."
        )
    starts = np.concatenate([plan.starts for plan in collection.plans])
    ends = np.cumsum([len(plan) for plan in collection.plans])[:-1]
    kept = [np.flatnonzero(part) for part in np.split(keep, ends)]
    return TileTable(owner[keep], starts[keep]), kept, handled


def check_classes(
    collection: Collection,
    scans: list[dict[str, Any]],
    kept: list[np.ndarray],
    selection: Selection,
) -> None:
    """Refuses labels from which nothing can be learnt, unless told.

    Raises:
        LabelError: As said; the message tells the way out.
    """
    void = merge_void(scans)
    errors = []
    for name, info in collection.labels.items():
        pairs = list(zip(scans, kept, strict=True))
        total = sum(np.array(s["label_px"][name])[k].sum(0) for s, k in pairs)
        scored = sum(np.array(s["scored_px"][name])[k].sum() for s, k in pairs)
        found = class_findings(info, total, int(scored), void[name], selection.actions)
        errors += [finding for finding in found if finding.severity == "error"]
    if errors:
        checks = {finding.check: "keep" for finding in errors}
        raise LabelError(
            "A store must hold labels to learn from. Received: "
            f"{' '.join(finding.message for finding in errors)} To write it all the "
            f"same, pass `quality={checks}`, in a configuration `tiles.allow: "
            f"[{', '.join(checks)}]`."
        )


def merge_void(scans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each label in all scenes: what `scan_scene` says of its void."""
    return {
        name: {
            "px": sum(scan["void"][name]["px"] for scan in scans),
            "declared": any(scan["void"][name]["declared"] for scan in scans),
            "codes": sorted({c for scan in scans for c in scan["void"][name]["codes"]}),
        }
        for name in scans[0]["void"]
    }


def _tile_px(collection: Collection) -> int:
    return int(np.prod(collection.plans[0].tile_size_px))


def _valid_enough(collection: Any, scans: Any, selection: Selection) -> np.ndarray:
    valid = np.concatenate([scan["valid_px"] for scan in scans])
    return valid / _tile_px(collection) >= selection.min_valid_fraction


def _labelled_enough(collection: Any, scans: Any, selection: Selection) -> np.ndarray:
    scored = np.zeros(sum(len(plan) for plan in collection.plans))
    for name, info in collection.labels.items():
        if info.is_object:  # where nothing is marked, nothing is
            return np.ones(len(scored), bool)
        scored = np.maximum(scored, [n for s in scans for n in s["scored_px"][name]])
    return scored / _tile_px(collection) >= selection.min_label_fraction


def _has_class(collection: Any, scans: Any, selection: Selection) -> np.ndarray:
    count = sum(len(plan) for plan in collection.plans)
    if not selection.require_classes:
        return np.ones(count, bool)
    found = np.zeros(count, bool)
    for label, classes in selection.require_classes.items():
        codes = [collection.labels[label].classes.index(name) for name in classes]
        rows = np.array([row for s in scans for row in s["label_px"][label]])
        found |= rows[:, codes].any(1)
    return found


def _in_region(collection: Collection, selection: Selection) -> np.ndarray:
    import shapely

    if selection.roi is None:
        return np.ones(sum(len(plan) for plan in collection.plans), bool)
    pairs = zip(collection.scenes, collection.plans, strict=True)
    touched = [shapely.intersects(tile_footprints(*p), selection.roi) for p in pairs]
    return np.concatenate(touched)


def _drop(
    collection: Collection,
    scans: list[dict[str, Any]],
    selection: Selection,
    owner: np.ndarray,
    keep: np.ndarray,
    held: Sequence[str],
) -> list[dict[str, Any]]:
    """Takes the tiles that checks drop out of `keep`, and says so."""
    import pandas as pd

    measures = pd.DataFrame([m for scan in scans for m in scan["measures"]])
    before = np.flatnonzero(keep)
    handled = []
    for check, flags in flag_tiles(measures.iloc[before]).items():
        if check == "duplicate" and len(held):
            flags = flags | measures["image_key"].iloc[before].isin(held).to_numpy()
        if selection.actions.get(check) != "drop" or not flags.any():
            continue
        keep[before[flags]] = False
        scenes = sorted({collection.ids[k] for k in owner[before[flags]]})
        message = f"{int(flags.sum())} tiles were left out."
        handled.append(_note(check, message, scenes, "dropped"))
    return handled


def _describe_fixes(
    collection: Collection, scans: list[dict[str, Any]], selection: Selection
) -> list[dict[str, Any]]:
    handled = []
    for name, scan in zip(collection.ids, scans, strict=True):
        if "unknown_class" in selection.fixes:
            for label, codes in scan["unknown_px"].items():
                if codes:
                    message = f"codes {codes} of label {label!r} were made void."
                    handled.append(_note("unknown_class", message, [name], "fixed"))
        if "label_on_nodata" in selection.fixes and scan["label_on_nodata_px"]:
            message = f"{scan['label_on_nodata_px']} label pixels were made void."
            handled.append(_note("label_on_nodata", message, [name], "fixed"))
    return handled


def _note(check: str, message: str, scenes: list[str], action: str) -> dict[str, Any]:
    return {
        "check": check,
        "severity": "note",
        "axis": "quality",
        "message": message,
        "scenes": scenes,
        "action": action,
    }
