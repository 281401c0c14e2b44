"""Quality: what is wrong with the tiles, and what was done about it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arcticdl.choices import check_choice, check_choices, check_names
from arcticdl.errors import StoreError
from arcticdl.tiles.folds.proximity import close_blocks, same_view
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.quality.finding import Finding
from arcticdl.tiles.quality.objects import box_findings
from arcticdl.tiles.quality.twins import near_other_scenes

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore

ACTIONS = {
    "constant": ("drop", "keep"),
    "duplicate": ("drop", "keep"),
    "label_on_nodata": ("drop", "fix", "keep"),
    "no_label": ("keep", "refuse"),
    "nonfinite": ("drop", "keep"),
    "one_class": ("keep", "refuse"),
    "outlier": ("drop", "keep"),
    "saturated": ("drop", "keep"),
    "undeclared_void": ("keep", "refuse"),
    "unknown_class": ("fix", "refuse"),
}
"""What `prepare` can do about each finding. ``drop`` leaves the tile out, ``fix`` makes
the label void there. Default: ``refuse`` where a check has it, else ``keep``."""

LIMITS = {"nonfinite": 0.5, "outlier": 0.05, "saturated": 0.05}
"""Share of a tile's pixels from which it counts as a finding."""

PLAUSIBLE = {
    "1": (-1.0, 10.0),
    "K": (50.0, 400.0),
    "dB": (-80.0, 40.0),
    "degC": (-120.0, 120.0),
    "m s-1": (-150.0, 150.0),
    "reflectance": (-1.0, 3.0),
}
"""Between which values the 1st and 99th percentile lie, by unit: wide bounds, which
only a wrong unit or scale leaves."""


