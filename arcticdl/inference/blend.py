"""Where prediction windows lie and how much each of their pixels counts."""

import numpy as np
from numpy.typing import NDArray


def window_starts(length: int, window: int, overlap: int) -> list[int]:
    """Starts of windows that cover ``length`` pixels, the last one moved in.

    Args:
        length: Pixels to cover, >= 1.
        window: Pixels of a window, >= 1; may be larger than ``length``.
        overlap: Pixels shared by neighbours, in [0, window).

    Returns:
        Ascending starts; ``[0]`` when one window is enough.

    Raises:
        ValueError: ``overlap`` leaves no step.

    Example:
        >>> window_starts(10, 4, 1)
        [0, 3, 6]
    """
    if not 0 <= overlap < window:
        raise ValueError(
            "`overlap_px` must be >= 0 and smaller than the window. "
            f"Received: overlap_px={overlap}, window={window}."
        )
    if window >= length:
        return [0]
    step = window - overlap
    starts = list(range(0, length - window, step))
    return [*starts, length - window]


def blend_weights(height: int, width: int, overlap: int) -> NDArray[np.float32]:
    """Weights of a window: 1 inside, falling to its edge over the overlap.

    A raised cosine across the overlap makes neighbours sum smoothly; the weight stays
    above zero, so that a pixel seen by one window alone is defined.

    Args:
        height: Rows of the window.
        width: Columns of the window.
        overlap: Pixels over which the weight falls; 0 gives ones.

    Returns:
        Array (height, width), in (0, 1].
    """

    def side(length: int) -> NDArray[np.float64]:
        distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
        ramp = np.clip(distance / max(overlap, 1), 0, 1)
        return np.sin(0.5 * np.pi * ramp) ** 2 if overlap else np.ones(length)

    return np.maximum(np.outer(side(height), side(width)), 1e-4).astype(np.float32)
