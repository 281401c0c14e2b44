"""`arcticdl check`: is a store ready for learning, and do its folds leak?

The axes are those of the NOAA and ESIP AI-readiness checklist (ESIP Data Readiness
Cluster 2022, doi:10.6084/m9.figshare.19983722): preparation, quality, documentation and
access; leakage is added.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arcticdl.errors import StoreError
from arcticdl.tiles import layout
from arcticdl.tiles.folds.audit import LeakageReport, audit_folds, fold_picture
from arcticdl.tiles.folds.splits import Fold, read_folds
from arcticdl.tiles.quality.card import CARD_JSON
from arcticdl.tiles.quality.checks import assess
from arcticdl.tiles.quality.finding import Finding
from arcticdl.tiles.views.joined import open_store
from arcticdl.tiles.writing import bucket, unfinished
from arcticdl.tiles.writing.cut import hash_tile
from arcticdl.tiles.writing.footprints import pixel_side_m
from arcticdl.tiles.writing.records import fingerprint

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore

AXES = ("preparation", "quality", "documentation", "access", "leakage")
"""The axes along which a store is checked."""


@dataclass(frozen=True)
class CheckReport:
    """What `check_store` found.

    Attributes:
        path: Of the store.
        findings: Most severe first.
        leakage: The audit of the store's folds; ``None`` where it has none.
        classes: The class histogram; see `QualityReport`.
        pictures: (caption, PNG in base64).
    """

    path: Path
    findings: tuple[Finding, ...]
    leakage: LeakageReport | None
    classes: dict[str, Any]
    pictures: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def summary(self) -> dict[str, str]:
        """The worst finding on each axis: {axis: severity or ``"ok"``}."""
        found = {axis: "ok" for axis in AXES}
        for finding in reversed(self.findings):
            found[finding.axis] = finding.severity
        return found

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "axes": self.summary,
            "findings": [finding.to_dict() for finding in self.findings],
            "leakage": None if self.leakage is None else self.leakage.to_dict(),
            "classes": self.classes,
        }

    def write_html(self, path: str | Path) -> None:
        """Writes the report as a page."""
        from arcticdl.tiles.quality.page import write_page

        write_page(
            path,
            f"Check of {self.path.name}",
            self.findings,
            about=self.summary,
            classes=self.classes,
            pictures=self.pictures,
        )


def check_store(
    path: str | Path, folds: Sequence[Fold] | None = None, *, deep: bool = True
) -> CheckReport:
    """Checks a store: quality, documentation, access, preparation, leakage.

    Args:
        path: The store.
        folds: The split to audit; default the one in its manifest (`write_folds`).
        deep: Read every tile and compare its sha-256, and the fingerprint of all; else
            only the signatures of the other files, and that no file is lost.

    Returns:
        The report. Damaged tiles and leaking folds are errors.

    Raises:
        FileNotFoundError: There is no store.
        StoreError: It cannot be opened at all.
    """
    store = open_store(path)
    report = assess(store)
    if folds is None:
        folds = read_folds(store) if store.parts == (store,) else []
    findings = [*_preparation(store, deep, bool(folds))]
    leakage = None
    try:
        audited = folds and store.keeps_pixels  # some tiles of each scene are read
        leakage = audit_folds(store, folds) if audited else None
    except StoreError as error:
        findings.append(Finding("content", "error", "preparation", str(error)))
    findings += [
        *report.findings,
        *_resolution(store),
        *_documentation(store),
        *_access(store),
        *(leakage.findings if leakage else ()),
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    pictures: tuple[tuple[str, str], ...] = ()
    if folds and store.manifest.crs is not None:
        pictures = (("Test fold of each tile", fold_picture(store, folds)),)
    return CheckReport(
        store.path,
        tuple(sorted(findings, key=lambda f: order[f.severity])),
        leakage,
        report.classes,
        pictures,
    )


def _preparation(store: "TileStore", deep: bool, has_folds: bool) -> Iterable[Finding]:
    for part in store.parts:
        yield from _lost_files(part) if part.keeps_pixels else ()
    if not store.keeps_pixels:
        message = (
            "pixels stay in the scenes: each tile is compared with its sha-256, and "
            "folds are audited for leaks, when a training reads them."
        )
        yield Finding("pixels", "note", "preparation", message)
    hashes = store.manifest["sha256"].tolist()
    if deep and fingerprint(store.about, hashes) != store.fingerprint:
        message = "the fingerprint is not that of the tiles."
        yield Finding("fingerprint", "error", "preparation", message)
    damaged = damaged_tiles(store) if deep and store.keeps_pixels else []
    if damaged:
        yield Finding(
            "content",
            "error",
            "preparation",
            f"{len(damaged)} of {len(store)} tiles are not as they were written.",
            tuple(damaged[:100]),
        )
    if any((part.path / unfinished.APPEND).exists() for part in store.parts):
        message = "scenes were being appended; run the same `append` again."
        yield Finding("unfinished", "warning", "preparation", message)
    if not store.labels:
        message = "there is no label: nothing to learn from."
        yield Finding("labels", "warning", "preparation", message)
    if not has_folds:
        message = "no folds are stored: leakage was not audited. See `write_folds`."
        yield Finding("folds", "note", "preparation", message)
    if len(store.scenes) < 3:
        message = f"{len(store.scenes)} scenes are too few to hold any out."
        yield Finding("scenes", "warning", "preparation", message)


def damaged_tiles(store: "TileStore") -> list[int]:
    """Tiles whose content is not what the manifest's sha-256 says."""
    damaged: list[int] = []
    expected = store.manifest["sha256"].to_numpy()
    for batch in np.array_split(np.arange(len(store)), -(-len(store) // 16)):
        try:
            parts = [(batch, store.read(batch))]
        except StoreError:
            parts = []
            for tile in batch:
                try:
                    parts.append((np.array([tile]), store.read([tile])))
                except StoreError:
                    damaged.append(int(tile))
        for tiles, pixels in parts:
            for slot, tile in enumerate(tiles):
                if hash_tile(pixels, slot) != expected[tile]:
                    damaged.append(int(tile))
    return damaged


def _lost_files(store: "TileStore") -> Iterable[Finding]:
    """Shards that are not there: every tile is stored, so they were lost."""
    shards = np.unique(store.array_rows // store.about["shard_tiles"]).tolist()
    address = store.about.get("pixels_at")
    held = bucket.shards_of(address) if address else {}
    for name, rank in _ranks(store).items():
        array = store.path / layout.ARRAYS / name / "c"
        end = Path(*["0"] * rank)
        there = held.get(name, set())
        if not address:
            there = {k for k in shards if (array / str(k) / end).exists()}
        lost = [k for k in shards if k not in there]
        if lost:
            are = "file of array {} is" if len(lost) == 1 else "files of array {} are"
            message = f"{len(lost)} {are.format(repr(name))} lost: shards {lost[:10]}."
            yield Finding("lost", "error", "preparation", message)


def _ranks(store: "TileStore") -> dict[str, int]:
    """Axes of one tile of each array."""
    labels = {n: len(i.dims) for n, i in store.labels.items() if not i.is_image}
    return {"image": 3, "valid": 2, **labels}


def _documentation(store: "TileStore") -> Iterable[Finding]:
    cards = [part.path / CARD_JSON for part in store.parts]
    told = [json.loads(p.read_text("utf-8")) if p.exists() else {} for p in cards]
    says = {
        "license": "no licence is stated: nobody else may use it.",
        "citeAs": "no citation is stated.",
    }
    for key, message in says.items():
        if not all(card.get(key) for card in told):
            severity = "warning" if key == "license" else "note"
            hint = " Set it with `tiles.write_card`."
            yield Finding(key, severity, "documentation", message + hint)
    for key in ("units", "time", "sensor"):
        lacking = [n for n, a in store.scenes.items() if not a.get(key)]
        if lacking:
            message = f"{len(lacking)} of {len(store.scenes)} scenes have no {key}."
            scenes = tuple(lacking[:100])
            yield Finding(key, "note", "documentation", message, scenes=scenes)
    for name, info in store.labels.items():
        if not info.is_float and all(c.isdigit() for c in info.classes):
            message = f"classes of label {name!r} have no names (`flag_meanings`)."
            yield Finding("class_names", "warning", "documentation", message)


_ALIKE = 1.5
"""How much larger pixels of one scene may be than those of another without a word."""


def _resolution(store: "TileStore") -> Iterable[Finding]:
    """Scenes of so different pixels that one network sees two sizes of the same ice."""
    sides = {name: pixel_side_m(about) for name, about in store.scenes.items()}
    known = sorted((side, name) for name, side in sides.items() if side is not None)
    if not known or known[-1][0] <= _ALIKE * known[0][0]:
        return
    (least, first), (most, last) = known[0], known[-1]
    message = (
        f"pixels are {least:g} m in {first} and {most:g} m in {last}: bring scenes "
        "onto one grid (`data.grid`, `grid.align`), unless the network shall see both."
    )
    yield Finding("resolution", "note", "quality", message, scenes=(first, last))


def _access(store: "TileStore") -> Iterable[Finding]:
    if store.manifest.crs is None:
        message = "tiles are not georeferenced: only scenes can be told apart."
        yield Finding("georeference", "note", "access", message)
    for name in (CARD_JSON, layout.QUALITY_JSON):
        if not all((part.path / name).exists() for part in store.parts):
            message = f"{name} is absent."
            yield Finding("files", "warning", "access", message)
