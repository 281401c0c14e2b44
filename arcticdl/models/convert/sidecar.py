"""Weights of the PyTorch world as Keras weights with a JSON sidecar.

``convert`` reads a checkpoint, finds its architecture and its wrapper by the names of
its tensors, and writes ``NAME.weights.h5`` beside a sidecar that says what the weights
are for. PyTorch is not needed, and nothing in a checkpoint is executed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from arcticdl.errors import WeightsError
from arcticdl.files import atomic_path, write_json
from arcticdl.models.convert.checkpoint import read_checkpoint, sha256_of
from arcticdl.models.convert.families import FAMILIES, Family, convert_state
from arcticdl.models.convert.fill import ConversionReport
from arcticdl.models.weights.bands import resolve_bands
from arcticdl.models.weights.table import SUFFIX


def sidecar_path(weights: str | Path) -> Path:
    """``NAME.weights.h5`` -> ``NAME.json``."""
    weights = Path(weights)
    return weights.with_name(weights.name.removesuffix(SUFFIX) + ".json")


def read_sidecar(weights: str | Path) -> dict[str, Any]:
    """What converted weights are for.

    Raises:
        WeightsError: No sidecar beside the weights, or not one of ours.
    """
    path = sidecar_path(weights)
    try:
        card = json.loads(path.read_text("utf-8"))
        card["architecture"], card["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            "Converted weights must have their JSON sidecar beside them. "
            f"Received: {str(path)!r} ({type(error).__name__}). Convert them again."
        ) from error
    return card


def verify(weights: str | Path) -> dict[str, Any]:
    """Checks that converted weights are the file that their sidecar describes.

    Returns:
        The sidecar.

    Raises:
        FileNotFoundError: No such file.
        WeightsError: No sidecar, or another SHA-256 than it states.
    """
    card = read_sidecar(weights)
    found = sha256_of(weights)
    if found != card["sha256"]:
        raise WeightsError(
            "Weights must have the SHA-256 of their sidecar. "
            f"Received: {found}, expected {card['sha256']}. Convert them again."
        )
    return card


def _labels(bands: Sequence[str] | None, num_bands: int) -> list[str] | None:
    if bands is None:
        return None
    labels = [band.label for band in resolve_bands(bands)]
    if len(labels) != num_bands:
        raise ValueError(
            "`bands` must name each band of the checkpoint. "
            f"Received: {len(labels)} names for {num_bands} bands."
        )
    return labels


def convert(
    path: str | Path,
    out: str | Path | None = None,
    *,
    bands: Sequence[str] | None = None,
    family: str | None = None,
    prefix: str | None = None,
    allow_partial: bool = False,
    normalizer: Mapping[str, Any] | None = None,
    licence: str | None = None,
    url: str | None = None,
    families: Mapping[str, Family] = FAMILIES,
) -> tuple[Path, ConversionReport]:
    """Turns a PyTorch checkpoint into Keras weights with a JSON sidecar.

    Args:
        path: Checkpoint; formats as in ``read_checkpoint``.
        out: ``NAME.weights.h5``; beside the checkpoint unless told.
        bands: What the input bands are, in order; needed to adapt them by name later.
        family: One of ``families``; found by the keys unless told.
        prefix: Wrapper's prefix of the keys; found unless told.
        allow_partial: Accept missing and unused keys.
        normalizer: JSON form of the normaliser that the weights expect.
        licence: Licence of the weights, for the sidecar.
        url: Where the checkpoint is from, for the sidecar.
        families: Layouts to look for; ``whole.MODELS`` knows whole models as well.

    Returns:
        ``(path of the weights, report)``.

    Raises:
        FileNotFoundError: No such file.
        WeightsError: Unsafe, corrupt, of no known architecture, or a partial match.
        ValueError: Unknown family, or another number of ``bands``.
    """
    path = Path(path)
    out = Path(out) if out is not None else path.with_name(path.stem + SUFFIX)
    if not out.name.endswith(SUFFIX):
        raise ValueError(f"`out` must end in {SUFFIX!r}. Received: out={str(out)!r}.")
    result = convert_state(
        read_checkpoint(path),
        family=family,
        prefix=prefix,
        allow_partial=allow_partial,
        families=families,
    )
    num_bands = result.model.input_shape[-1]
    labels = _labels(bands, num_bands)
    with atomic_path(out) as part:
        result.model.save_weights(part)
    card = {
        "architecture": result.architecture,
        "options": result.options,
        "family": result.family,
        "task": result.task,
        "num_bands": num_bands,
        "bands": labels,
        "normalizer": None if normalizer is None else dict(normalizer),
        "licence": licence,
        "source": {"file": path.name, "url": url, "sha256": sha256_of(path)},
        "sha256": sha256_of(out),
        "report": asdict(result.report),
    }
    write_json(sidecar_path(out), card)
    return out, result.report
