"""A network and the codes of its features as one model, which ``fit`` trains."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import keras
from keras import layers, ops

from arcticdl.models.card import model_heads
from arcticdl.models.contrastive.pairs import (
    nt_xent,
    pool_seen,
    seen_images,
    spread,
    told_apart,
)
from arcticdl.models.probe import deepest, find_features, with_features


@keras.saving.register_keras_serializable(package="arcticdl")
class ContrastiveModel(keras.Model):
    """A network that learns to tell two views of one image from those of others.

    Features of the network are averaged over the pixels that are seen, at the coarsest
    level of the backbone and where the head begins, so that all of the network but its
    head learns. Two dense layers of their own make a code of each, which is thrown away
    afterwards (Chen et al. 2020, arXiv:2002.05709). The loss is the mean of ``nt_xent``
    of both codes, plus ``reconstruct`` times the compiled loss of the first views, and
    what layers of the network add, such as penalties of weights.

    Args:
        network: A functional model from ``(batch, y, x, band)`` with one dense head.
        places: Name of features, as of ``find_features`` -> their stride.
        temperature: As for ``nt_xent``.
        size: Numbers of a code.
        reconstruct: Factor of the compiled loss; with 0 the head stays as it is.

    Attributes:
        looking: The graph that runs in training: the network, with the features of
            `places` beside its answer.

    Call arguments:
        inputs: ``{"image": first views, "view": second views}``, both ``(batch, y, x,
            band)``. What comes out is the network's answer to the first ones.

    Raises:
        ValueError: ``temperature`` or ``size`` not above 0, ``reconstruct`` below 0.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        places: Mapping[str, int],
        temperature: float = 0.1,
        size: int = 64,
        reconstruct: float = 0.0,
    ) -> None:
        if not temperature > 0 or size < 1 or reconstruct < 0:
            raise ValueError(
                "`temperature` and `size` must be above 0 and `reconstruct` must not "
                f"be below 0. Received: temperature={temperature}, size={size}, "
                f"reconstruct={reconstruct}."
            )
        super().__init__(name="contrastive")
        self.network, self.places = network, dict(places)
        self.temperature, self.size = temperature, size
        self.reconstruct = reconstruct
        self.looking = with_features(network, list(places), answer=True)
        self.coders = [
            keras.Sequential(
                [
                    layers.Dense(2 * size, activation="relu", dtype="float32"),
                    layers.Dense(size, dtype="float32"),
                ],
                name=f"coder{number}",
            )
            for number in range(len(places))
        ]
        for coder, told in zip(self.coders, self.looking.output.values(), strict=False):
            coder.build((None, told.shape[-1]))
        self._last = SimpleNamespace(codes=[])  # of the call that a loss follows
        names = ("contrast", "told_apart", "spread")
        self.told = {name: keras.metrics.Mean(name=name) for name in names}
        if reconstruct:
            self.told["compiled_loss"] = keras.metrics.Mean(name="compiled_loss")
        self.built = True

    @property
    def outputs(self) -> Any:
        """Those of the network: one."""
        return self.network.outputs

    def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> Any:
        """The answer to the first views; codes of both are kept for the loss."""
        both = ops.concatenate([inputs["image"], inputs["view"]])
        found = self.looking(both, training=training)
        self._last.codes = [
            coder(pool_seen(found[name], both, stride))
            for coder, (name, stride) in zip(
                self.coders, self.places.items(), strict=True
            )
        ]
        return found[""][: ops.shape(inputs["image"])[0]]

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> Any:
        """That of the network's answer."""
        return self.network.compute_output_shape(input_shape["image"])

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of the call before it, whose codes were kept."""
        count = ops.shape(x["image"])[0]
        counts = seen_images(x["image"]) * seen_images(x["view"])
        pairs = [(code[:count], code[count:]) for code in self._last.codes]
        number = x["image"].shape[0]
        penalties = sum(map(ops.sum, self.losses), ops.convert_to_tensor(0.0))
        own = super().compute_loss(x, y, y_pred, sample_weight, training) - penalties
        # With a factor of 0 the head has a gradient all the same, which is 0.
        beside = self.reconstruct * own + penalties
        if number == 1:  # tried alone, such as where a batch had no loss
            return beside
        losses = [
            nt_xent(*pair, temperature=self.temperature, counts=counts)
            for pair in pairs
        ]
        contrast = sum(losses[1:], losses[0]) / len(losses)
        apart = [told_apart(*pair, counts=counts) for pair in pairs]
        spreads = [spread(*pair, counts=counts) for pair in pairs]
        found = {
            "contrast": contrast,
            "told_apart": sum(apart[1:], apart[0]) / len(apart),
            # The least: either code may collapse.
            "spread": ops.min(ops.stack(spreads)),
            "compiled_loss": own,
        }
        # Of fewer than two images nothing was told, which is no score of 0.
        seen = ops.sum(counts)
        weight = ops.where(seen > 1, seen, 0.0)
        for name, metric in self.told.items():
            metric.update_state(ops.stop_gradient(found[name]), sample_weight=weight)
        return contrast + beside

    def get_config(self) -> dict[str, Any]:
        """The network, and what stands beside it."""
        names = ("places", "temperature", "size", "reconstruct")
        told = {name: getattr(self, name) for name in names}
        return {"network": keras.saving.serialize_keras_object(self.network), **told}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "ContrastiveModel":
        """Builds the network anew."""
        network = keras.saving.deserialize_keras_object(
            config["network"], custom_objects
        )
        return cls(**{**config, "network": network})


def build_contrastive(
    network: keras.Model,
    *,
    temperature: float = 0.1,
    size: int = 64,
    reconstruct: float = 0.0,
) -> ContrastiveModel:
    """Puts codes beside a network, by which two views of an image are compared.

    Args:
        network: From ``build_multitask`` or another builder, with one dense head.
        temperature: As for ``nt_xent``.
        size: Numbers of a code.
        reconstruct: Factor of the compiled loss beside the contrast; with 0 the head
            stays as it is.

    Returns:
        What is to be compiled and fitted, on ``{"image", "view"}`` as
        ``training.pair_views`` makes them of a feed. What is to be kept is its
        ``network``, which shares its weights and is a model like any other.

    Raises:
        ValueError: The network has several heads, or none that answers for pixels; or
            as of ``ContrastiveModel``.

    Example:
        >>> from arcticdl.models import build_regressor
        >>> network = build_regressor("plain", num_bands=2,
        ...     backbone_options={"width": 4, "depth": 2},
        ...     decoder_options={"channels": [8, 4]})
        >>> build_contrastive(network).places
        {'backbone/P2': 4, 'decoder_block1_2_act': 1}
    """
    heads = model_heads(network)
    if len(heads) != 1 or len(network.outputs) != 1:
        raise ValueError(
            "`network` must have one head, from whose features images are compared. "
            f"Received: {sorted(heads)}, {len(network.outputs)} outputs."
        )
    if len(network.outputs[0].shape) != 4:
        raise ValueError(
            "`network` must answer for pixels, so that it has a decoder that learns. "
            f"Received: an output {network.output_shape}."
        )
    found = find_features(network)
    last = f"{network.output_names[0]}_conv"
    names = list(found)
    behind = names[names.index(last) - 1] if last in names else names[-1]
    levels = {name: feature for name, feature in found.items() if feature.level}
    places = {name: found[name].stride for name in (deepest(levels or found), behind)}
    return ContrastiveModel(
        network,
        places=places,
        temperature=temperature,
        size=size,
        reconstruct=reconstruct,
    )
