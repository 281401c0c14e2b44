"""A thin class as the one line it stands for: a calving front, an ice edge."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.transform import xy

from arcticdl.choices import check_choice
from arcticdl.files import atomic_path, write_features
from arcticdl.inference.output import MapFile, scene_georeference
from arcticdl.metrics.fronts import front_path
from arcticdl.metrics.lines import dividing_path

THRESHOLDS = (0.2, 0.1, 0.05)
"""Probabilities tried in turn until a line is found.

A line three pixels wide that may lie a pixel higher or lower has a low probability at
each pixel, so one half would cut off its uncertain ends.
"""

TOLL = 0.4
"""What a line between two surfaces pays a column, and a pixel along it; it earns
contrast and probability, which counts up to the contrast, of up to 1 each."""

SHARES = (1.0, 0.5, 0.25, 0.125)
"""Shares of the toll that are tried in turn until a line is found."""

FAINT_SHARES = (0.01, 0.02, 0.04)
"""Shares of the map's most probable pixels that are tried when every threshold fails;
a front of three pixels' width covers about 0.007 of a chip that it crosses."""


def trace_line(
    prob: NDArray[Any],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    min_length_px: int = 10,
) -> tuple[NDArray[np.int64], float]:
    """Traces the most probable line of a map, at the surest threshold that has one.

    A faint front is still a front: where no line passes the first threshold, lower
    ones are tried, then the levels above which ``FAINT_SHARES`` of the map lie. The
    level that was needed is returned, so that a reader can tell a sure line from a
    faint one.

    Args:
        prob: Probability of the line's class (y, x), 0-1; NaN is no line.
        thresholds: Tried in order.
        min_length_px: A shorter line is none.

    Returns:
        ``(path, threshold)``: int64 (point, 2), row and column from end to end, and
        the threshold that gave it; an empty path and 0.0 where none did, as on a map
        that is the same everywhere.
    """
    known = prob[np.isfinite(prob)]
    if not known.size or known.max() <= known.min():
        return np.zeros((0, 2), np.int64), 0.0
    faint = np.quantile(known, 1 - np.array(FAINT_SHARES), method="lower")
    levels = [*thresholds, *(level for level in faint if level < min(thresholds))]
    for level in levels:
        if level <= 0:
            continue
        # Below the first threshold the map is stretched, so that gaps cost alike.
        field = prob if level == thresholds[0] else np.clip(0.5 * prob / level, 0, 1)
        threshold = level if level == thresholds[0] else 0.5
        path = front_path(field, threshold=threshold, min_length_px=min_length_px)
        if len(path):
            return path, float(level)
    return np.zeros((0, 2), np.int64), 0.0


def trace_between(
    prob: NDArray[Any],
    upper: NDArray[Any],
    lower: NDArray[Any],
    *,
    width_px: int = 20,
    toll: float = TOLL,
    min_length_px: int = 10,
) -> tuple[NDArray[np.int64], float]:
    """Traces the line that has one surface above it and another below.

    Many things look like a front: the edges of icebergs, of melange, of shadow. Only
    one has the sea on one side and the glacier on the other, and that is looked for:
    of all lines that visit each column of the map at most once, the one that gathers
    most contrast between its two sides and most probability of its own class. What a
    column costs, and so where the line ends, is lowered until one is found.

    Args:
        prob: Probability of the line's class (y, x), 0-1; NaN is no line.
        upper: That of the class on the side of the first row.
        lower: That of the class on the other side.
        width_px: How far to either side is looked, at least 1.
        toll: What each pixel of the line costs, above 0 and below 2, where contrast and
            probability earn up to 1 each: more makes lines shorter and straighter.
        min_length_px: A shorter line is none.

    Returns:
        ``(path, confidence)``: int64 (point, 2), row and column from left to right;
        and how much of its two sides is what it should be, as the mean over the line,
        0-1. An empty path and 0 where nothing divides the two.

    Raises:
        ValueError: The maps differ in shape, or an option is out of range.

    Example:
        >>> sea, ice = np.zeros((60, 40)), np.zeros((60, 40))
        >>> sea[:30], ice[31:] = 1.0, 1.0
        >>> path, confidence = trace_between(np.zeros((60, 40)), sea, ice)
        >>> set(path[:, 0].tolist()), round(confidence, 2)
        ({30}, 1.0)
    """
    fields = [np.nan_to_num(np.asarray(x, np.float32)) for x in (prob, upper, lower)]
    shapes = [field.shape for field in fields]
    if len(set(shapes)) > 1 or fields[0].ndim != 2 or not fields[0].size:
        raise ValueError(
            "`prob`, `upper` and `lower` must be maps (y, x) of one shape. "
            f"Received: shapes {shapes}."
        )
    if width_px < 1:
        raise ValueError(f"`width_px` must be at least 1. Received: {width_px}.")
    if not 0 < toll < 2:
        raise ValueError(f"`toll` must be above 0 and below 2. Received: {toll}.")
    for share in SHARES:
        path, confidence = dividing_path(*fields, width_px=width_px, toll=share * toll)
        if len(path) >= min_length_px:
            return path, confidence
    return np.zeros((0, 2), np.int64), 0.0


