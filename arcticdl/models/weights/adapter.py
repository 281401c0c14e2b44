"""Band-aware input adaptation: a pretrained first layer for any set of bands.

Every rule is a mixing matrix ``M (target band, source band)``: the kernel of a new
band is a weighted sum of the pretrained kernels. So one matrix serves the first
convolution, the patch embedding, the statistics of a stem normalisation, and the
1 x 1 convolution of ``project_1x1``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from arcticdl.choices import choose
from arcticdl.models.weights.adapter_rules import (
    ADAPTERS,
    Input,
    label_of,
    source_label,
)
from arcticdl.models.weights.bands import Band, resolve_bands

Bands = Sequence[str | Band] | int


@dataclass(frozen=True)
class BandSource:
    """Where the kernel of one band comes from."""

    target: str
    source: str
    rule: str


@dataclass(frozen=True)
class AdapterTable:
    """Band -> source, as text by ``str()``.

    Attributes:
        mode: The rule's name.
        rows: One ``BandSource`` for each band of the new input.
        scale: Factor on all copied kernels.
    """

    mode: str
    rows: tuple[BandSource, ...]
    scale: float

    def __str__(self) -> str:
        cells = [("band", "source", "rule")]
        cells += [(row.target, row.source, row.rule) for row in self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(3)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))
            for row in cells
        ]
        head = f"adapter {self.mode}, kernels times {self.scale:.4g}"
        return "\n".join([head, *(line.rstrip() for line in lines)])


def adapt_kernel(
    kernel: np.ndarray,
    source_bands: Bands,
    target_bands: Bands,
    mode: str = "by_band",
    *,
    seed: int = 0,
) -> tuple[np.ndarray, AdapterTable]:
    """Makes a pretrained first kernel fit another set of bands.

    Modes:

    - ``by_band``: the kernel of the same band; else of the nearest centre wavelength
      within 15 %; SAR HH from VV and HV from VH (and back); any other image band the
      mean kernel; auxiliary fields and radiometer bands without a match zero. Then
      one factor, so that the response to equal bands keeps its root mean square.
    - ``repeat``: band ``i`` gets kernel ``i mod c_src``, times ``c_src / num_bands``;
      one band gets the sum (the rule of timm and segmentation-models-pytorch).
    - ``mean``: every band the mean kernel times ``c_src / num_bands``: the response to
      equal bands is exactly kept.
    - ``sum``: every band the sum of the kernels: one band alone, the others zero, is
      seen as the grey image was.
    - ``zero``: same bands copied, all others zero: adding a band changes no output.
    - ``random``: same bands copied, others drawn with the pretrained kernels' spread.
    - ``project_1x1``: the kernel stays; the returned ``(1, 1, num_bands, c_src)``
      kernel belongs to a 1 x 1 convolution in front of it, and starts as ``by_band``
      (``repeat`` where bands have no names).

    Args:
        kernel: Pretrained kernel ``(kh, kw, c_src, c_out)``, float.
        source_bands: The ``c_src`` bands of the pretrained input, in order, or their
            number. ``by_band`` needs names on both sides unless the numbers are equal.
        target_bands: The new bands, in order, or their number.
        mode: One of ``ADAPTERS``.
        seed: Seed of ``random``.

    Returns:
        ``(kernel, table)``: kernel ``(kh, kw, num_bands, c_out)`` in the dtype of the
        input, and the table band -> source.

    Raises:
        ValueError: Unknown mode or band, another number of bands than the kernel has,
            or a rule that would leave nothing of the pretrained kernel.

    Example:
        >>> from arcticdl.models.weights.bands import RGB
        >>> kernel = np.ones((7, 7, 3, 64), "float32")
        >>> adapted, table = adapt_kernel(kernel, RGB, ["HH", "HV", "incidence_angle"])
        >>> adapted.shape
        (7, 7, 3, 64)
        >>> [row.source for row in table.rows]
        ['mean of all', 'mean of all', 'none']
    """
    kernel = np.asarray(kernel)
    matrix, table = mixing_matrix(
        source_bands, target_bands, mode, kernel=_checked(kernel, source_bands)
    )
    if mode == "project_1x1":
        return matrix[None, None].astype(kernel.dtype), table
    adapted = _mix(matrix, kernel)
    if mode == "random":
        empty = ~matrix.any(axis=1)
        shape = (*kernel.shape[:2], int(empty.sum()), kernel.shape[3])
        rng = np.random.default_rng(seed)
        adapted[:, :, empty] = rng.normal(0.0, kernel.std(), shape)
    return adapted, table


def adapt_vector(
    values: np.ndarray,
    source_bands: Bands,
    target_bands: Bands,
    mode: str = "by_band",
    *,
    neutral: float,
) -> np.ndarray:
    """Makes one number a band (a stem's mean, variance, gain) fit other bands.

    A band takes the value of the band whose kernel it got, a band of several sources
    their mean, a band without source ``neutral``.

    Args:
        values: ``(c_src,)``, float.
        source_bands: As in ``adapt_kernel``.
        target_bands: As in ``adapt_kernel``.
        mode: One of ``ADAPTERS``.
        neutral: Value that does nothing: 0 for a mean or an offset, 1 for a variance
            or a gain.

    Returns:
        ``(num_bands,)`` in the dtype of ``values``.

    Raises:
        ValueError: ``values`` of more than one axis, or another number of bands.

    Example:
        >>> means = np.array([0.5, 0.4, 0.3])  # of red, green and blue
        >>> adapt_vector(means, 3, 2, "mean", neutral=0.0).round(2).tolist()
        [0.4, 0.4]
    """
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(
            "`values` must have one axis, the bands. "
            f"Received: values of shape {values.shape}."
        )
    matrix, _ = mixing_matrix(source_bands, target_bands, mode)
    if matrix.shape[1] != len(values):
        raise ValueError(
            "`source_bands` must name every entry of `values`. "
            f"Received: {matrix.shape[1]} bands, {len(values)} values."
        )
    # Rows become means: a statistic is not a sum over bands as a kernel's response is,
    # and factors such as that of "repeat" leave it as it was.
    share = np.abs(matrix).sum(axis=1, keepdims=True)
    weights = np.divide(matrix, share, out=np.zeros_like(matrix), where=share > 0)
    mixed = np.where(share[:, 0] > 0, weights @ values.astype("float64"), neutral)
    return mixed.astype(values.dtype)


def mixing_matrix(
    source_bands: Bands,
    target_bands: Bands,
    mode: str = "by_band",
    *,
    kernel: np.ndarray | None = None,
) -> tuple[np.ndarray, AdapterTable]:
    """The matrix of a rule: how much of each source band a new band takes.

    Args:
        source_bands: As in ``adapt_kernel``.
        target_bands: As in ``adapt_kernel``.
        mode: One of ``ADAPTERS``.
        kernel: Pretrained kernel that ``by_band`` rescales for; without it ``by_band``
            keeps the sum of the weights.

    Returns:
        ``(matrix, table)``: float64 ``(num_bands, c_src)`` and the table.

    Raises:
        ValueError: As ``adapt_kernel``.

    Example:
        >>> known = ["sentinel2:B04", "sentinel2:B08"]
        >>> matrix, table = mixing_matrix(known, ["sentinel2:B08", "elevation"], "zero")
        >>> matrix.tolist()
        [[0.0, 1.0], [0.0, 0.0]]
        >>> print(table)
        adapter zero, kernels times 1
        band                 source         rule
        sentinel2:B08        sentinel2:B08  same band
        auxiliary:elevation  none           zero
    """
    weigh = choose("mode", mode, ADAPTERS)
    known = mode in ("by_band", "project_1x1", "random", "zero")
    source, target = _named(source_bands, known), _named(target_bands, known)
    rows = weigh(source, target)
    matrix = np.stack([weights for weights, _ in rows])
    if not matrix.any():
        raise ValueError(
            "At least one band must take something of the pretrained kernel. "
            f"Received: mode={mode!r}, bands {[label_of(band) for band in target]} "
            f"from {[label_of(band) for band in source]}. Choose 'mean' or 'repeat'."
        )
    scale = _scale(matrix, mode, kernel, source, target)
    described = tuple(
        BandSource(label_of(band), source_label(weights, source, rule), rule)
        for band, (weights, rule) in zip(target, rows, strict=True)
    )
    return matrix * scale, AdapterTable(mode, described, scale)


def copy_weights(
    source: Any,
    target: Any,
    source_bands: Bands,
    target_bands: Bands,
    mode: str = "by_band",
    *,
    seed: int = 0,
) -> AdapterTable:
    """Copies a pretrained Keras model into the same model with another input.

    Variables are matched by their paths, so the target may be the front part of the
    source; where layers have no names of their own, by their order. Equal shapes are
    copied; a kernel that differs in its input axis is adapted, and so is a vector of
    one number a band.

    Args:
        source: Pretrained ``keras.Model`` with ``c_src`` input bands.
        target: The same architecture with ``num_bands`` input bands. For
            ``project_1x1`` give both ``c_src`` bands and set the projection yourself
            with ``adapt_kernel``.
        source_bands: As in ``adapt_kernel``.
        target_bands: As in ``adapt_kernel``.
        mode: One of ``ADAPTERS`` except ``project_1x1``.
        seed: Seed of ``random``.

    Returns:
        The table band -> source.

    Raises:
        ValueError: Another architecture.
    """
    if mode == "project_1x1":
        raise ValueError(
            "`mode` must be a rule that changes the kernel itself. Received: "
            "mode='project_1x1'. Put its 1 x 1 convolution in front of the model."
        )
    _, table = mixing_matrix(source_bands, target_bands, mode)
    for old, new in _pairs(source, target):
        values = keras.ops.convert_to_numpy(old)
        if tuple(old.shape) == tuple(new.shape):
            new.assign(values)
        elif values.ndim == 4:
            values, table = adapt_kernel(
                values, source_bands, target_bands, mode, seed=seed
            )
            new.assign(values)
        else:
            neutral = 0.0 if new.name in ("mean", "moving_mean", "beta") else 1.0
            args = (source_bands, target_bands, mode)
            new.assign(adapt_vector(values.ravel(), *args, neutral=neutral))
    return table


def _pairs(source: Any, target: Any) -> list[tuple[Any, Any]]:
    """Variables of two networks that belong together: by path, else by order."""
    old, new = _values_of(source), _values_of(target)
    by_path = {variable.path: variable for variable in old}
    if len(by_path) == len(old) and all(v.path in by_path for v in new):
        return [(by_path[variable.path], variable) for variable in new]
    same = len(old) == len(new) and all(
        a.name == b.name and len(a.shape) == len(b.shape)
        for a, b in zip(old, new, strict=True)
    )
    if not same:
        raise ValueError(
            "`source` and `target` must be the same architecture with other bands. "
            f"Received: {source.name!r} with {len(old)} variables and {target.name!r} "
            f"with {len(new)}."
        )
    return list(zip(old, new, strict=True))


def _values_of(model: Any) -> list[Any]:
    return [v for v in model.variables if "seed_generator" not in v.path]


def _checked(kernel: np.ndarray, source_bands: Bands) -> np.ndarray:
    if kernel.ndim != 4:
        raise ValueError(
            "`kernel` must be (kh, kw, c_src, c_out). "
            f"Received: kernel of shape {kernel.shape}."
        )
    count = len(_named(source_bands, known=False))
    if kernel.shape[2] != count:
        raise ValueError(
            "`source_bands` must name every input of `kernel`. "
            f"Received: {count} bands, kernel of shape {kernel.shape}."
        )
    return kernel


def _named(bands: Bands, known: bool = True) -> Input:
    """Resolved bands, or positions where only a number is known.

    Rules that do not ask what a band measures take any name (``known=False``).
    """
    if isinstance(bands, int):
        if bands < 1:
            raise ValueError(
                f"The number of bands must be at least 1. Received: {bands}."
            )
        return tuple(range(bands))
    try:
        return resolve_bands(bands)
    except ValueError:
        if known or not len(bands) or isinstance(bands, str):
            raise
    return tuple(band if isinstance(band, Band) else Band(band) for band in bands)


def _mix(matrix: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Sums in the kernel's own dtype and band order, as PyTorch's rules do."""
    shape = (*kernel.shape[:2], len(matrix), kernel.shape[3])
    adapted = np.zeros(shape, kernel.dtype)
    for target, source in zip(*np.nonzero(matrix), strict=True):
        weight = kernel.dtype.type(matrix[target, source])
        adapted[:, :, target] += kernel[:, :, source] * weight
    return adapted


def _scale(
    matrix: np.ndarray,
    mode: str,
    kernel: np.ndarray | None,
    source: Input,
    target: Input,
) -> float:
    if mode == "repeat":
        return len(source) / len(target) if len(target) > 1 else 1.0
    if mode not in ("by_band", "project_1x1"):
        return 1.0
    if kernel is None:
        # So that bands of one value give the sum that the source bands gave.
        return float(len(source) / matrix.sum())
    # Equal bands, all of value 1, answer with the kernel summed over its bands: the
    # norm over taps and filters of that sum is kept. (A sum alone could be 0.)
    before = float(np.linalg.norm(kernel.astype("float64").sum(axis=2)))
    after = float(np.linalg.norm(np.tensordot(matrix.sum(0), kernel, axes=(0, 2))))
    factor = before / after if after > 0 else 1.0
    return 1.0 if abs(factor - 1.0) < 1e-9 else factor
