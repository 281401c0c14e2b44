"""Networks looked into: layers shown and shifted, dropout that stays in prediction.

Each function builds a second graph over the layers of a model, whose weights it shares;
the model itself stays as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
from keras import layers

from arcticdl.models.card import model_outputs

_LARGE_PX = 1024  # a multiple of any stride
_DROPOUTS = (layers.Dropout, layers.GaussianDropout, layers.AlphaDropout)


class Feature(NamedTuple):
    """A place in a network that answers with a picture of features.

    Attributes:
        layer: Name of the layer.
        level: Key of the output, of a backbone that gives several; else empty.
        stride: Pixels of the (padded) image by one of the features.
        channels: Number of features.
    """

    layer: str
    level: str
    stride: int
    channels: int


def find_features(model: keras.Model) -> dict[str, Feature]:
    """Lists where a network can be looked into, from the input to the heads.

    Args:
        model: A functional model from ``(batch, y, x, band)``.

    Returns:
        Name -> place: ``"backbone/P5"`` of a backbone's level, and the names of further
        layers with weights that give ``(batch, y, x, channel)``, but for the outputs.

    Raises:
        ValueError: None, as in an ensemble, whose members each have their own.

    Example:
        >>> from arcticdl.models import build_segmenter
        >>> model = build_segmenter("plain", num_bands=2, num_classes=3,
        ...                         backbone_options={"width": 4, "depth": 2},
        ...                         decoder_options={"channels": [8, 4]})
        >>> found = find_features(model)
        >>> list(found)[:2], found["backbone/P2"].stride
        (['backbone/P0', 'backbone/P1'], 4)
    """
    whole, tensors = _watched(model)
    found = {
        name: Feature(*_place(name), stride, tensors[name].shape[-1])
        for name, stride in _strides(whole, tensors).items()
    }
    if not found:
        raise ValueError(
            "Only a network with layers of its own between input and answer can be "
            f"looked into. Received: {model.name!r} with "
            f"{[layer.name for layer in model.layers][:6]}; of an ensemble take a "
            "member (--fold K)."
        )
    return found


def deepest(found: Mapping[str, Feature]) -> str:
    """Name of the coarsest features; of several the last, where the decoder begins."""
    most = max(feature.stride for feature in found.values())
    return [name for name, feature in found.items() if feature.stride == most][-1]


def coarsest_px(model: keras.Model) -> int:
    """Pixels between what a network sees one by one where it sees least finely.

    Args:
        model: As for `find_features`.

    Returns:
        The largest stride of its features; or the side of the cells of a layer that
        lays an image out in them (its attribute ``cell_px``), where that is more.
    """
    strides = [feature.stride for feature in find_features(model).values()]
    cells = [getattr(layer, "cell_px", 1) for layer in model._flatten_layers()]
    return int(max(*strides, *cells))


def with_features(
    model: keras.Model, names: list[str], *, answer: bool = False
) -> keras.Model:
    """A model of the same input that answers with features.

    Args:
        model: As for `find_features`.
        names: Some of its names.
        answer: Whether the answer of a model with one output is there as well, by the
            name ``""``.

    Returns:
        Model to a dict of float32 ``(batch, y, x, channel)`` by name.
    """
    whole, tensors = _watched(model)
    own = {"": whole.output} if answer else {}
    return keras.Model(whole.input, {name: tensors[name] for name in names} | own)


def with_hook(model: keras.Model, feature: Feature) -> tuple[keras.Model, "Hook"]:
    """A model whose features at one place are seen, and can be moved, at each call.

    The gradient of an answer with respect to a shift of zero is that with respect to
    the features themselves, on any backend.

    Args:
        model: As for `find_features`.
        feature: The place.

    Returns:
        A model of the same inputs and outputs, and its hook.
    """
    hook = Hook(name="hook")

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        found = layer(*args, **kwargs)
        if layer.name != feature.layer:
            return found
        if feature.level:
            return {**found, feature.level: hook(found[feature.level])}
        return hook(found)

    return _cloned(model, lambda layer: layer, call), hook


class Hook(layers.Layer):
    """Adds a shift to what goes through, and remembers what went through.

    Attributes:
        shift: Tensor to add, or ``None``.
        seen: The features of the last call, before the shift.
    """

    shift: Any = None
    seen: Any = None

    def call(self, x: Any) -> Any:
        self.seen = x
        return x if self.shift is None else x + self.shift

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def with_dropout(model: keras.Model, seed: int = 0) -> tuple[keras.Model, list[Any]]:
    """A model that drops in prediction as in training, and nothing else does.

    Norms keep their running statistics. Layers of `keras.layers` are meant wherever
    they stand in the graph, in nested models as well; the inner dropout of a layer,
    such as that of attention, stays off.

    Args:
        model: A Keras model.
        seed: Of the masks.

    Returns:
        The model, and the generators of its masks in order. Their states may be set
        before a call, so that it draws the same masks again.

    Raises:
        ValueError: The network has no such layer, or all their rates are 0.
    """
    drawn: list[Any] = []

    def renew(layer: Any) -> Any:
        if isinstance(layer, keras.Model) and hasattr(layer, "inputs"):
            return _cloned(layer, renew, _called)
        if isinstance(layer, _DROPOUTS) and layer.rate > 0:
            config = {**layer.get_config(), "seed": seed + len(drawn)}
            inner = type(layer).from_config(config)
            drawn.append(inner.seed_generator)
            return StaysOn(inner, name=layer.name)
        return layer

    dropping = _cloned(model, renew, _called)
    if not drawn:
        raise ValueError(
            "Monte Carlo dropout needs a network with dropout. Received: "
            f"{model.name!r} without a dropout layer of a rate above 0. Train one "
            "with `model.options.regularization: {dropout: 0.1}`."
        )
    return dropping, drawn


class StaysOn(layers.Layer):
    """A dropout layer that drops, whatever its model is told of training.

    A graph hands on to its layers whether it trains, above what the call of one layer
    says, so this takes another layer.

    Args:
        inner: The layer.
        **kwargs: Keras layer arguments.
    """

    def __init__(self, inner: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x: Any) -> Any:
        return self.inner(x, training=True)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def _called(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return layer(*args, **kwargs)


def _cloned(
    model: keras.Model, renew: Callable[[Any], Any], call: Callable[..., Any]
) -> keras.Model:
    """A model's graph run anew over layers that may be replaced."""
    made: dict[int, Any] = {}

    def kept(layer: Any) -> Any:  # one new layer each, however often it is called
        if id(layer) not in made:
            made[id(layer)] = renew(layer)
        return made[id(layer)]

    tensors = model_outputs(model)
    single = list(tensors) == [""]
    # Of its own, so that no compile settings are taken over.
    plain = keras.Model(
        model.input, tensors[""] if single else tensors, name=model.name
    )
    return keras.models.clone_model(plain, clone_function=kept, call_function=call)


