"""The leakage audit: what train and test of a split have in common."""

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from arcticdl.tiles.folds.drift import (
    DriftLeak,
    drift_leaks,
    mark_drift,
    unseen_passes,
)
from arcticdl.tiles.folds.made import count_leaks
from arcticdl.tiles.folds.proximity import (
    close_blocks,
    same_view,
    smallest_distance,
    smallest_gap,
)
from arcticdl.tiles.folds.splits import Fold
from arcticdl.tiles.quality.finding import Finding
from arcticdl.tiles.quality.twins import count_near

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore


def distance_text(value: float, unit: str) -> str:
    """A distance as people write it: kilometres from a thousand metres on."""
    if unit == "m" and value >= 1000:
        value, unit = value / 1000, "km"
    return f"{value:.4g} {unit}"


@dataclass(frozen=True)
class FoldAudit:
    """What one fold's sides have in common.

    Attributes:
        fold: Its number.
        num_train: Training tiles.
        num_test: Test tiles.
        distance: Smallest distance between the sides in the CRS's unit (pixels for
            plain images, of the same image); inf where none can be compared.
        gap_days: Smallest time between the sides; NaN where times are unknown.
        num_shared: Tiles on both sides.
        num_overlaps: Pairs of tiles that cover common ground within a day.
        num_revisits: Pairs of tiles that cover common ground at other times.
        num_duplicates: Pairs of equal images.
        num_near_duplicates: Pairs of nearly equal images.
        shared_scenes: Scenes with tiles on both sides.
        shared_groups: Groups with tiles on both sides, of the column that is asked of.
        drift: Passes of drifting ice that may show the same ice; see `drift_leaks`.
        unseen: Passes of drifting ice without time or place, which nothing compared.
        num_made: Tiles that a generator has made, and that are tested, or were made
            from scenes that are.
    """

    fold: int
    num_train: int
    num_test: int
    distance: float
    gap_days: float
    num_shared: int
    num_overlaps: int
    num_revisits: int
    num_duplicates: int
    num_near_duplicates: int
    shared_scenes: tuple[str, ...]
    shared_groups: tuple[str, ...] = ()
    drift: tuple[DriftLeak, ...] = ()
    unseen: tuple[str, ...] = ()
    num_made: int = 0


