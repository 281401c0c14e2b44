"""Bands that hold directions: they turn when the image turns.

A wind of 5 m/s to the right is a wind of 5 m/s upwards after a quarter turn; a network
that is shown anything else learns wrong physics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import FloatArray


@dataclass(frozen=True)
class Directions:
    """Which bands are vector components and which are angles.

    Attributes:
        vectors: Pairs of band indices ``(u, v)``: u towards larger columns, v towards
            smaller rows (up in the picture), in any unit.
        angles: Indices of bands in degrees clockwise from up, such as a look direction.
    """

    vectors: tuple[tuple[int, int], ...] = ()
    angles: tuple[int, ...] = ()

    def turn(self, image: FloatArray, transform: NDArray[np.float64]) -> FloatArray:
        """Turns the direction bands of moved images, in place.

        Args:
            image: float32 ``(sample, y, x, band)``, already moved.
            transform: ``(sample, 2, 2)``, the forward map of (column, row) offsets.
                Its rotation or reflection acts (polar decomposition); scale and shear
                leave a physical vector as it is.

        Returns:
            `image`.
        """
        if not (self.vectors or self.angles) or not len(image):
            return image
        turns = orthogonal_part(transform).astype(np.float32)
        for u_band, v_band in self.vectors:
            right, down = _turned(turns, image[..., u_band], -image[..., v_band])
            image[..., u_band], image[..., v_band] = right, -down
        for band in self.angles:
            angle = np.deg2rad(image[..., band])
            right, down = _turned(turns, np.sin(angle), -np.cos(angle))
            image[..., band] = np.rad2deg(np.arctan2(right, -down)) % 360
        return image


def find_directions(
    bands: Sequence[str] | None,
    vectors: Sequence[Sequence[str | int]] | None,
    angles: Sequence[str | int],
) -> Directions:
    """Reads which bands turn, by name or index.

    Args:
        bands: Band names, or ``None`` if only indices are used.
        vectors: Pairs ``(u, v)``; ``None`` finds pairs of names that differ only in
            their first letter, u and v (``u10m_rotated`` and ``v10m_rotated``).
        angles: Bands in degrees clockwise from up.

    Returns:
        The band indices.

    Raises:
        ValueError: A name is unknown, or `vectors` holds something other than pairs.
    """
    names = list(bands or ())
    if vectors is None:
        vectors = [
            (name, "v" + name[1:])
            for name in names
            if name[:1] == "u" and "v" + name[1:] in names
        ]
    if any(len(pair) != 2 for pair in vectors):
        raise ValueError(
            f"`vectors` must hold pairs (u, v). Received: {list(vectors)}."
        )
    return Directions(
        tuple((band_index(u, names), band_index(v, names)) for u, v in vectors),
        tuple(band_index(angle, names) for angle in angles),
    )


def vector_names(names: Sequence[str]) -> list[list[str]]:
    """Pairs of names that are components of vectors, as `find_directions` finds them.

    Example:
        >>> vector_names(["HH", "u10", "v10", "u"])
        [['u10', 'v10']]
    """
    return [
        [names[k] for k in pair] for pair in find_directions(names, None, ()).vectors
    ]


def band_index(band: str | int, names: Sequence[str]) -> int:
    """Finds a band's index from its name or its index.

    Args:
        band: A name of `names`, or an index.
        names: Names of the image's bands; empty if they are not known.

    Returns:
        The index.

    Raises:
        ValueError: The name is not among `names`.

    Example:
        >>> band_index("HV", ["HH", "HV"]), band_index(0, [])
        (1, 0)
    """
    if isinstance(band, str):
        if band not in names:
            raise ValueError(
                f"A band must be one of {sorted(names)}. Received: {band!r}. Names "
                "need `build_policy(..., bands=...)`; indices always work."
            )
        return list(names).index(band)
    return int(band)


def orthogonal_part(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the rotation or reflection in linear maps.

    Args:
        transform: float64 ``(..., 2, 2)``, invertible.

    Returns:
        The orthogonal matrix nearest to each map, its polar factor, by singular values.

    Example:
        >>> orthogonal_part(np.array([[2.0, 0.0], [0.0, -3.0]])).tolist()
        [[1.0, 0.0], [0.0, -1.0]]
    """
    left, _, right = np.linalg.svd(transform)
    return left @ right


def _turned(
    turns: FloatArray, right: FloatArray, down: FloatArray
) -> tuple[FloatArray, FloatArray]:
    turn = turns[:, None, None]
    return (
        turn[..., 0, 0] * right + turn[..., 0, 1] * down,
        turn[..., 1, 0] * right + turn[..., 1, 1] * down,
    )
