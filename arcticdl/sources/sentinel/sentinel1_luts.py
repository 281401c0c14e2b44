"""Calibration, thermal noise and geolocation of Sentinel-1 GRD, window by window.

After the Sentinel-1 Product Specification (S1-RS-MDA-52-7441) and the technical note on
thermal denoising (MPC-0392): range noise vectors hold within the sub-swath block that
an azimuth noise vector spans, and are never interpolated across its seams.
"""

from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

from arcticdl.errors import SourceError
from arcticdl.sources.core.safe_xml import find_count, find_numbers
from arcticdl.sources.core.tie_points import GeolocationGrid
from arcticdl.sources.core.zipped import ProductPath


@dataclass(frozen=True)
class LutVector:
    """Values along one image line: ``values[i]`` at column ``pixels[i]``."""

    line: int
    pixels: np.ndarray
    values: np.ndarray

    def at(self, cols: np.ndarray) -> np.ndarray:
        """Linear between its pixels, constant beyond them, float32."""
        return np.interp(cols, self.pixels, self.values).astype(np.float32)


def read_vectors(
    root: ElementTree.Element, tag: str, lut: str, path: ProductPath
) -> tuple[LutVector, ...]:
    """Reads a list of LUT vectors, in the order of their lines.

    Raises:
        SourceError: None there, or numbers of pixels and values that differ.
    """
    vectors = []
    for node in root.iter(tag):
        pixels = find_numbers(node, "pixel", path)
        values = find_numbers(node, lut, path)
        if len(pixels) != len(values) or (np.diff(pixels) <= 0).any():
            raise SourceError(
                f"{path} must give one value of {lut} for each of rising pixels. "
                f"Received: {len(pixels)} pixels, {len(values)} values."
            )
        line = int(find_numbers(node, "line", path)[0])
        vectors.append(LutVector(line, pixels, values))
    if not vectors:
        raise SourceError(f"{path} holds no {tag}.")
    return tuple(sorted(vectors, key=lambda vector: vector.line))


def interpolate_vectors(
    vectors: tuple[LutVector, ...], rows: np.ndarray, cols: np.ndarray
) -> np.ndarray:
    """Evaluates LUT vectors on a window.

    Args:
        vectors: Sorted by line, at least one.
        rows: Image lines, rising.
        cols: Image columns, rising.

    Returns:
        float32 (rows, cols): bilinear within the vectors, nearest beyond.
    """
    lines = np.array([vector.line for vector in vectors])
    after = np.clip(
        np.searchsorted(lines, rows, side="right"), 1, max(len(lines) - 1, 1)
    )
    before = after - 1
    first, last = int(before[0]), min(int(after[-1]), len(lines) - 1)
    table = np.stack([vector.at(cols) for vector in vectors[first : last + 1]])
    if len(table) == 1:
        return np.broadcast_to(table, (len(rows), len(cols)))
    span = np.maximum(lines[after] - lines[before], 1)
    weight = np.clip((rows - lines[before]) / span, 0.0, 1.0).astype(np.float32)
    low = table[before - first]
    low += weight[:, None] * (table[after - first] - low)
    return low


@dataclass(frozen=True)
class NoiseBlock:
    """The part of a sub-swath in which one azimuth noise vector holds."""

    rows: range
    cols: range
    vectors: tuple[LutVector, ...]
    azimuth_lines: np.ndarray
    azimuth_values: np.ndarray