@dataclass(frozen=True)
class LeakageReport:
    """What `audit_folds` found.

    Attributes:
        folds: Of each fold.
        correlation_range: {band: (range in the CRS's unit, whether it was reached)};
            see `correlation_ranges`.
        findings: In words; errors are leaks.
        unit: Of distances: ``m``, ``px``, or that of another CRS.
    """

    folds: tuple[FoldAudit, ...]
    correlation_range: dict[str, tuple[float, bool]]
    findings: tuple[Finding, ...]
    unit: str = "px"

    @property
    def ok(self) -> bool:
        """Whether no fold leaks."""
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """``leaks``, ``no leak found``, or that with the number of warnings."""
        if not self.ok:
            return "leaks"
        count = sum(finding.severity == "warning" for finding in self.findings)
        told = f"{count} warning{'s' if count > 1 else ''}"
        return f"no leak found, {told}" if count else "no leak found"

    def __str__(self) -> str:
        lines = [f"leakage: {self.verdict}"]
        for fold in self.folds:
            if np.isfinite(fold.distance):
                told = distance_text(fold.distance, self.unit)
                lines.append(f"nearest train and test {told}")
            if np.isfinite(fold.gap_days):
                lines.append(f"{fold.gap_days:.3g} days apart")
            lines.append(f"{fold.num_overlaps} overlapping pairs")
            lines.append(f"{len(fold.shared_groups)} shared groups")
            if fold.drift:
                lines.append(f"{len(fold.drift)} pairs of passes within the drift")
        return "; ".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values; what is not finite becomes ``None``."""
        folds = [
            {k: _json_value(v) for k, v in vars(fold).items()} for fold in self.folds
        ]
        ranges = {
            band: {"range": _json_value(value), "reached": reached}
            for band, (value, reached) in self.correlation_range.items()
        }
        findings = [finding.to_dict() for finding in self.findings]
        return {
            "verdict": self.verdict,
            "unit": self.unit,
            "folds": folds,
            "correlation_range": ranges,
            "findings": findings,
        }


def audit_folds(
    store: "TileStore",
    folds: Sequence[Fold],
    *,
    group: str | None = None,
    drifts: bool | None = None,
    drift_km_per_day: float = 20.0,
    number: int = 0,
) -> LeakageReport:
    """Audits a split for leakage.

    Errors: a tile on both sides, tiles that overlap, equal images (of one value all
    over, none is counted), passes of drifting ice that may show the same ice, scenes
    that a generator has made and that are tested or made from what is. Warnings:
    nearly equal images, a scene or group on both sides, tiles nearer to each other than
    the imagery is alike.

    Args:
        store: The store.
        folds: Tile indices of each side, from any splitter.
        group: Column of the manifest that should not be on both sides.
        drifts: Whether the ice drifts; ``None``: as the column ``drifts`` says.
        drift_km_per_day: How far it may drift in a day. Passes (column ``pass``, else
            scenes) nearer than that times the days between them leak, up to 10 days.
        number: Of the first fold.
    """
    manifest = mark_drift(store.manifest, drifts)
    audits = []
    for place, fold in enumerate(folds):
        train, test = np.unique(fold[0]), np.unique(fold[1])
        audit = _audit_fold(store, number + place, train, test)
        leaks = drift_leaks(manifest, train, test, drift_km_per_day)
        shared = _shared(manifest, group, train, test)
        unseen = unseen_passes(manifest, train, test)
        audits.append(replace(audit, shared_groups=shared, drift=leaks, unseen=unseen))
    ranges = correlation_ranges(store)
    findings = [f for audit in audits for f in _leaks(audit, ranges)]
    crs = manifest.crs
    unit = "px" if crs is None else crs.axis_info[0].unit_name
    return LeakageReport(
        tuple(audits), ranges, tuple(findings), {"metre": "m"}.get(unit, unit)
    )


def correlation_ranges(
    store: "TileStore", *, max_tiles: int = 64, seed: int = 0
) -> dict[str, tuple[float, bool]]:
    """Estimates over which distance each band resembles itself.

    The range of the empirical variogram, gamma(h) = mean((z(x) - z(x + h))**2) / 2
    (Matheron 1963), along rows and columns inside tiles: the first lag at which it
    reaches 95 % of the variance over the scene.

    Returns:
        {band: (range, reached)}, in the unit of the CRS (pixels for plain images).
        Where 95 % is not reached within half a tile, the range is only known to be
        longer than that: ``reached`` is false.
    """
    rng = np.random.default_rng(seed)
    count = min(max_tiles, len(store))
    tiles = np.sort(rng.choice(len(store), count, replace=False))
    half = max(min(store.tile_size_px) // 2, 1)
    lags = np.unique(np.geomspace(1, half, 24).round().astype(int))
    total = np.zeros((len(lags), len(store.bands)))
    pairs, sill = total.copy(), np.zeros(len(store.bands))
    batches = np.array_split(tiles, -(-count // 8))
    scenes = store.manifest["scene_id"].to_numpy()
    for batch, pixels in zip(batches, store.stream(batches, labels=()), strict=True):
        image = pixels["image"].astype("float64")
        image[~pixels["valid"]] = np.nan
        for number, lag in enumerate(lags):
            for moved in (image[:, lag:] - image[:, :-lag], _across(image, lag)):
                total[number] += np.nansum(moved**2, axis=(0, 1, 2)) / 2
                pairs[number] += np.isfinite(moved).sum(axis=(0, 1, 2))
        sill += sum(store.scene_stats(scenes[tile]).std ** 2 for tile in batch)
    gamma = total / np.maximum(pairs, 1)
    return {
        band: _range_of(lags * _step(store), gamma[:, k], 0.95 * sill[k] / count)
        for k, band in enumerate(store.bands)
    }


def fold_picture(store: "TileStore", folds: Sequence[Fold]) -> str:
    """A map of the folds' test tiles, one colour a fold: PNG in base64."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    known = store.manifest.geometry.notna().to_numpy()
    number = np.full(len(store), -1)
    for fold, (_, test) in enumerate(folds):
        number[test] = fold
    shown = store.manifest[known].assign(test_fold=number[known].astype(str))
    shown.plot(
        "test_fold", ax=axes, categorical=True, legend=True, alpha=0.6, edgecolor="0.3"
    )
    axes.set(title="Test fold of each tile", aspect="equal", xlabel="x", ylabel="y")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


