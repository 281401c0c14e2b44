"""The common part of weight conversion: fill a Keras model from named tensors."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from arcticdl.errors import WeightsError

State = Mapping[str, np.ndarray]


class Entry(NamedTuple):
    """One variable and where its values come from.

    Attributes:
        variable: The Keras variable to fill.
        key: Name of the tensor, without the wrapper's prefix.
        transform: From PyTorch's layout to Keras's; ``None`` if they agree.
    """

    variable: Any
    key: str
    transform: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class ConversionReport:
    """What became of a checkpoint's tensors.

    Attributes:
        architecture: Name of the network that was filled.
        prefix: Wrapper's prefix that was taken off, e.g. ``"module.encoder_q."``.
        used: Keys whose values are in the model, sorted.
        unused: Keys of the checkpoint that the model has no place for, sorted.
        missing: Keys that the model wanted and did not find, sorted.
    """

    architecture: str
    prefix: str
    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.architecture}: {len(self.used)} tensors used, {len(self.unused)} "
            f"unused, {len(self.missing)} missing; prefix {self.prefix!r}"
        ]
        lines += [f"  unused  {key}" for key in self.unused]
        lines += [f"  missing {key}" for key in self.missing]
        return "\n".join(lines)


BOOKKEEPING = (
    "num_batches_tracked",
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
    "attn.k_bias",
)
"""Ends of keys that hold nothing learnt."""


def fill(
    entries: Iterable[Entry],
    state: State,
    *,
    architecture: str,
    prefix: str = "",
    heads: tuple[str, ...] = (),
    allow_partial: bool = False,
) -> ConversionReport:
    """Copies tensors into variables; nothing is changed if one of them is refused.

    Args:
        entries: Variables and their keys.
        state: All tensors of the checkpoint.
        architecture: Name for the report.
        prefix: Taken off the keys; tensors without it belong to other networks.
        heads: Starts of keys that a backbone may leave unused, e.g. ``"fc."``.
        allow_partial: Accept missing and further unused keys.

    Returns:
        The report.

    Raises:
        WeightsError: A shape differs, or, unless ``allow_partial``, keys are missing
            or unused.
    """
    planned, used, missing = [], set(), []
    for variable, key, transform in entries:
        full = prefix + key
        if full not in state:
            missing.append(full)
            continue
        used.add(full)
        planned.append((variable, _fit(state[full], transform, variable, full)))
    if not planned:
        raise WeightsError(
            f"A checkpoint must hold tensors of {architecture}. Received: none of its "
            f"keys, such as {missing[0]!r}."
        )
    unused = sorted(set(_learnt(state)) - used)
    report = ConversionReport(
        architecture, prefix, tuple(sorted(used)), tuple(unused), tuple(sorted(missing))
    )
    strange = [key for key in unused if _is_strange(key, prefix, heads)]
    if (missing or strange) and not allow_partial:
        raise WeightsError(
            "A checkpoint must match its architecture whole, unless "
            f"`allow_partial=True`. Received: {architecture} with {len(missing)} keys "
            f"missing {_some(missing)} and {len(strange)} unused {_some(strange)}."
        )
    for variable, values in planned:
        variable.assign(values)
    return report


def _fit(
    values: np.ndarray,
    transform: Callable[[np.ndarray], np.ndarray] | None,
    variable: Any,
    key: str,
) -> np.ndarray:
    values = np.asarray(values)
    fitted = transform(values) if transform else values
    if tuple(fitted.shape) != tuple(variable.shape):
        raise WeightsError(
            "A tensor must have the shape of its variable. Received: "
            f"{key!r} of shape {values.shape} for {variable.path!r} of shape "
            f"{tuple(variable.shape)}."
        )
    return fitted


def _learnt(state: State) -> Iterator[str]:
    return (key for key in state if not key.endswith(BOOKKEEPING))


def _is_strange(key: str, prefix: str, heads: tuple[str, ...]) -> bool:
    rest = key.removeprefix(prefix)
    return key.startswith(prefix) and not (heads and rest.startswith(heads))


def _some(keys: list[str]) -> list[str]:
    return sorted(keys)[:3] + (["..."] if len(keys) > 3 else [])


# --- layouts ----------------------------------------------------------------------


def conv_kernel(values: np.ndarray) -> np.ndarray:
    """Brings the kernel of a convolution from PyTorch's layout to Keras's.

    Args:
        values: ``(out, in, y, x)``.

    Returns:
        ``(y, x, in, out)``.
    """
    return values.transpose(2, 3, 1, 0)


def dense_kernel(values: np.ndarray) -> np.ndarray:
    """Brings the kernel of a dense layer from PyTorch's layout to Keras's.

    Args:
        values: ``(out, in)``, or ``(out, in, 1, 1)`` of a 1 x 1 convolution.

    Returns:
        ``(in, out)``.
    """
    return values.reshape(values.shape[0], -1).T


def convolution(layer: Any, key: str) -> Iterator[Entry]:
    """Yields the entries of a convolution, with its bias where it has one.

    Args:
        layer: The Keras layer.
        key: Name of the layer in the checkpoint.

    Yields:
        One ``Entry`` a variable.
    """
    yield from _with_bias(layer, key, conv_kernel)


def dense(layer: Any, key: str) -> Iterator[Entry]:
    """Yields the entries of a dense layer, with its bias where it has one.

    Args:
        layer: The Keras layer.
        key: Name of the layer in the checkpoint.

    Yields:
        One ``Entry`` a variable.
    """
    yield from _with_bias(layer, key, dense_kernel)


def _with_bias(layer: Any, key: str, turned: Callable[[Any], Any]) -> Iterator[Entry]:
    yield Entry(layer.kernel, f"{key}.weight", turned)
    if layer.use_bias:
        yield Entry(layer.bias, f"{key}.bias")


def layer_norm(layer: Any, key: str) -> Iterator[Entry]:
    """Yields the entries of a layer normalisation.

    Args:
        layer: The Keras layer.
        key: Name of the layer in the checkpoint.

    Yields:
        One ``Entry`` a variable.
    """
    yield Entry(layer.gamma, f"{key}.weight")
    yield Entry(layer.beta, f"{key}.bias")


def batch_norm(layer: Any, key: str) -> Iterator[Entry]:
    """Yields the entries of a batch normalisation with its running statistics.

    Args:
        layer: The Keras layer.
        key: Name of the layer in the checkpoint.

    Yields:
        One ``Entry`` a variable.
    """
    yield from layer_norm(layer, key)
    yield Entry(layer.moving_mean, f"{key}.running_mean")
    yield Entry(layer.moving_variance, f"{key}.running_var")


def count(state: State, pattern: str) -> int:
    """Counts how many keys ``pattern.format(0)``, ``pattern.format(1)``, ... there are.

    Args:
        state: Tensors by their names.
        pattern: Key with ``{}`` for the number.

    Returns:
        The first number without a key.

    Example:
        >>> count({"block.0.weight": 1, "block.1.weight": 1}, "block.{}.weight")
        2
    """
    number = 0
    while pattern.format(number) in state:
        number += 1
    return number