def _watched(model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
    """A copy of a model's graph, and the features within it by name."""
    seen: dict[str, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        found = layer(*args, **kwargs)
        if layer.weights or isinstance(layer, layers.Activation):
            levels = found if isinstance(found, Mapping) else {"": found}
            for level, tensor in levels.items():
                seen[f"{layer.name}/{level}" if level else layer.name] = tensor
        return found

    whole = _cloned(model, lambda layer: layer, call)
    answers = {id(tensor) for tensor in model_outputs(whole).values()}
    return whole, {
        name: tensor
        for name, tensor in seen.items()
        if len(tensor.shape) == 4 and id(tensor) not in answers
    }


def _strides(model: keras.Model, tensors: Mapping[str, Any]) -> dict[str, int]:
    """Pixels of the image by one of each tensor's, from the shapes of a large one."""
    if not tensors:
        return {}
    rows, columns, bands = model.inputs[0].shape[1:]
    shape = (1, rows or _LARGE_PX, columns or _LARGE_PX, bands)
    shapes = keras.Model(model.input, dict(tensors)).compute_output_shape(shape)
    return {name: max(1, round(shape[1] / told[1])) for name, told in shapes.items()}


def _place(name: str) -> tuple[str, str]:
    layer, _, level = name.partition("/")
    return layer, level