def _audit_fold(
    store: "TileStore", number: int, train: np.ndarray, test: np.ndarray
) -> FoldAudit:
    from arcticdl.tiles.quality.measure import is_measured  # loads GDAL

    manifest = store.manifest
    shared = np.intersect1d(train, test)
    only = np.setdiff1d(train, shared)
    keys = manifest["image_key"].to_numpy()
    own = getattr(store, "store", store)  # a sequence has the bands of every date
    blank = manifest["constant_bands"].to_numpy() >= is_measured(own.bands).sum()
    equal = _count_equal(keys[only[~blank[only]]], keys[test])
    together, over = same_view(manifest), [0, 0]
    for pairs in close_blocks(manifest, only, test):
        same = int(together(pairs).sum())
        over = [over[0] + same, over[1] + len(pairs) - same]
    return FoldAudit(
        fold=number,
        num_train=len(train),
        num_test=len(test),
        distance=smallest_distance(manifest, only, test),
        gap_days=smallest_gap(manifest, only, test),
        num_shared=len(shared),
        num_overlaps=over[0],
        num_revisits=over[1],
        num_duplicates=equal,
        num_near_duplicates=count_near(manifest["phash"], keys, only, test),
        shared_scenes=_shared(manifest, "scene_id", train, test),
        num_made=count_leaks(manifest, train, test),
    )


def _count_equal(mine: np.ndarray, theirs: np.ndarray) -> int:
    """Pairs of an entry here and one there that are equal."""
    import pandas as pd

    codes = pd.factorize(np.concatenate([mine, theirs]))[0]
    size = int(codes.max(initial=-1)) + 1
    sides = (codes[: len(mine)], codes[len(mine) :])
    here, there = (np.bincount(side, minlength=size) for side in sides)
    return int((here * there).sum())


def _shared(
    manifest: Any, column: str | None, train: np.ndarray, test: np.ndarray
) -> tuple[str, ...]:
    if column is None or column not in manifest.columns:
        return ()
    cells = manifest[column].astype("string")
    sides = (set(cells.iloc[rows].dropna().unique()) for rows in (train, test))
    return tuple(sorted(set.intersection(*sides)))


def _leaks(audit: FoldAudit, ranges: dict[str, tuple[float, bool]]) -> list[Finding]:
    found = []
    for count, check, severity, what in (
        (audit.num_shared, "shared_tiles", "error", "tiles are on both sides"),
        (audit.num_overlaps, "overlap", "error", "pairs of tiles cover common ground"),
        (
            audit.num_revisits,
            "revisits",
            "warning",
            "pairs of tiles cover common ground at different times",
        ),
        (audit.num_duplicates, "duplicates", "error", "pairs of images are equal"),
        (
            audit.num_made,
            "synthetic",
            "error",
            "tiles were made by a generator, and are tested or made from what is",
        ),
        (
            audit.num_near_duplicates,
            "near_duplicates",
            "warning",
            "pairs of images look nearly the same",
        ),
        (len(audit.shared_scenes), "shared_scenes", "warning", "scenes are shared"),
        (len(audit.shared_groups), "shared_groups", "warning", "groups are shared"),
    ):
        if count:
            message = f"fold {audit.fold}: {count} {what}."
            found.append(Finding(check, severity, "leakage", message))
    if audit.drift:
        near = audit.drift[0]
        message = (
            f"fold {audit.fold}: {len(audit.drift)} pairs of passes may show the same "
            f"drifting ice, such as {near.train} (train) and {near.test} (test), "
            f"{near.distance_km:.1f} km and {near.days:.1f} days apart."
        )
        found.append(Finding("drift", "error", "leakage", message))
    if audit.unseen:
        message = (
            f"fold {audit.fold}: {len(audit.unseen)} passes of drifting ice, such as "
            f"{audit.unseen[0]}, tell no time or no place: nothing says whether they "
            "show ice of the other side."
        )
        found.append(Finding("unseen_drift", "warning", "leakage", message))
    longest = max(ranges.values(), default=(0.0, True))
    if audit.distance < longest[0]:
        message = (
            f"fold {audit.fold}: train and test are {audit.distance:.4g} apart; the "
            f"imagery resembles itself over {'' if longest[1] else 'more than '}"
            f"{longest[0]:.4g}. Use a buffer of at least that."
        )
        found.append(Finding("distance", "warning", "leakage", message))
    return found


def _across(image: np.ndarray, lag: int) -> np.ndarray:
    return image[:, :, lag:] - image[:, :, :-lag]


def _range_of(
    distance: np.ndarray, gamma: np.ndarray, level: float
) -> tuple[float, bool]:
    reached = np.flatnonzero(gamma >= level)
    if len(reached):
        return float(distance[reached[0]]), True
    return float(distance[-1]), False


def _step(store: "TileStore") -> float:
    """Pixel size in the unit of the footprints: the scenes' median."""
    steps = [abs(a["step"][0]) for a in store.scenes.values() if a.get("step")]
    if steps:
        return float(np.median(steps))
    width = store.manifest.geometry.area.median() ** 0.5
    return float(width / np.sqrt(np.prod(store.tile_size_px)))


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, tuple):
        return [asdict(v) if isinstance(v, DriftLeak) else v for v in value]
    return value
