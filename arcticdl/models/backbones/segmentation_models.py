"""The encoders and whole models of the package ``segmentation-models``.

The package (last release 2020) was written for Keras 2. It is imported here only, with
its framework set to ``tf.keras`` for that moment, and is handed stand-ins for the
Keras modules that it asks for, so that what comes out are plain Keras 3 models: no
Lambda layers, no functions of another package, files that load without it. They run on
every Keras backend, but the package itself needs TensorFlow installed.
"""

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import layers, ops

from arcticdl.choices import choose
from arcticdl.models.card import Card
from arcticdl.models.layers.shapes import CropLike, PadToStride, Shape

PREFIX = "sm_"
ENCODERS: tuple[str, ...] = (
    "densenet121",
    "densenet169",
    "densenet201",
    "efficientnetb0",
    "efficientnetb1",
    "efficientnetb2",
    "efficientnetb3",
    "efficientnetb4",
    "efficientnetb5",
    "efficientnetb6",
    "inceptionresnetv2",
    "inceptionv3",
    "mobilenet",
    "mobilenetv2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet101",
    "seresnet152",
    "seresnext50",
    "vgg16",
    "vgg19",
)
"""The package's encoders, but for efficientnetb7, resnext101, seresnext101 and
senet154: of up to 7,000 layers, they take longer to build than to be useful."""

SM_BACKBONES = tuple(PREFIX + name for name in ENCODERS)
"""Names in ``BACKBONES`` of the package's encoders."""

ARCHITECTURES: dict[str, tuple[str, int]] = {
    "FPN": ("segmentation_models.models.fpn", 32),
    "Linknet": ("segmentation_models.models.linknet", 32),
    "PSPNet": ("segmentation_models.models.pspnet", 48),
    "Unet": ("segmentation_models.models.unet", 32),
}
"""The package's models: module, and the number of which sizes must be multiples."""


def build_sm_encoder(name: str, num_bands: int) -> keras.Model:
    """Builds an encoder of ``segmentation-models`` with levels ``P1`` to ``P5``.

    Args:
        name: One of ``SM_BACKBONES``.
        num_bands: Bands of the image.

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.
    """
    encoder = name.removeprefix(PREFIX)
    with _quiet_keras2():
        factory = _module("segmentation_models.backbones.backbones_factory").Backbones
        model = factory.get_backbone(
            encoder,
            input_shape=(None, None, num_bands),
            weights=None,
            include_top=False,
            **_stand_ins(),
        )
    _modernise(model)
    pyramid = {"P5": model.outputs[0]}
    for level, tap in zip(
        (4, 3, 2, 1), factory.get_feature_layers(encoder, n=4), strict=True
    ):
        where = {"index" if isinstance(tap, int) else "name": tap}
        pyramid[f"P{level}"] = model.get_layer(**where).output
    return keras.Model(model.input, pyramid, name="backbone")


def from_segmentation_models(
    architecture: str,
    backbone: str,
    *,
    num_classes: int,
    num_bands: int | None = None,
    bands: Sequence[str] | None = None,
    weights: str | None = None,
    adapter: str = "by_band",
    card: dict[str, Any] | None = None,
    input_size: tuple[int, int] | None = None,
    name: str = "segmentation",
    **options: Any,
) -> keras.Model:
    """Wraps a whole model of ``segmentation-models`` for any bands and any size.

    Args:
        architecture: One of ``ARCHITECTURES``.
        backbone: One of ``ENCODERS``.
        num_classes: Classes, without void.
        num_bands: Bands of the image; or give ``bands``.
        bands: Their names, in the order of the image's last axis.
        weights: ``"imagenet"``, which the package fetches, adapted to the bands; or
            ``None``.
        adapter: One of ``arcticdl.models.weights.adapter.MODES`` but ``project_1x1``.
        card: JSON dict that the model shall carry.
        input_size: Height and width in pixels. ``PSPNet`` needs it.
        name: Name of the output.
        **options: The package's own, such as ``decoder_filters=(128, 64, 32, 16, 8)``.

    Returns:
        Model from ``(batch, y, x, band)`` to float32 logits ``(batch, y, x, class)``.

    Raises:
        ValueError: Unknown names or weights, no bands, ``PSPNet`` without
            ``input_size``.

    Example:
        >>> model = from_segmentation_models(
        ...     "Linknet", "mobilenet", num_bands=7, num_classes=3)
        >>> model.output_shape
        (None, None, None, 3)
    """
    from arcticdl.models.build import resolve_num_bands

    module, stride = choose("architecture", architecture, ARCHITECTURES)
    choose("backbone", backbone, dict.fromkeys(ENCODERS))
    count = resolve_num_bands(num_bands, bands, card)
    if weights not in (None, "imagenet"):
        raise ValueError(
            "`weights` must be 'imagenet' or None; load other weights into the model. "
            f"Received: weights={weights!r}."
        )
    if architecture == "PSPNet" and input_size is None:
        raise ValueError(
            "`input_size` must be given for PSPNet, whose pooling is of fixed size. "
            "Received: input_size=None. `build_segmenter` has a PSPNet of any size."
        )
    size: tuple[int | None, ...] = (None, None)
    if input_size is not None:
        size = tuple(side + (-side) % stride for side in input_size)
    arguments = {"classes": num_classes, "activation": "linear", **options}

    def build(channels: int, encoder_weights: str | None) -> keras.Model:
        with _quiet_keras2():
            model = getattr(_module(module), architecture)(
                backbone,
                input_shape=(*size, channels),
                encoder_weights=encoder_weights,
                **arguments,
                **_stand_ins(),
            )
        _modernise(model)
        return model

    network = build(count, None)
    if weights is not None:
        _adapt(build(3, weights), network, list(bands) if bands else count, adapter)
    image = keras.Input((*(input_size or (None, None)), count), name="image")
    x = PadToStride(stride, name="pad")(Card(card, name="card")(image))
    x = layers.Activation("linear", dtype="float32", name="logits")(network(x))
    x = CropLike(dtype="float32", name=name)([x, image])
    return keras.Model(image, x, name=f"{architecture.lower()}_{backbone}")


