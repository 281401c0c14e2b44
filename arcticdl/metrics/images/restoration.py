"""Scores of images that were made better: noise, structure, edges, the coarse signal.

NumPy; void is NaN in the truth or in the answer, and is never scored.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def peak_signal_to_noise(
    true: ArrayLike, answer: ArrayLike, *, data_range: float | None = None
) -> float:
    """The squared range of the truth over the mean squared error, in decibels.

    Args:
        true: ``(y, x)``, NaN where void.
        answer: Likewise.
        data_range: Greatest less least value that can be; ``None``: of this truth.

    Returns:
        Decibels; infinite where nothing differs, NaN where nothing is known.

    Example:
        >>> round(peak_signal_to_noise([[0.0, 10.0]], [[1.0, 9.0]]), 6)
        20.0
    """
    y, p, known = image_pair(true, answer)
    if not known.any():
        return float("nan")
    span = np.ptp(y[known]) if data_range is None else data_range
    error = float(np.mean((y[known] - p[known]) ** 2))
    with np.errstate(divide="ignore"):
        return float(10.0 * np.log10(np.divide(span**2, error)))


def structural_similarity(
    true: ArrayLike,
    answer: ArrayLike,
    *,
    data_range: float | None = None,
    within: ArrayLike | None = None,
) -> float:
    """How alike two images are in brightness, contrast and structure, at most 1.

    Of Gaussian windows of 11 by 11 pixels with a deviation of 1.5 (Wang et al. 2004,
    doi:10.1109/TIP.2003.819861), as scikit-image has it; the mean over the windows that
    hold no void and lie within the image.

    Args:
        true: ``(y, x)``, NaN where void.
        answer: Likewise.
        data_range: Greatest less least value that can be; ``None``: of this truth.
        within: Boolean ``(y, x)``: the mean is over windows about these pixels alone,
            such as those of gaps; ``None``: over all.

    Returns:
        The mean; NaN where no window is whole, or the truth has no range.

    Example:
        >>> image = np.arange(256.0).reshape(16, 16)
        >>> structural_similarity(image, image)
        1.0
    """
    from scipy import ndimage
    from skimage.metrics import structural_similarity as similarity

    y, p, known = image_pair(true, answer)
    span = float(np.ptp(y[known])) if known.any() else 0.0
    span = span if data_range is None else data_range
    whole = ndimage.binary_erosion(known, np.ones((11, 11), bool), border_value=0)
    whole = whole if within is None else whole & np.asarray(within, bool)
    if not whole.any() or not span > 0:
        return float("nan")
    middle = y[known].mean()
    _, each = similarity(
        np.where(known, y, middle),
        np.where(known, p, middle),
        data_range=span,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    return float(each[whole].mean())


def edge_keeping(true: ArrayLike, answer: ArrayLike) -> float:
    """The correlation of what is left after a Laplacian, at most 1.

    Blurred edges and noise that is left both lower it (Sattar et al. 1997,
    doi:10.1109/83.585239, their coefficient beta).

    Args:
        true: ``(y, x)``, NaN where void.
        answer: Likewise.

    Returns:
        The coefficient; NaN where no pixel has all its neighbours, or nothing varies.

    Example:
        >>> step = np.repeat([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]], 5, axis=0)
        >>> round(edge_keeping(step, 3.0 * step + 1.0), 6)
        1.0
    """
    y, p, _ = image_pair(true, answer)
    one, other = _laplacian(y), _laplacian(p)
    known = np.isfinite(one) & np.isfinite(other)
    if not known.any():
        return float("nan")
    a, b = one[known] - one[known].mean(), other[known] - other[known].mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def coarse_difference(
    given: ArrayLike, answer: ArrayLike, *, block_px: int, decibels: bool = False
) -> float:
    """How far the means of an answer's blocks lie from those of what was given.

    An answer may add detail to a coarse input; where it also changes what the input has
    measured, it has made something up.

    Args:
        given: ``(y, x)`` input, NaN where void.
        answer: Answer on the same pixels, in the same unit.
        block_px: Side of a block; blocks begin at the image's upper left corner, and
            those with void are left out.
        decibels: Whether values are decibels, whose means are taken of the power.

    Returns:
        Root mean square in the unit of the values; NaN where no block is whole.

    Raises:
        ValueError: A block below 2 pixels.

    Example:
        >>> detail = [[0.0, 2.0], [1.0, 3.0]]
        >>> coarse_difference([[1.0, 1.0], [1.0, 1.0]], detail, block_px=2)
        0.5
    """
    if block_px < 2:
        raise ValueError(f"`block_px` must be at least 2. Received: {block_px}.")
    y, p, _ = image_pair(given, answer)
    if decibels:
        means = (
            10.0 * np.log10(_block_means(10.0 ** (v / 10.0), block_px)) for v in (p, y)
        )
    else:
        means = (_block_means(v, block_px) for v in (p, y))
    one, other = means
    step = one - other
    step = step[np.isfinite(step)]
    return float(np.sqrt(np.mean(step**2))) if step.size else float("nan")


def _block_means(image: FloatArray, size: int) -> FloatArray:
    rows, cols = (length // size for length in image.shape)
    cut = image[: rows * size, : cols * size].reshape(rows, size, cols, size)
    found: FloatArray = cut.mean((1, 3))
    return found


def _laplacian(image: FloatArray) -> FloatArray:
    """Of pixels with four neighbours, those of the frame left out."""
    middle = image[1:-1, 1:-1]
    across = image[1:-1, :-2] + image[1:-1, 2:]
    found: FloatArray = image[:-2, 1:-1] + image[2:, 1:-1] + across - 4.0 * middle
    return found


def image_pair(
    true: ArrayLike, answer: ArrayLike
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Two images as float64, NaN where either is not known, and where both are known.

    Raises:
        ValueError: They are not ``(y, x)``, or not alike.
    """
    y, p = np.asarray(true, np.float64), np.asarray(answer, np.float64)
    if y.shape != p.shape or y.ndim != 2:
        raise ValueError(
            "Images must be (y, x), and alike. Received: shapes "
            f"{y.shape} and {p.shape}."
        )
    known = np.isfinite(y) & np.isfinite(p)
    return np.where(known, y, np.nan), np.where(known, p, np.nan), known
