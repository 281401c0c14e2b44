"""The encoders of the package ``segmentation-models``.

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
from collections.abc import Iterator
from typing import Any

import keras
from keras import layers, ops

from arcticdl.models.contracts import Backbone
from arcticdl.models.layers.shapes import Shape

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


def build_sm_encoder(name: str, num_bands: int) -> keras.Model:
    """Builds an encoder of ``segmentation-models`` with levels ``P1`` to ``P5``.

    Args:
        name: One of ``SM_BACKBONES``.
        num_bands: Bands of the image.

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.
    """
    encoder = name.removeprefix(PREFIX)
    with quiet_keras2():
        factory = load_module(
            "segmentation_models.backbones.backbones_factory"
        ).Backbones
        model = factory.get_backbone(
            encoder,
            input_shape=(None, None, num_bands),
            weights=None,
            include_top=False,
            **stand_ins(),
        )
    modernise(model)
    pyramid = {"P5": model.outputs[0]}
    for level, tap in zip(
        (4, 3, 2, 1), factory.get_feature_layers(encoder, n=4), strict=True
    ):
        where = {"index" if isinstance(tap, int) else "name": tap}
        pyramid[f"P{level}"] = model.get_layer(**where).output
    return keras.Model(model.input, pyramid, name="backbone")


SM_ENCODER = Backbone(build_sm_encoder)


def load_module(name: str) -> Any:
    """Imports a module of the package, with ``SM_FRAMEWORK`` set meanwhile.

    Args:
        name: Full name of the module.

    Returns:
        The module; the environment is as it was before.
    """
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
def quiet_keras2() -> Iterator[None]:
    """Silences, within a ``with`` block, what Keras 2 code warns of.

    Yields:
        Nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def stand_ins() -> dict[str, Any]:
    """Returns what the package is given in place of the modules of Keras 2.

    Returns:
        Its keyword arguments ``backend``, ``layers``, ``models`` and ``utils``.
    """
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


def modernise(model: keras.Model) -> None:
    """Puts Keras's own functions and classes in place of the package's, in the layers.

    Args:
        model: A model of the package; it is changed.
    """
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