def _adapt(source: keras.Model, target: keras.Model, bands: Any, mode: str) -> None:
    from arcticdl.models.weights.adapter import copy_weights
    from arcticdl.models.weights.bands import RGB

    copy_weights(source, target, RGB, bands, mode)


def _module(name: str) -> Any:
    """Imports a module of the package; ``SM_FRAMEWORK`` is set meanwhile only."""
    before = os.environ.get("SM_FRAMEWORK")
    os.environ["SM_FRAMEWORK"] = "tf.keras"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(name)
    finally:
        if before is None:
            del os.environ["SM_FRAMEWORK"]
        else:
            os.environ["SM_FRAMEWORK"] = before


@contextlib.contextmanager
def _quiet_keras2() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _stand_ins() -> dict[str, Any]:
    return {
        "backend": _Backend(),
        "layers": _Layers(),
        "models": keras.models,
        "utils": keras.utils,
    }


class _Backend:
    """The functions of Keras 2's backend that the package calls, on ``keras.ops``."""

    image_data_format = staticmethod(keras.config.image_data_format)
    backend = staticmethod(keras.config.backend)
    is_keras_tensor = staticmethod(keras.utils.is_keras_tensor)
    sigmoid = staticmethod(ops.sigmoid)
    shape = staticmethod(ops.shape)

    @staticmethod
    def int_shape(x: Any) -> tuple[int | None, ...]:
        return tuple(x.shape)


class _Renaming(type):
    """Class of stand-ins for layers: Keras 3 takes no ``/`` in names."""

    layer: type

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if "/" in (kwargs.get("name") or ""):
            kwargs["name"] = kwargs["name"].replace("/", "_")
        return cls.layer(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.layer)


class _Layers:
    """``keras.layers`` with names that Keras 3 takes, and layers in place of Lambda."""

    def __getattr__(self, name: str) -> Any:
        layer = getattr(layers, name)
        if not isinstance(layer, type) or name == "Dropout":
            return layer
        return _Renaming(name, (), {"layer": layer})

    @staticmethod
    def Lambda(function: Any, arguments: dict[str, Any], **kwargs: Any) -> Any:
        """Finds the layer of ours that does what the function does."""
        name = kwargs.get("name")
        if "scale" in arguments:
            return ScaledSum(arguments["scale"], name=name)
        if "start" in arguments:
            return ChannelSlice(arguments["start"], arguments["stop"], name=name)
        return layers.Reshape((1, 1, -1), name=name)


def _modernise(model: keras.Model) -> None:
    """Puts Keras's own functions and classes in place of the package's."""
    for layer in model.layers:
        function = getattr(getattr(layer, "activation", None), "__name__", "")
        if function == "swish":
            layer.activation = keras.activations.silu
        if type(layer).__name__ == "FixedDropout":
            # Its one method repairs Keras 2; the file must not ask for its class.
            layer.__class__ = layers.Dropout


@keras.saving.register_keras_serializable(package="arcticdl")
class ScaledSum(layers.Layer):
    """Adds a second tensor times a factor to the first.

    Args:
        scale: The factor.
        **kwargs: Keras layer arguments.
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs: list[Any]) -> Any:
        return inputs[0] + inputs[1] * self.scale

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="arcticdl")
class ChannelSlice(layers.Layer):
    """Takes the channels from ``start`` up to, not including, ``stop``.

    Args:
        start: First channel.
        stop: The one after the last.
        **kwargs: Keras layer arguments.
    """

    def __init__(self, start: int, stop: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start, self.stop = start, stop

    def call(self, x: Any) -> Any:
        return x[..., self.start : self.stop]

    def compute_output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.stop - self.start)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start, "stop": self.stop}
