"""The two halves of an autoencoder: from images to codes, and from codes to images."""

from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from arcticdl.models.card import get_card, model_heads
from arcticdl.models.latents.code import NAME

Floats = NDArray[np.float32]


class LatentParts:
    """The halves of a model that was built with ``latent``; they share its weights.

    Args:
        model: The model.

    Attributes:
        kind: Kind of its code, one of ``models.options.LATENTS``.
        size: Numbers of a place.
        stride: Pixels by a place, each way.
        head: What the model answers.

    Raises:
        ValueError: The model has no code.

    Example:
        >>> from arcticdl.models import build_regressor
        >>> model = build_regressor(
        ...     "plain", num_bands=2, num_outputs=2, latent={"size": 3},
        ...     backbone_options={"width": 4, "depth": 2},
        ...     decoder_options={"channels": (4, 4)})
        >>> parts = LatentParts(model)
        >>> code = parts.encode(np.ones((1, 16, 16, 2), "float32"))
        >>> code.shape, parts.decode(code).shape
        ((1, 4, 4, 3), (1, 16, 16, 2))
    """

    def __init__(self, model: keras.Model) -> None:
        told = (get_card(model) or {}).get("latent")
        if told is None or NAME not in {layer.name for layer in model.layers}:
            raise ValueError(
                "`model` must be an autoencoder, built with `latent` "
                "(`model.options.latent` in a configuration). Received: "
                f"{model.name!r}, which has no code of its own."
            )
        self.kind, self.size = str(told["kind"]), int(told["size"])
        self.stride = int(told["stride"])
        (self.head,) = model_heads(model).values()
        self._model = model

    @cached_property
    def _encoder(self) -> Any:
        code = self._model.get_layer(NAME).output
        return keras.Model(self._model.input, code, name="encoder")

    @cached_property
    def _decoder(self) -> Any:
        inputs = [self._model.input, self._model.get_layer(NAME).output]
        return keras.Model(inputs, self._model.output, name="decoder")

    def encode(self, scaled: Floats) -> Floats:
        """Codes of images.

        Args:
            scaled: ``(batch, y, x, band)``, as a feed scales them, 0 where void.

        Returns:
            ``(batch, y / stride, x / stride, feature)``, rounded up; of a variational
            code the means.
        """
        return np.asarray(self._encoder.predict_on_batch(scaled))

    def decode(self, code: Floats) -> Floats:
        """Images of codes.

        Args:
            code: ``(batch, y, x, feature)``.

        Returns:
            ``(batch, stride * y, stride * x, output)``, in the units of the answer.
        """
        batch, rows, columns, _ = code.shape
        bands = self._model.input.shape[-1]
        size = (batch, rows * self.stride, columns * self.stride, bands)
        blank = np.zeros(size, "float32")  # only its size is looked at
        rebuilt = self._decoder([blank, code], training=False)
        return np.asarray(ops.convert_to_numpy(rebuilt))

    def sample(self, number: int, places: tuple[int, int], *, seed: int = 0) -> Floats:
        """Draws images: codes from a standard normal distribution, rebuilt.

        Places are drawn each by itself, so that images are coherent only as far as a
        place and what the decoder sees around it.

        Args:
            number: Images.
            places: Rows and columns of the code.
            seed: Seed.

        Returns:
            ``(number, stride * rows, stride * columns, output)``.

        Raises:
            ValueError: The code is not variational, and has no distribution.
        """
        if self.kind != "variational":
            raise ValueError(
                "Images are drawn from a variational code (`latent.kind`). Received: "
                f"{self.kind!r}."
            )
        rng = np.random.default_rng(seed)
        code = rng.standard_normal((number, *places, self.size), np.float32)
        return self.decode(code)