class TracedLine(NamedTuple):
    """A line, and how sure it is.

    Attributes:
        path: int64 (point, 2), row and column from end to end; none: there is no line.
        told: ``threshold``, the probability it was traced at, or ``confidence``, how
            much of its two sides is what it should be; 0 where none was found. A line
            that is rejected leaves no path, and its confidence.
    """

    path: NDArray[np.int64]
    told: dict[str, float]


@dataclass(frozen=True)
class LineRule:
    """How the line of a thin class is traced.

    Attributes:
        name: The class.
        between: Classes that it divides, that of the side of the first row before the
            other; ``None``: the line lies where the class itself is likeliest.
        width_px: How far to either side is looked, with `between`.
        min_confidence: A line below it is none; 0-1. With `between` the least
            confidence, else the least probability at which a line is traced.
        toll: What each pixel of the line costs, with `between`; above 0 and below 2.
    """

    name: str
    between: tuple[str, str] | None = None
    width_px: int = 20
    min_confidence: float = 0.0
    toll: float = TOLL

    def __post_init__(self) -> None:
        if self.between is not None and len({self.name, *self.between}) != 3:
            raise ValueError(
                "`between` names the two classes that a line divides, other than its "
                f"own. Received: name={self.name!r}, between={self.between!r}."
            )
        if not (self.width_px >= 1 and 0 <= self.min_confidence <= 1):
            raise ValueError(
                "`width_px` must be at least 1 and `min_confidence` from 0 to 1. "
                f"Received: {self.width_px} and {self.min_confidence}."
            )
        if not 0 < self.toll < 2:
            raise ValueError(
                f"`toll` must be above 0 and below 2. Received: {self.toll}."
            )

    @classmethod
    def read(
        cls, value: "LineRule | Mapping[str, Any] | str | None"
    ) -> "LineRule | None":
        """From a card or a configuration; the name alone may stand."""
        if value is None or isinstance(value, LineRule):
            return value
        told: dict[str, Any] = {"name": value} if isinstance(value, str) else {**value}
        if told.get("between") is not None:
            told["between"] = tuple(told["between"])
        return cls(**told)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are named: the line's, and those of its sides."""
        return (self.name, *(self.between or ()))

    def check(self, classes: Sequence[str]) -> None:
        """Refuses names that are none of the classes.

        Raises:
            ValueError: One is not.
        """
        for name in self.classes:
            check_choice("line", name, classes)

    def head_of(self, heads: Mapping[str, Sequence[str]]) -> str:
        """The head that knows the line, and must know its sides as well.

        Args:
            heads: Name of each head -> its classes.

        Raises:
            ValueError: None knows it, or the sides are no classes of that head.
        """
        check_choice(
            "line", self.name, [name for known in heads.values() for name in known]
        )
        found = next(head for head, known in heads.items() if self.name in known)
        self.check(heads[found])
        return found

    def trace(self, prob: NDArray[Any], classes: Sequence[str]) -> TracedLine:
        """Traces the line of a map.

        Args:
            prob: Probabilities of all classes (y, x, class), 0-1.
            classes: Their names.

        Returns:
            The line, of no points where there is none.
        """
        if self.between is None:
            key = "threshold"
            path, sure = trace_line(prob[..., classes.index(self.name)])
        else:
            key = "confidence"
            maps = (prob[..., classes.index(name)] for name in self.classes)
            path, sure = trace_between(*maps, width_px=self.width_px, toll=self.toll)
        if sure < self.min_confidence:
            path = path[:0]
        return TracedLine(path, {key: sure})


