"""Logits scaled after training: a model that knows how sure it may be."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from arcticdl.models.card import get_card, gives_answers, model_outputs, set_card


class Scaling(NamedTuple):
    """What a head's numbers are multiplied by and added to, one a channel.

    Attributes:
        scale: Factors, > 0.
        shift: Summands.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]


@keras.saving.register_keras_serializable(package="arcticdl")
class ScaledLogits(keras.layers.Layer):
    """``scale * x + shift`` along the channels, fitted after training and fixed.

    Args:
        scale: Factor of each channel, > 0.
        shift: Summand of each channel.
        **kwargs: Keras layer arguments.

    Raises:
        ValueError: A factor that is not positive, or another number of summands.
    """

    def __init__(
        self, scale: Sequence[float], shift: Sequence[float], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if len(scale) != len(shift) or not all(factor > 0 for factor in scale):
            raise ValueError(
                "`scale` must be positive, and `shift` as long. "
                f"Received: scale={list(scale)}, shift={list(shift)}."
            )
        self.scale = tuple(map(float, scale))
        self.shift = tuple(map(float, shift))

    def call(self, x: Any) -> Any:
        scale = keras.ops.convert_to_tensor(self.scale, x.dtype)
        return x * scale + keras.ops.convert_to_tensor(self.shift, x.dtype)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def get_config(self) -> dict[str, Any]:
        own = {"scale": list(self.scale), "shift": list(self.shift)}
        return {**super().get_config(), **own}


def scale_logits(model: keras.Model, scalings: Mapping[str, Scaling]) -> keras.Model:
    """Returns a model whose heads answer with scaled logits; weights are shared.

    The scaling is part of the network: whoever predicts, evaluates, exports or joins
    the model needs to know nothing of it. An earlier scaling is replaced.

    Args:
        model: A model of ``arcticdl.models``, whose outputs are logits or values.
        scalings: Name of the head -> scaling; others, and all that it leaves out,
            answer as they were trained.

    Returns:
        The model, uncompiled.

    Raises:
        ValueError: The model's answers are activated already, as those of an ensemble
            are, or it has no such head.

    Example:
        >>> from arcticdl.models import build_segmenter
        >>> model = build_segmenter("plain", num_bands=1, num_classes=2,
        ...                         backbone_options={"width": 4})
        >>> warm = Scaling((0.5, 0.5), (0.0, 0.0))
        >>> scale_logits(model, {"segmentation": warm}).layers[-1].scale
        (0.5, 0.5)
    """
    if gives_answers(model):
        raise ValueError(
            "`model` must answer with logits, which a scaling is of. Received: an "
            "ensemble, which averages probabilities. Calibrate its members."
        )
    tensors = _unscaled(model)
    named = _by_head(model, tensors)
    unknown = sorted(set(scalings) - set(named))
    if unknown:
        raise ValueError(
            f"`scalings` must be of the heads {sorted(named)}. Received: {unknown}."
        )
    outputs = {}
    for (key, tensor), name in zip(tensors.items(), named, strict=True):
        given = scalings.get(name)
        label = f"{name}_scaled".replace("/", "_")
        if given is not None:
            tensor = ScaledLogits(*given, name=label)(tensor)
        outputs[key] = tensor
    single = list(outputs) == [""]
    scaled = keras.Model(
        model.inputs, outputs[""] if single else outputs, name=model.name
    )
    return scaled


def unscaled_logits(model: keras.Model) -> keras.Model:
    """Returns a model that answers as it was trained, without a later scaling.

    Args:
        model: Any functional model.
    """
    return scale_logits(model, {})


def remember_calibration(
    model: keras.Model, about: Mapping[str, Any], heads: Mapping[str, Mapping[str, Any]]
) -> None:
    """Notes in a model's card how it was calibrated.

    Args:
        model: The model, changed in place.
        about: What is noted, under ``calibration``; plain JSON values.
        heads: Name of the head -> what its entry gains or, where ``None``, loses.
    """
    card = dict(get_card(model) or {})
    entries = {name: dict(entry) for name, entry in card["heads"].items()}
    for name, changes in heads.items():
        entry = entries[name] | dict(changes)
        entries[name] = {key: v for key, v in entry.items() if v is not None}
    set_card(model, card | {"calibration": dict(about), "heads": entries})


def _unscaled(model: keras.Model) -> dict[str, Any]:
    """The outputs before a scaling, by their keys."""
    inner = {
        id(layer.output): layer.input
        for layer in model.layers
        if isinstance(layer, ScaledLogits)
    }
    return {k: inner.get(id(t), t) for k, t in model_outputs(model).items()}


def _by_head(model: keras.Model, tensors: Mapping[str, Any]) -> list[str]:
    """Names of the heads of outputs, in their order."""
    entries = list((get_card(model) or {}).get("heads") or ())
    if list(tensors) == [""]:
        return entries[:1] or ["segmentation"]
    return list(tensors)
