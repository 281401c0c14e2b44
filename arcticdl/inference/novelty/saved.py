"""Fits to a trained network, in a file beside it."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from arcticdl.files import atomic_path

Fit = TypeVar("Fit", bound=tuple[Any, ...])


def write_fit(found: Any, path: str | Path) -> Path:
    """Writes a named tuple of numbers, words and arrays as ``.npz``, without pickle."""
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **found._asdict())
    return Path(path)


def read_fit(kind: type[Fit], path: str | Path) -> Fit:
    """Reads what ``write_fit`` wrote.

    Args:
        kind: The named tuple, called as the command that writes it.
        path: The file.

    Raises:
        ValueError: The file is none.
    """
    of: Any = kind
    try:
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Any] = {name: file[name] for name in of._fields}
    except (KeyError, OSError, ValueError) as error:
        name = kind.__name__.lower()
        raise ValueError(
            f"A fit of {name} must be as `arcticdl {name}` writes it. Received: "
            f"{path}, which is torn or another file."
        ) from error
    plain = {n: v.item() for n, v in found.items() if v.ndim == 0}
    read: Fit = of(**(found | plain))
    return read


def read_fit_beside(kind: type[Fit], path: Path, weights: str, what: str) -> Fit:
    """Reads the fit beside a model, which must be of the model's own weights.

    Args:
        kind: As of ``read_fit``.
        path: The file.
        weights: Digest of the network's weights.
        what: What the fit says, for the message.

    Raises:
        FileNotFoundError: There is no fit.
        ValueError: It is of other weights, or none.
    """
    way_out = f"arcticdl {kind.__name__.lower()} RUN"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: {what} is not fitted. Fit it: {way_out}"
        )
    found: Any = read_fit(kind, path)
    if found.weights != weights:
        raise ValueError(
            f"{path} must be of the network's own weights. Received: one of others; "
            f"fit it anew: {way_out}"
        )
    read: Fit = found
    return read
