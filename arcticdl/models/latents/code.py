"""The code of an autoencoder: few numbers a place, from which the image is rebuilt.

Nodata is never coded: a place of which no pixel is seen holds zeros, and takes no part
in what the code adds to the loss.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
from keras import layers, ops

from arcticdl.choices import choose
from arcticdl.models.contracts import Decoder, Pyramid, pyramid_levels
from arcticdl.models.decoders.table import DECODERS
from arcticdl.models.heads import HeadSpec
from arcticdl.models.layers.answers import LOG_VARIANCE_RANGE
from arcticdl.models.layers.shapes import PadToStride, Shape
from arcticdl.models.options import Latent, Series

NAME = "latent"
"""Name of the layer that gives the code."""

_LEAST = 1e-6  # of a rate, whose logarithm is taken


def gaussian_kl(mean: Any, log_variance: Any) -> Any:
    """Divergence of a Gaussian from the standard normal one, in nat.

    Args:
        mean: ``(..., feature)``.
        log_variance: Logarithms of its variances, likewise.

    Returns:
        The sum over features, ``(...)``, never negative.

    Example:
        >>> zeros = ops.zeros((1, 2))
        >>> float(gaussian_kl(zeros, zeros)[0]), float(gaussian_kl(zeros + 1, zeros)[0])
        (0.0, 1.0)

    Reference:
        Kingma and Welling 2014, arXiv:1312.6114, appendix B.
    """
    parts = ops.exp(log_variance) + ops.square(mean) - 1.0 - log_variance
    return 0.5 * ops.sum(parts, axis=-1)


def bernoulli_kl(rate: float, found: Any) -> Any:
    """Divergence of activations from a rate at which they shall be on, in nat.

    Args:
        rate: The rate that is wanted, in (0, 1).
        found: Mean activations, in [0, 1], of any shape.

    Returns:
        The divergence of each, never negative.

    Example:
        >>> [round(float(bernoulli_kl(0.5, found)), 4) for found in (0.5, 0.1)]
        [0.0, 0.5108]
    """
    found = ops.clip(ops.convert_to_tensor(found), _LEAST, 1.0 - _LEAST)
    on = rate * (ops.log(rate) - ops.log(found))
    return on + (1.0 - rate) * (ops.log(1.0 - rate) - ops.log(1.0 - found))


@keras.saving.register_keras_serializable(package="arcticdl")
class SeenPlaces(layers.Layer):
    """Tells which places of a code show anything: 1, or 0 where all pixels are 0.

    Zero in every band is what a feed, and padding, give to pixels without data.

    Args:
        stride: Pixels of the image by a place, each way.
        **kwargs: Keras layer arguments.

    Call arguments:
        image: ``(batch, y, x, band)``, sizes multiples of the stride.
    """

    def __init__(self, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, image: Any) -> Any:
        seen = ops.any(ops.not_equal(image, 0), axis=-1, keepdims=True)
        return ops.max_pool(ops.cast(seen, "float32"), self.stride, self.stride)

    def compute_output_shape(self, shape: Shape) -> Shape:
        rows, columns = (None if n is None else n // self.stride for n in shape[1:3])
        return (shape[0], rows, columns, 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable(package="arcticdl")
class LatentCode(layers.Layer):
    """Makes a code of features, and adds to the loss what its kind asks for.

    ``plain``
        The features as they are.
    ``variational``
        Half of the features are means, half logarithms of variances. In training a code
        is drawn, else it is the mean. The loss gets the divergence from a standard
        normal distribution, summed over a place and divided by ``num_numbers``.
    ``sparse_l1``
        The features; the loss gets their mean absolute value.
    ``sparse_kl``
        Their sigmoid; the loss gets the mean divergence of how often each is on from
        ``rate`` (Ng 2011, Sparse autoencoder, CS294A lecture notes).

    What is added is multiplied by ``weight``, and in training by a share that grows
    from 0 to 1 over the first ``warmup_steps`` batches (Bowman et al. 2016,
    doi:10.18653/v1/K16-1002). They are counted by a weight of the layer, which
    checkpoints keep. The loss of a validation holds all of it from the start, so that
    its epochs can be compared.

    Args:
        kind: One of ``models.options.LATENTS``.
        weight: Factor of what is added to the loss.
        warmup_steps: Batches over which it grows; 0: it is whole from the start.
        rate: Of ``sparse_kl``.
        num_numbers: Numbers of the image that a place stands for.
        seed: Of the codes that are drawn.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: ``[x, seen]``: features ``(batch, y, x, feature)``, and which places are
            seen ``(batch, y, x, 1)``.
    """

    def __init__(
        self,
        kind: str = "plain",
        weight: float = 1.0,
        warmup_steps: int = 0,
        rate: float = 0.05,
        num_numbers: int = 1,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind, self.weight, self.warmup_steps = kind, weight, warmup_steps
        self.rate, self.num_numbers, self.seed = rate, num_numbers, seed
        if kind == "variational":
            self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, shapes: list[Shape]) -> None:
        if self.warmup_steps:
            self.steps = self.add_weight(
                shape=(), initializer="zeros", trainable=False, name="steps"
            )

    def call(self, inputs: list[Any], training: bool | None = None) -> Any:
        x, seen = inputs
        drawn = x
        if self.kind == "variational":
            mean, log_variance = ops.split(x, 2, axis=-1)
            log_variance = ops.clip(log_variance, *LOG_VARIANCE_RANGE)
            drawn = mean
            if training:
                noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
                drawn = mean + ops.exp(0.5 * log_variance) * noise
            places = gaussian_kl(mean, log_variance)[..., None] / self.num_numbers
            self._add(_mean_seen(places, seen), training)
        elif self.kind == "sparse_l1":
            self._add(_mean_seen(ops.abs(x), seen), training)
        elif self.kind == "sparse_kl":
            drawn = ops.sigmoid(x)
            found = ops.sum(drawn * seen, axis=(0, 1, 2))
            found = found / ops.maximum(ops.sum(seen), 1.0)
            any_seen = ops.cast(ops.any(seen > 0), "float32")
            self._add(any_seen * ops.mean(bernoulli_kl(self.rate, found)), training)
        return drawn * seen

    def _add(self, term: Any, training: bool | None) -> None:
        """Adds a term to the loss, at its share."""
        share: Any = self.weight
        if self.warmup_steps and training:
            share = share * ops.minimum(self.steps / self.warmup_steps, 1.0)
            self.steps.assign_add(1.0)
        self.add_loss(share * term)

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        *places, features = shapes[0]
        halves = 2 if self.kind == "variational" else 1
        return (*places, None if features is None else features // halves)

    def get_config(self) -> dict[str, Any]:
        own = ("kind", "weight", "warmup_steps", "rate", "num_numbers", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _mean_seen(values: Any, seen: Any) -> Any:
    """Mean of values (batch, y, x, feature) over the places that are seen."""
    count = ops.maximum(ops.sum(seen), 1.0) * values.shape[-1]
    return ops.sum(values * seen) / count


def coarsest_alone(decoder: str | None) -> Decoder | None:
    """A decoder that is given the coarsest level, with no way around the code."""
    if decoder is None:
        return None
    return replace(choose("decoder", decoder, DECODERS), levels=lambda all_: all_[-1:])


def describe_code(
    latent: Latent | None, stride: int, series: Series, specs: Sequence[HeadSpec]
) -> dict[str, Any]:
    """What a card says of a code; nothing where there is none.

    Args:
        latent: What the code is, or ``None``.
        stride: Pixels by a place.
        series: Of the network.
        specs: Its heads.

    Raises:
        ValueError: The images are series, or the network has another head than one of
            values of pixels.
    """
    if latent is None:
        return {}
    if series != Series():
        raise ValueError(
            "`latent` is of single images. Received: a series besides "
            f"(fusion={series.fusion!r}, leads={series.leads!r})."
        )
    kinds = [spec.head.spec.kind for spec in specs]
    if kinds != ["values"] or not specs[0].dense:
        raise ValueError(
            "`latent` needs one head, which rebuilds values of pixels "
            "(task 'dense_regression'). Received: tasks "
            f"{[spec.head.task for spec in specs]}."
        )
    return {"latent": {"size": latent.size, "kind": latent.kind, "stride": stride}}


def add_code(features: Pyramid, image: Any, latent: Latent) -> Pyramid:
    """Puts a code in place of the one level of a pyramid.

    Args:
        features: The coarsest level of a backbone, alone.
        image: What the backbone has seen, for its size and its nodata.
        latent: What the code is.

    Returns:
        The code as that level.

    Raises:
        ValueError: The code would have more numbers than the image.
    """
    (level,) = pyramid_levels(features)
    stride, bands = 2**level, int(image.shape[-1])
    num_numbers = bands * stride**2
    if latent.size > num_numbers:
        raise ValueError(
            "`latent.size` must not be larger than the input: a place of the code "
            f"stands for {stride} x {stride} pixels of {bands} bands, "
            f"{num_numbers} numbers. Received: latent.size={latent.size}."
        )
    wide = latent.size * (2 if latent.kind == "variational" else 1)
    x = layers.Conv2D(wide, 1, dtype="float32", name=f"{NAME}_conv")(
        features[f"P{level}"]
    )
    padded = PadToStride(stride, name=f"{NAME}_pad")(image)
    seen = SeenPlaces(stride, dtype="float32", name=f"{NAME}_seen")(padded)
    code = LatentCode(
        latent.kind,
        weight=latent.weight,
        warmup_steps=latent.warmup_steps,
        rate=latent.rate,
        num_numbers=num_numbers,
        dtype="float32",
        name=NAME,
    )([x, seen])
    return {f"P{level}": code}