@dataclass(frozen=True)
class NoiseModel:
    """Thermal noise power of a channel, in units of squared digital numbers."""

    blocks: tuple[NoiseBlock, ...]

    def window(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Evaluates the noise power on a window.

        Args:
            rows: Consecutive image lines.
            cols: Consecutive image columns.

        Returns:
            float32 (rows, cols), 0 where no block tells.
        """
        noise = np.zeros((len(rows), len(cols)), np.float32)
        for block in self.blocks:
            y = slice(*np.searchsorted(rows, [block.rows.start, block.rows.stop]))
            x = slice(*np.searchsorted(cols, [block.cols.start, block.cols.stop]))
            if y.start < y.stop and x.start < x.stop:
                part = interpolate_vectors(block.vectors, rows[y], cols[x])
                along = np.interp(rows[y], block.azimuth_lines, block.azimuth_values)
                noise[y, x] = part * along.astype(np.float32)[:, None]
        return noise

    def untold_fraction(self, shape: tuple[int, int]) -> float:
        """Says in how much of an image no block tells the noise, so that it stays.

        Args:
            shape: Lines and samples of the image.

        Returns:
            0 to 1; pixels without data, such as the ragged edges of the sub-swaths,
            are counted as well.

        Example:
            >>> line = LutVector(0, np.zeros(1), np.ones(1))
            >>> upper = NoiseBlock(range(6), range(4), (line,), np.zeros(1), np.ones(1))
            >>> NoiseModel((upper,)).untold_fraction((8, 4))
            0.25
        """
        # Between the edges of all blocks everything is told, or nothing.
        edges = []
        for size, spans in zip(
            shape,
            ([b.rows for b in self.blocks], [b.cols for b in self.blocks]),
            strict=True,
        ):
            ends = [end for span in spans for end in (span.start, span.stop)]
            edges.append(np.unique(np.clip([0, size, *ends], 0, size)))
        told = np.zeros([len(edge) - 1 for edge in edges], bool)
        for block in self.blocks:
            inside = [
                (edge[:-1] >= span.start) & (edge[1:] <= span.stop)
                for edge, span in zip(edges, (block.rows, block.cols), strict=True)
            ]
            told |= np.outer(*inside)
        area = np.outer(*(np.diff(edge) for edge in edges))
        return float((area * ~told).sum() / area.sum())


def read_noise(
    root: ElementTree.Element, shape: tuple[int, int], path: ProductPath
) -> NoiseModel:
    """Reads a noise annotation: range times azimuth since IPF 2.9, one LUT before.

    Args:
        root: Root of the noise XML.
        shape: Lines and samples of the image.
        path: The file, for messages.

    Returns:
        The model.

    Raises:
        SourceError: Vectors are missing, do not fit each other, or are not scaled to
            the digital numbers.
    """
    everywhere = NoiseBlock(
        range(shape[0]), range(shape[1]), (), np.zeros(1), np.ones(1)
    )
    tags = ("noiseRangeVector", "noiseRangeLut")
    if root.find(".//noiseRangeVector") is None:
        tags = ("noiseVector", "noiseLut")
    vectors = read_vectors(root, *tags, path)
    peak = max(vector.values.max(initial=0.0) for vector in vectors)
    if 0.0 < peak < 1.0:  # thermal noise is of some hundreds
        raise SourceError(
            f"Noise vectors must be in units of squared digital numbers. Received: "
            f"{path}, at most {peak:.2g}, as processors before July 2015 left them "
            "unscaled. Open with `denoise=False`."
        )
    blocks = [
        _read_block(node, shape, path) for node in root.iter("noiseAzimuthVector")
    ]
    filled = [_with_vectors(block, vectors) for block in blocks or [everywhere]]
    return NoiseModel(tuple(block for block in filled if block is not None))


def _read_block(
    node: ElementTree.Element, shape: tuple[int, int], path: ProductPath
) -> NoiseBlock:
    """One azimuth vector; before IPF 2.9.1 it may leave out its bounds."""
    lines = find_numbers(node, "line", path)
    values = find_numbers(node, "noiseAzimuthLut", path)
    if len(lines) != len(values):
        raise SourceError(
            f"{path} must give one noiseAzimuthLut value a line. "
            f"Received: {len(lines)} lines, {len(values)} values."
        )
    if node.find("firstAzimuthLine") is None:
        bounds = [0, shape[0] - 1, 0, shape[1] - 1]
    else:
        bounds = [
            find_count(node, f"{end}{axis}", path)
            for axis in ("AzimuthLine", "RangeSample")
            for end in ("first", "last")
        ]
    rows, cols = range(bounds[0], bounds[1] + 1), range(bounds[2], bounds[3] + 1)
    return NoiseBlock(rows, cols, (), lines, values)


def _with_vectors(
    block: NoiseBlock, vectors: tuple[LutVector, ...]
) -> NoiseBlock | None:
    """Gives a block its own part of the range vectors; ``None``: none tells anything.

    Those on its lines; where none lies on them, the nearest that tells anything. Zeros
    within a sub-swath mean that it had no data yet on that line.
    """
    own = [part for part in (_clip(vector, block.cols) for vector in vectors) if part]
    inside = [part for part in own if part.line in block.rows]
    if not inside and own:
        middle = (block.rows.start + block.rows.stop) / 2
        inside = [min(own, key=lambda part: abs(part.line - middle))]
    if not inside:
        return None
    return NoiseBlock(
        block.rows,
        block.cols,
        tuple(inside),
        block.azimuth_lines,
        block.azimuth_values,
    )


def _clip(vector: LutVector, cols: range) -> LutVector | None:
    keep = (vector.pixels >= cols.start) & (vector.pixels < cols.stop)
    keep &= vector.values > 0.0
    if not keep.any():
        return None
    return LutVector(vector.line, vector.pixels[keep], vector.values[keep])


def read_geolocation(root: ElementTree.Element, path: ProductPath) -> GeolocationGrid:
    """Reads the geolocation grid of a product annotation.

    Raises:
        SourceError: The points are no complete grid of at least 2 by 2.
    """
    names = ("line", "pixel", "latitude", "longitude", "incidenceAngle")
    points = np.array(
        [
            [find_numbers(node, name, path)[0] for name in names]
            for node in root.iter("geolocationGridPoint")
        ]
    ).reshape(-1, len(names))
    lines, pixels = np.unique(points[:, 0]), np.unique(points[:, 1])
    if len(points) != len(lines) * len(pixels) or min(len(lines), len(pixels)) < 2:
        raise SourceError(
            f"{path} must hold a complete geolocation grid. Received: {len(points)} "
            f"points on {len(lines)} lines and {len(pixels)} columns."
        )
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    lat, lon, incidence = points[:, 2:].T.reshape(3, len(lines), len(pixels))
    return GeolocationGrid(lines, pixels, lat, lon, incidence)
