"""The features that novelty is measured by, of windows that are already scaled."""

import hashlib

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from arcticdl.inference.novelty.distance import Floats, Novelty
from arcticdl.models.card import get_card
from arcticdl.models.probe import deepest, find_features, with_features


class Features:
    """The coarsest features of a network, where its picture of a scene is broadest.

    Args:
        model: A network with layers of its own.

    Attributes:
        layer: Name of `arcticdl.models.probe.find_features`.
        stride: Pixels by one place.

    Raises:
        ValueError: An ensemble, whose members have features of their own.
    """

    def __init__(self, model: keras.Model) -> None:
        if (get_card(model) or {}).get("ensemble"):
            raise ValueError(
                "Novelty is measured by the features of one network. Received: an "
                "ensemble; take a fold's model."
            )
        found = find_features(model)
        self.layer = deepest(found)
        self.stride = found[self.layer].stride
        self._watched = with_features(model, [self.layer])
        self.weights = weights_digest(model)

    def __call__(self, scaled: Floats) -> Floats:
        """(n, y, x, channel) of scaled pixels (n, y, x, band)."""
        return np.asarray(self._watched.predict_on_batch(scaled)[self.layer])

    def places(self, scaled: Floats, valid: NDArray[np.bool_]) -> list[Floats]:
        """Features (place, channel) of each picture, where most of a place is valid."""
        found = self(scaled)
        share = pooled_share(valid, self.stride)[:, : found.shape[1], : found.shape[2]]
        return [one[here > 0.5] for one, here in zip(found, share, strict=True)]

    def map(self, novelty: Novelty, scaled: Floats) -> Floats:
        """Scores (n, y, x, 1) of scaled pixels, at their resolution."""
        scores = novelty.score(self(scaled))[..., None]
        size = [self.stride * side for side in scores.shape[1:3]]
        large = ops.image.resize(
            scores, size, interpolation="bilinear", data_format="channels_last"
        )
        return np.asarray(large)[:, : scaled.shape[1], : scaled.shape[2]]


def pooled_share(valid: NDArray[np.bool_], stride: int) -> Floats:
    """Share of valid pixels of each place; what a picture lacks is not valid.

    Args:
        valid: ``(n, y, x)``.
        stride: Pixels by a place, each way.

    Returns:
        ``(n, y / stride, x / stride)``, rounded up, 0-1.
    """
    lacking = [(0, -side % stride) for side in valid.shape[1:]]
    filled = np.pad(valid, [(0, 0), *lacking])
    rows, columns = (side // stride for side in filled.shape[1:])
    blocks = filled.reshape(len(valid), rows, stride, columns, stride)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def weights_digest(model: keras.Model) -> str:
    """A digest of a network's own weights, which a scaling of its logits is none of.

    Args:
        model: The network.
    """
    total = hashlib.sha256()
    for layer in model.layers:
        if type(layer).__name__ != "ScaledLogits":
            for weight in layer.get_weights():
                total.update(np.ascontiguousarray(weight).tobytes())
    return total.hexdigest()[:16]
