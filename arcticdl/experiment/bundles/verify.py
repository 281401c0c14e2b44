"""Checking a bundle: its files, its card, and the network against its own answer."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.errors import BundleError
from arcticdl.experiment.bundles import layout

TOLERANCE = 1e-3
"""Largest difference of an answer, of what answers of the sample span: another machine
or backend adds in another order."""


def verify_bundle(path: str | Path) -> dict[str, float]:
    """Runs the network of a bundle against what the bundle says of it.

    Args:
        path: A folder, or a zip file.

    Returns:
        Head -> largest difference of its answer to the sample, over what its answers
        span.

    Raises:
        BundleError: A file is damaged or absent, the card is not the model's, or the
            answer is another.
        FileNotFoundError: There is no such bundle.
        ValueError: The model cannot be loaded.
    """
    from arcticdl.inference import load_model
    from arcticdl.models import get_card

    folder = layout.open_bundle(path)
    layout.check_files(folder, layout.read_manifest(folder))
    model = load_model(folder / layout.MODEL)
    if json.loads((folder / layout.CARD).read_text("utf-8")) != get_card(model):
        raise BundleError(
            f"`{layout.CARD}` must be the card in {layout.MODEL}. Received: {path}, "
            "where they differ."
        )
    told = _arrays(folder / layout.ANSWER)
    found = answers_of(model, _arrays(folder / layout.SAMPLE))
    differences = {name: _difference(found, told, name) for name in found}
    far = {name: gap for name, gap in differences.items() if not gap <= TOLERANCE}
    if far:
        raise BundleError(
            f"A network must answer as its bundle says, within {TOLERANCE:g} of what "
            f"its answers span. Received: {path}, whose heads differ by {far}."
        )
    return differences


def answers_of(model: Any, pixels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a model answers to a sample, activated, by head."""
    from arcticdl.inference.predictor import Predictor
    from arcticdl.scene import BandStats

    predictor = Predictor(model, batch_size=len(pixels["image"]))
    stats = None
    if "stats" in pixels:
        stats = BandStats.from_dict(json.loads(str(pixels["stats"])))
    return dict(predictor.forward(pixels["image"], pixels["valid"], stats))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _difference(
    found: dict[str, np.ndarray], told: dict[str, np.ndarray], name: str
) -> float:
    one, other = found[name], told.get(name)
    if other is None or one.shape != other.shape:
        return float("inf")
    span = max(float(np.ptp(other)), np.finfo("float32").tiny)
    return float(np.abs(one - other).max() / span)