@dataclass(frozen=True)
class QualityReport:
    """What `assess` found.

    Attributes:
        findings: Everything found.
        classes: {label: {column: {value: {class: pixels}}}}, the class histogram by
            scene, season and region.
    """

    findings: list[Finding] = field(default_factory=list)
    classes: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "findings": [finding.to_dict() for finding in self.findings],
            "classes": self.classes,
        }

    def write_html(
        self, path: str | Path, pictures: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Writes the report as a page, with pictures (caption, PNG in base64)."""
        from arcticdl.tiles.quality.page import write_page

        write_page(
            path,
            "Quality of the tiles",
            self.findings,
            classes=self.classes,
            pictures=pictures,
        )


def check_actions(quality: Mapping[str, str] | None) -> dict[str, str]:
    """Completes and checks the actions given to `prepare`.

    Raises:
        ValueError: An unknown check, or an action that it does not have.
    """
    given = dict(quality or {})
    check_choices("quality", given, ACTIONS)
    for check, action in given.items():
        check_choice(f"quality[{check!r}]", action, ACTIONS[check])
    default = {
        c: "refuse" if "refuse" in known else "keep" for c, known in ACTIONS.items()
    }
    return default | given


def flag_tiles(measures: Any) -> dict[str, np.ndarray]:
    """Which tiles each check finds: {check: (tile,) booleans}.

    Args:
        measures: A table with the columns of `measure.MEASURES`, a row a tile.
    """
    flags = {
        check: (measures[f"{check}_fraction"] > limit).to_numpy(bool)
        for check, limit in LIMITS.items()
    }
    for check, column in (("constant", "constant_bands"), ("label_on_nodata",) * 2):
        flags[check] = (measures[column] > 0).to_numpy(bool)
    flags["duplicate"] = measures["image_key"].duplicated().to_numpy(bool)
    return flags


def assess(store: "TileStore") -> QualityReport:
    """Assesses the quality of a store, from what was measured when it was written.

    Returns:
        The findings: missing and infinite values, nodata, outliers, saturated and
        constant bands, duplicates and near-duplicates, footprints that overlap within a
        day, labels that disagree with nodata, classes that never occur, units and
        scales that do not fit; and the class histogram.
    """
    manifest = store.manifest
    findings = [
        *_tile_findings(manifest),
        *_twin_findings(store),
        *_class_findings(store),
        *_unit_findings(store),
        *(Finding(**_as_tuples(f)) for f in store.about.get("handled", [])),
    ]
    classes = {name: _histogram(store, name) for name in store.labels}
    return QualityReport(findings, classes)


def _tile_findings(manifest: Any) -> Iterable[Finding]:
    flags = flag_tiles(manifest)
    flags["nodata"] = (manifest["valid_fraction"] < 0.5).to_numpy()
    says = {
        "constant": "have a band that does not vary",
        "duplicate": "repeat the image of an earlier tile, bit for bit",
        "label_on_nodata": "have scored label pixels where the image is invalid; the "
        "feed makes these void",
        "nodata": "have less than half of their pixels valid",
        "nonfinite": "are mostly NaN or infinite",
        "outlier": "have over 5 % outliers (robust z above 10)",
        "saturated": "have over 5 % of their pixels at an end of the scene's range",
    }
    for check in sorted(flags):
        tiles = np.flatnonzero(flags[check])
        if len(tiles):
            severity = "note" if check in ("label_on_nodata", "nodata") else "warning"
            scenes = manifest["scene_id"].iloc[tiles].unique()
            yield _finding(
                check,
                severity,
                f"{len(tiles)} of {len(manifest)} tiles {says[check]}.",
                tiles,
                scenes,
            )


def _twin_findings(store: "TileStore") -> Iterable[Finding]:
    manifest = store.manifest
    tiles = near_other_scenes(manifest["phash"], manifest["scene_id"])
    if len(tiles):
        yield _finding(
            "near_duplicate",
            "warning",
            f"{len(tiles)} tiles look nearly like a tile of another scene; keep such "
            "scenes in one group.",
            tiles,
            sorted(manifest["scene_id"].iloc[tiles].unique()),
        )
    over = _overlapping_scenes(manifest)
    if over:
        shown = ", ".join(f"{a} and {b}" for a, b in over[:5])
        yield _finding(
            "overlap",
            "note",
            f"{len(over)} pairs of scenes overlap in place within a day ({shown}); "
            "keep them in one group.",
            (),
            sorted({name for pair in over for name in pair}),
        )


def _overlapping_scenes(manifest: Any) -> list[tuple[str, str]]:
    if manifest.crs is None:
        return []
    scene, known = manifest["scene_id"].factorize()
    names, index = known.to_numpy(object), np.arange(len(manifest))
    together, found = same_view(manifest), [np.empty((0, 2), "int64")]
    for pairs in close_blocks(manifest, index, index):
        over = scene[pairs[together(pairs)]]
        over = np.unique(over[over[:, 0] != over[:, 1]], axis=0)
        found.append(over)
    pairs = np.unique(np.concatenate(found), axis=0)
    return sorted((a, b) for a, b in names[pairs].tolist() if a < b)


def _class_findings(store: "TileStore") -> Iterable[Finding]:
    actions = store.about["plan"]["selection"]["quality"]
    for name, info in store.labels.items():
        total = store.class_counts(name).sum(0)
        scored = int(store.scored_counts(name).sum())
        void = store.about.get("void", {}).get(name)
        yield from class_findings(info, total, scored, void, actions)
        if info.is_object:
            yield from box_findings(store, name)


def class_findings(
    info: LabelInfo,
    total: np.ndarray,
    scored: int,
    void: Mapping[str, Any] | None,
    actions: Mapping[str, str],
) -> Iterable[Finding]:
    """What a label's classes say about it: errors where nothing can be learnt.

    A class that never occurs is a warning. Where one class and 255 alone occur, it
    matters whether something declares 255 as void: if not, it may be a class.

    Args:
        info: The label.
        total: (class,) what all tiles hold; see `LabelInfo.count`.
        scored: Pixels, or images, that are not void.
        void: ``px`` of code 255 in all scenes, whether it is ``declared``, and the
            other ``codes``; ``None``: unknown.
        actions: Of each check; ``"keep"`` makes an error of it a warning.
    """

    def finding(check: str, message: str, severity: str = "error") -> Finding:
        kept = severity == "error" and actions.get(check) == "keep"
        return Finding(check, "warning" if kept else severity, "quality", message)

    what, present = info.target, np.count_nonzero(total)
    if not scored:
        message = f"label {info.name!r} has no scored {what} at all."
        yield finding("no_label", message)
        return
    absent = [c for c, n in zip(info.classes, total, strict=False) if not n]
    if absent:
        message = f"label {info.name!r} has no {what} of {absent}."
        yield finding("absent_class", message, "warning")
    if void and void["px"] and not void["declared"] and len(void["codes"]) < 2:
        yield finding("undeclared_void", _ask_void(info.name))
    elif info.is_object:
        return
    elif not info.is_float and not info.num_channels and present == 1:
        message = f"label {info.name!r} has one class only: there is nothing to learn."
        severity = "warning" if void and void["px"] else "error"
        yield finding("one_class", message, severity)


def _ask_void(name: str) -> str:
    return (
        f"label {name!r} holds one class and 255 alone, and nothing says that 255 is "
        "void: is it a class? If so, translate it: `codes: {0: 0, 255: 1}` in a "
        f"configuration, `label_codes={{{name!r}: {{0: 0, 255: 1}}}}` in `open_scene`. "
        "If not, declare it: as nodata in the file, or by the attribute "
        "`void_class=255`."
    )


def refuse_errors(findings: Iterable[Finding], allow: Sequence[str] = ()) -> None:
    """Stops a step that would use a store in which errors were found.

    Args:
        findings: Of `check_store` or `assess`.
        allow: Names of checks whose errors are known and accepted.

    Raises:
        StoreError: There is an error of another check.
    """
    check_names(allow=allow)
    errors = [f for f in findings if f.severity == "error" and f.check not in allow]
    if errors:
        told = " ".join(f"{finding.check}: {finding.message}" for finding in errors)
        names = sorted({finding.check for finding in errors})
        raise StoreError(
            f"A store must be sound to be learnt from. Received: {told} What is known "
            f"and accepted goes into `tiles.allow`: {names}."
        )


def _unit_findings(store: "TileStore") -> Iterable[Finding]:
    spread: dict[str, list[tuple[str, float]]] = {}
    for name, about in store.scenes.items():
        stats = store.scene_stats(name)
        bounds = PLAUSIBLE.get(about.get("units") or "")
        for k, band in enumerate(store.bands):
            low, high = stats.percentiles[1][k], stats.percentiles[99][k]
            spread.setdefault(band, []).append((name, high - low))
            if bounds and (low < bounds[0] or high > bounds[1]):
                message = (
                    f"band {band!r} of scene {name!r} spans {low:.4g}...{high:.4g}, "
                    f"which is not in {about['units']!r}."
                )
                yield Finding("units", "warning", "quality", message, scenes=(name,))
    for band, found in spread.items():
        yield from _scale_finding(band, found)


def _scale_finding(band: str, found: list[tuple[str, float]]) -> Iterable[Finding]:
    values = np.array([value for _, value in found])
    typical = np.median(values[values > 0]) if (values > 0).any() else 0.0
    odd = [name for name, v in found if v > 0 and not typical / 50 < v < typical * 50]
    if odd:
        message = (
            f"band {band!r} has a range 50 times wider or narrower than usual in "
            f"{len(odd)} scenes: another unit or scale factor?"
        )
        yield Finding("scale", "warning", "quality", message, scenes=tuple(odd))


def _histogram(store: "TileStore", label: str) -> dict[str, Any]:
    import pandas as pd

    info, manifest = store.labels[label], store.manifest
    counts = pd.DataFrame(store.class_counts(label), copy=False)
    names = info.classes or ("scored",)
    table = {}
    for column in ("scene_id", "season", "region"):
        known = manifest[column].astype("string").fillna("unknown").to_numpy(object)
        sums = counts.groupby(known).sum()
        table[column] = {
            str(value): dict(zip(names, row, strict=True))
            for value, row in zip(sums.index, sums.to_numpy().tolist(), strict=True)
        }
    return table


def _finding(
    check: str, severity: str, message: str, tiles: Any, scenes: Any
) -> Finding:
    return Finding(
        check,
        severity,
        "quality",
        message,
        tuple(int(t) for t in list(tiles)[:100]),
        tuple(str(s) for s in scenes),
    )


def _as_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
