"""Layers of diffusion: the step that is told, and the sampler around a network."""

from typing import Any

import keras
import numpy as np
from keras import ops

from arcticdl.models.diffusion.schedule import (
    clean_of,
    cosine_schedule,
    noise_of,
    sampled_steps,
)
from arcticdl.models.layers.shapes import Shape


@keras.saving.register_keras_serializable(package="arcticdl")
class StepEmbedding(keras.layers.Layer):
    """Sines and cosines of a step, so that close steps and far ones can be told apart.

    Args:
        num_features: Features, even; half of them are sines.
        **kwargs: Keras layer arguments.

    Call arguments:
        step: ``(batch,)`` from 0, the clean image, to 1, noise.

    Returns:
        ``(batch, num_features)``.
    """

    def __init__(self, num_features: int = 32, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.num_features = num_features

    def call(self, step: Any) -> Any:
        half = self.num_features // 2
        rates = np.geomspace(1.0, 500.0, half).astype("float32")
        angle = ops.expand_dims(step, -1) * ops.convert_to_tensor(2.0 * np.pi * rates)
        return ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (*shape, self.num_features)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_features": self.num_features}


@keras.saving.register_keras_serializable(package="arcticdl")
class JoinStep(keras.layers.Layer):
    """Puts image, noisy answer and the step, as a band of its own, side by side.

    Call arguments:
        inputs: ``[image (batch, y, x, band), noisy (batch, y, x, 1), step (batch,)]``.

    Returns:
        ``(batch, y, x, band + 2)``.
    """

    def call(self, inputs: list[Any]) -> Any:
        image, noisy, step = inputs
        noisy, step = ops.cast(noisy, image.dtype), ops.cast(step, image.dtype)
        everywhere = ops.ones_like(noisy) * ops.reshape(step, (-1, 1, 1, 1))
        return ops.concatenate([image, noisy, everywhere], axis=-1)

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        return (*shapes[0][:-1], int(shapes[0][-1] or 0) + 2)


@keras.saving.register_keras_serializable(package="arcticdl")
class Modulate(keras.layers.Layer):
    """Scales and shifts the channels of features by what is told of the step.

    Perez et al. 2018 (arXiv:1709.07871). It begins by changing nothing.

    Call arguments:
        inputs: ``[features (batch, y, x, channel), told (batch, feature)]``.
    """

    def build(self, shapes: list[Shape]) -> None:
        channels = int(shapes[0][-1] or 0)
        self.dense = keras.layers.Dense(
            2 * channels, kernel_initializer="zeros", dtype=self.dtype_policy
        )
        self.dense.build(shapes[1])

    def call(self, inputs: list[Any]) -> Any:
        features, told = inputs
        gain, shift = ops.split(self.dense(told)[:, None, None], 2, axis=-1)
        return features * (1.0 + gain) + shift

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        return shapes[0]


@keras.saving.register_keras_serializable(package="arcticdl")
class SampleMembers(keras.layers.Layer):
    """Draws an ensemble of images by DDIM (Song et al. 2021, arXiv:2010.02502).

    Noise becomes an image in a few steps that are themselves without chance, so that
    a member is a function of image and noise. The noise is a weight of the layer: it is
    saved with the network, and the same image gives the same members, to the bit. It
    repeats every `period_px` pixels, so that windows which begin that far apart agree
    about what they share.

    Args:
        denoiser: Model from ``{"image", "noisy", "step"}`` to velocities.
        num_members: Members.
        num_steps: Steps of the schedule that the denoiser was trained with.
        sampling_steps: How often the denoiser is asked, at most `num_steps`.
        period_px: Side of the field of noise.
        seed: Of the noise.
        **kwargs: Keras layer arguments.

    Call arguments:
        image: ``(batch, y, x, band)``.

    Returns:
        ``(batch, y, x, member)`` float32.

    Raises:
        ValueError: More sampling steps than the schedule has.
    """

    def __init__(
        self,
        denoiser: keras.Model,
        *,
        num_members: int = 8,
        num_steps: int = 1000,
        sampling_steps: int = 20,
        period_px: int = 48,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.denoiser = denoiser
        self.num_members, self.num_steps = num_members, num_steps
        self.sampling_steps, self.period_px = sampling_steps, period_px
        self.seed = seed
        self._steps = sampled_steps(num_steps, sampling_steps)

    def build(self, shape: Shape) -> None:
        self.noise = self.add_weight(
            shape=(self.period_px, self.period_px, self.num_members),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
            trainable=False,
            name="noise",
        )

    def call(self, image: Any) -> Any:
        rows, cols = ops.shape(image)[1:3]
        noise = ops.take(self.noise, ops.arange(rows) % self.period_px, axis=0)
        noise = ops.take(noise, ops.arange(cols) % self.period_px, axis=1)
        noise = ops.transpose(noise, (2, 0, 1))[None]  # (1, member, y, x)
        noise = noise + ops.zeros_like(image[:, None, :, :, 0])
        return self.draw(image, ops.transpose(noise, (0, 2, 3, 1)))

    def draw(self, image: Any, noise: Any) -> Any:
        """Members that begin as a given noise.

        Args:
            image: ``(batch, y, x, band)``.
            noise: Standard normal, ``(batch, y, x, member)``, of any number of members.

        Returns:
            ``(batch, y, x, member)`` float32.
        """
        batch, rows, cols, members = ops.shape(noise)
        noisy = ops.reshape(ops.transpose(noise, (0, 3, 1, 2)), (-1, rows, cols, 1))
        images = ops.repeat(image, members, axis=0)
        drawn = self._denoise(images, noisy)
        drawn = ops.reshape(drawn, (batch, members, rows, cols))
        return ops.transpose(drawn, (0, 2, 3, 1))

    def _denoise(self, images: Any, noisy: Any) -> Any:
        """From noise to images, step by step in one loop."""
        signals, scales = cosine_schedule(self.num_steps)
        told = self._steps / self.num_steps
        tables = [
            ops.convert_to_tensor(np.asarray(table, "float32"))
            for table in (signals[self._steps], scales[self._steps], told)
        ]
        shape = ops.shape(noisy)

        def step(number: Any, noisy: Any) -> Any:
            signal, scale, place = (ops.take(table, number) for table in tables)
            after = [ops.take(table, number + 1) for table in tables[:2]]
            places = ops.zeros_like(noisy[:, 0, 0, 0]) + place
            asked = {"image": images, "noisy": noisy, "step": places}
            velocity = ops.cast(self.denoiser(asked, training=False), "float32")
            clean = clean_of(noisy, velocity, signal, scale)
            noise = noise_of(noisy, velocity, signal, scale)
            return ops.reshape(after[0] * clean + after[1] * noise, shape)

        return ops.fori_loop(0, self.sampling_steps, step, noisy)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.num_members)

    def get_config(self) -> dict[str, Any]:
        own = {
            "denoiser": keras.saving.serialize_keras_object(self.denoiser),
            "num_members": self.num_members,
            "num_steps": self.num_steps,
            "sampling_steps": self.sampling_steps,
            "period_px": self.period_px,
            "seed": self.seed,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SampleMembers":
        denoiser = keras.saving.deserialize_keras_object(config.pop("denoiser"))
        return cls(denoiser, **config)
