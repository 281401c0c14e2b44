"""Networks as LiteRT, formerly TensorFlow Lite, for one image of a fixed size."""

import warnings
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def write_litert(
    whole: keras.Model, names: list[str], example: NDArray[np.float32]
) -> tuple[bytes, list[NDArray[Any]]]:
    """Converts a network, and runs what it became once.

    Only LiteRT's own operations are used, so that its plain interpreter runs the file.

    Args:
        whole: From source units to answers, one or a dictionary.
        names: Of its answers, in the order of their flat list.
        example: The image ``(1, y, x, band)`` whose shape the file takes.

    Returns:
        The file, and its answers to the example in the order of the names.

    Raises:
        ValueError: An operation of the network has no counterpart.
    """
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    spec = tf.TensorSpec(example.shape, tf.float32, name="image")
    traced = tf.function(
        lambda image: keras.tree.flatten(whole(image, training=False)),
        input_signature=[spec],
    )
    outer = tf.Module()
    try:
        # Weights that stay variables are lost: every answer would be NaN.
        frozen = convert_to_constants.convert_variables_to_constants_v2(
            traced.get_concrete_function()
        )
        outer.serve = tf.function(
            lambda image: dict(zip(names, frozen(image), strict=True)),
            input_signature=[spec],
        )
        serve = outer.serve.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve], outer)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it will move elsewhere
            runner = tf.lite.Interpreter(model_content=content).get_signature_runner()
        answers = runner(image=example)
        return content, [answers[name] for name in names]
    except Exception as error:  # the converter's have no common class
        raise ValueError(
            "This network has no LiteRT form that its interpreter runs; export ONNX "
            f"or a SavedModel instead. ({str(error).strip()[:300]})"
        ) from error
