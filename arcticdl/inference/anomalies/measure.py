"""Windows of a scene measured by an autoencoder, beside the image that it rebuilds."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from arcticdl.inference.anomalies.fit import (
    FILE,
    Anomalies,
    Floats,
    rebuild_error,
    unfitted,
)
from arcticdl.inference.forward import OF_CODE, Answers, Forward
from arcticdl.inference.novelty.features import pooled_share, weights_digest
from arcticdl.inference.novelty.saved import read_fit_beside
from arcticdl.models.card import get_card
from arcticdl.models.latents.parts import LatentParts
from arcticdl.scene import BandStats


class Codes:
    """The codes of an autoencoder, of windows that are already scaled.

    Args:
        model: The autoencoder.

    Attributes:
        parts: Its halves.

    Raises:
        ValueError: The model has no code.
    """

    def __init__(self, model: keras.Model) -> None:
        self.parts = LatentParts(model)

    def places(self, scaled: Floats, valid: NDArray[np.bool_]) -> list[Floats]:
        """Codes (place, feature) of each picture, where most of a place is valid."""
        found = self.parts.encode(scaled)
        share = pooled_share(valid, self.parts.stride)
        return [one[here > 0.5] for one, here in zip(found, share, strict=True)]

    def repeated(self, numbers: Floats, shape: tuple[int, int]) -> Floats:
        """Numbers of places (n, y, x, number) at the resolution of pixels."""
        stride = self.parts.stride
        return numbers.repeat(stride, 1).repeat(stride, 2)[:, : shape[0], : shape[1]]

    def smoothed(self, code: Floats, valid: NDArray[np.bool_]) -> Floats:
        """A code at the resolution of pixels, drawn smoothly between seen places.

        Args:
            code: ``(n, y, x, feature)``, of places.
            valid: ``(n, y, x)``, of pixels. A place without any has no code, and a
                pixel beside it is that of the places that have.

        Returns:
            ``(n, y, x, feature)``, of pixels.
        """
        seen = (pooled_share(valid, self.parts.stride) > 0)[..., None]
        both = np.concatenate([code * seen, seen], -1, dtype=np.float32)
        size = [self.parts.stride * side for side in code.shape[1:3]]
        large = ops.convert_to_numpy(
            ops.image.resize(
                both, size, interpolation="bilinear", data_format="channels_last"
            )
        )[:, : valid.shape[1], : valid.shape[2]]
        return np.asarray(large[..., :-1] / np.maximum(large[..., -1:], 1e-6))


class Scaling(NamedTuple):
    """What brings a band's answer and the band itself onto one scale.

    Attributes:
        head: Name of the head that rebuilds.
        places: Numbers of the bands in the image, in the order of the answer.
        scale: By what errors of each are divided.
    """

    head: str
    places: tuple[int, ...]
    scale: Floats


def read_scaling(card: Mapping[str, Any]) -> Scaling:
    """Which bands an autoencoder rebuilds, as its card tells.

    Raises:
        ValueError: It does not tell.
    """
    starts = card.get("starts", {})
    if len(starts) != 1:
        raise ValueError(
            "Errors of rebuilt bands are told by an autoencoder whose label `restores` "
            f"bands. Received: a card whose `starts` name {sorted(starts)}."
        )
    ((head, start),) = starts.items()
    places = tuple(list(card["bands"]).index(band) for band in start["band"])
    return Scaling(head, places, np.asarray(start["scale"], np.float32))


def with_codes(
    forward: Forward,
    model: keras.Model,
    normalizer: Any,
    found: Anomalies,
    wanted: Collection[str],
) -> Forward:
    """A forward pass that tells anomalies, codes or clusters beside its answers.

    Args:
        forward: The pass.
        model: The autoencoder.
        normalizer: What scales its input.
        found: What is normal.
        wanted: Names among ``forward.OF_CODE``.
    """
    codes = Codes(model)
    scaling = read_scaling(get_card(model) or {}) if "anomaly" in wanted else None

    def measured(
        image: NDArray[Any], valid: NDArray[np.bool_], stats: BandStats | None
    ) -> Answers:
        answers = forward(image, valid, stats)
        if scaling is not None:
            given = image[..., list(scaling.places)] / scaling.scale
            rebuilt = answers[scaling.head] / scaling.scale
            error = rebuild_error(given, rebuilt, valid, found.window_px)
            answers[OF_CODE["anomaly"]] = error / np.float32(found.limit)
        if {"cluster", "latent"} & set(wanted):
            code = codes.parts.encode(normalizer(image, valid, stats))
            size = valid.shape[1:]
            if "latent" in wanted:
                answers[OF_CODE["latent"]] = codes.smoothed(code, valid)
            if "cluster" in wanted:
                shares = found.shares(code)
                answers[OF_CODE["cluster"]] = codes.repeated(shares, size)
        return answers

    return measured


def find_anomalies(
    model: Any, network: keras.Model, wanted: Collection[str]
) -> Anomalies:
    """Reads the fit beside a model's file, and checks that it is of this network.

    Args:
        model: What the caller named the model by.
        network: The network.
        wanted: Names among ``forward.OF_CODE``; codes alone need no fit.

    Returns:
        The fit.

    Raises:
        ValueError: The model is one of several, is no autoencoder, was not given by its
            file, or has other weights than the fit.
        FileNotFoundError: There is no fit.
    """
    models = list(model) if isinstance(model, list | tuple) else [model]
    if len(models) != 1:
        raise ValueError(
            "Codes are those of one autoencoder, as each has features of its own. "
            f"Received: {len(models)} models; name a fold (--fold K)."
        )
    LatentParts(network)  # or refused
    if set(wanted) <= {"latent"}:
        return unfitted(1)
    if not isinstance(models[0], str | Path):
        raise ValueError(
            f"The limit of anomalies lies beside the model's file, as {FILE}. "
            "Received: a model in memory; pass the path of its file."
        )
    path = Path(models[0]).with_name(FILE)
    return read_fit_beside(Anomalies, path, weights_digest(network), "what is normal")


class SceneAnomalies(NamedTuple):
    """How anomalous a scene is.

    Attributes:
        scene_id: Its name.
        share: Share of its valid pixels beyond the limit.
        unusual: Whether that is more than each of the normal scenes has.
    """

    scene_id: str
    share: float
    unusual: bool