def draw_line(path: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draws a path as pixels.

    Args:
        path: (point, 2), row and column.
        shape: (rows, columns) of the map.

    Returns:
        Boolean (y, x), ``True`` on the line.
    """
    line = np.zeros(shape, bool)
    line[path[:, 0], path[:, 1]] = True
    return line


def write_line(
    path: NDArray[np.int64],
    file: str | Path,
    georeference: dict[str, Any],
    *,
    name: str,
    threshold: float | None = None,
    confidence: float | None = None,
    time: str = "",
) -> Path:
    """Writes a path as a GeoPackage with one line feature, none for an empty path.

    Coordinates are pixel centres in the grid's own CRS, or in pixels (x right, y down)
    for an image without one.

    Args:
        path: (point, 2), row and column.
        file: GeoPackage to write, replaced whole.
        georeference: ``crs`` and ``transform``, or empty.
        name: What the line is; written as attribute ``name``.
        threshold: Probability the line was traced at; written as an attribute.
        confidence: How much of its two sides is what it should be; likewise.
        time: When the scene was taken, ISO 8601 in UTC; written as an attribute.

    Returns:
        The file.
    """
    import geopandas
    from shapely import LineString

    transform = georeference.get("transform", Affine.identity())
    lines = []
    if len(path) > 1:
        xs, ys = xy(transform, path[:, 0], path[:, 1])
        lines = [LineString(np.column_stack([xs, ys]))]
    about: dict[str, Any] = {"name": name, "threshold": threshold}
    about |= {"confidence": confidence, "time": time}
    frame = geopandas.GeoDataFrame(
        {
            key: [value] * len(lines)
            for key, value in about.items()
            if value is not None
        },
        geometry=lines,
        crs=georeference.get("crs"),
    )
    with atomic_path(file) as part:
        write_features(frame, part, "line", geometry_type="LineString")
    return Path(file)


def write_line_maps(
    prob: NDArray[Any],
    classes: Sequence[str],
    scene: xr.Dataset,
    target: Path,
    rule: LineRule,
) -> list[Path]:
    """Writes NAME_line.tif (1 on the line) and NAME_line.gpkg beside a map.

    Args:
        prob: Probabilities (y, x, class), 0-1, of the classes that the rule names at
            least.
        classes: Their names.
        scene: The scene that was mapped, on a grid or a plain image.
        target: File of the chief map, NAME.tif.
        rule: How the line is traced.

    Returns:
        Both files.
    """
    traced = rule.trace(prob, classes)
    line = draw_line(traced.path, prob.shape[:2])
    georeference = scene_georeference(scene)
    path = target.with_name(f"{target.stem}_line.tif")
    file = MapFile(
        path,
        line.shape,
        nodata=None,
        georeference=georeference,
        band_names=(f"{rule.name} line",),
        tags={key: f"{value:g}" for key, value in traced.told.items()},
    )
    try:
        file.write_rows(0, line[None].astype(np.uint8))
        file.commit()
    except BaseException:
        file.discard()
        raise
    vector = target.with_name(f"{target.stem}_line.gpkg")
    write_line(
        traced.path,
        vector,
        georeference,
        name=rule.name,
        time=str(scene.attrs.get("time", "")),
        **traced.told,
    )
    return [path, vector]


def remove_line_maps(target: Path) -> None:
    """Removes the line that `write_line_maps` wrote beside a map, and no other file.

    Args:
        target: File of the chief map, NAME.tif.
    """
    path = target.with_name(f"{target.stem}_line.tif")
    if not path.is_file():
        return
    with warnings.catch_warnings():  # maps of plain images have no place
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            name, tags = file.descriptions[0] or "", file.tags()
    if name.endswith(" line") and not {"threshold", "confidence"}.isdisjoint(tags):
        path.unlink()
        path.with_suffix(".gpkg").unlink(missing_ok=True)
