"""The laws that every backbone and every segmenter keeps."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from arcticdl.models.contracts import pyramid_levels


def check_backbone(
    backbone: keras.Model, *, size: tuple[int, int] = (64, 96), seed: int = 0
) -> None:
    """Checks that a model is a backbone: an image in, a pyramid out.

    - The output is a dict of consecutive levels whose coarsest has at least stride 8.
    - ``Pk`` has the image's size divided by ``2**k``, its channels are known when it
      is built, and its values are finite and not all equal.
    - A file of it gives the same features, to the bit.

    Args:
        backbone: Model from ``(batch, y, x, band)`` to ``{"P1": ..., "P5": ...}``.
        size: Height and width of the test image, multiples of the coarsest stride.
        seed: Seed of the test image.

    Raises:
        AssertionError: A law is broken; the message says which.

    Example:
        >>> from arcticdl.models import build_backbone
        >>> check_backbone(build_backbone("plain", 2, width=2, depth=3))
    """
    pyramid = backbone.output
    assert isinstance(pyramid, dict), f"the output must be a dict, not {type(pyramid)}"
    levels = pyramid_levels(pyramid)
    assert levels == list(range(levels[0], levels[-1] + 1)), f"a level lacks: {levels}"
    assert levels[-1] >= 3, f"the coarsest level must be at least P3, not {levels[-1]}"
    image = _image(backbone.input_shape[-1], size, seed)
    features = _outputs(backbone, image)
    for level in levels:
        feature = features[f"P{level}"]
        channels = pyramid[f"P{level}"].shape[-1]
        expected = (1, size[0] // 2**level, size[1] // 2**level, channels)
        assert feature.shape == expected, f"P{level}: {feature.shape}, not {expected}"
        assert np.isfinite(feature).all(), f"P{level} is not finite"
        assert np.ptp(feature) > 0, f"P{level} is constant"
    _check_reloads(backbone, image, features)


def check_segmenter(
    model: keras.Model,
    num_classes: int,
    *,
    size: tuple[int, int] = (37, 50),
    seed: int = 0,
) -> None:
    """Checks that a model gives class logits of the image's size, and survives saving.

    - An image of any size gives finite float32 logits of that size.
    - A file of it gives the same logits, to the bit.
    - Each weight that can be trained has a gradient (on TensorFlow).

    Args:
        model: Model from ``(batch, y, x, band)`` to ``(batch, y, x, class)``.
        num_classes: Its classes.
        size: Height and width of the test image, better no multiples of a stride.
        seed: Seed of the test image.

    Raises:
        AssertionError: A law is broken; the message says which.
    """
    image = _image(model.input_shape[-1], size, seed)
    outputs = _outputs(model, image)
    logits = outputs["output"]
    expected = (1, *size, num_classes)
    assert logits.shape == expected, f"logits: {logits.shape}, not {expected}"
    assert logits.dtype == np.float32, f"logits must be float32, not {logits.dtype}"
    assert np.isfinite(logits).all(), "the logits are not finite"
    _check_reloads(model, image, outputs)
    if keras.backend.backend() == "tensorflow":
        _check_gradients(model, image)


def _image(num_bands: int, size: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1, *size, num_bands)).astype("float32")


def _outputs(model: keras.Model, image: np.ndarray) -> dict[str, np.ndarray]:
    outputs: Any = model(image, training=False)
    named = outputs if isinstance(outputs, dict) else {"output": outputs}
    return {name: ops.convert_to_numpy(x) for name, x in named.items()}


def _check_reloads(
    model: keras.Model, image: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        found = _outputs(keras.saving.load_model(path), image)
    for name, values in expected.items():
        same = np.array_equal(found[name], values)
        assert same, f"{name} differs after saving and loading"


def _check_gradients(model: keras.Model, image: np.ndarray) -> None:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = ops.mean(ops.square(model(image, training=True)))
    variables = model.trainable_variables
    gradients = tape.gradient(value, [variable.value for variable in variables])
    without = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
    assert not without, f"no gradient reaches {without}"
