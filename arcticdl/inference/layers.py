"""Layers around a network: from source units, and to what its answers mean.

They are saved in exported networks and in ensembles; ``inference.load_model`` knows
them.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from arcticdl.tasks import FORMS
from arcticdl.tiles.normalize import DB_FLOOR
from arcticdl.void import SHOWN


@keras.saving.register_keras_serializable(package="arcticdl")
class ReadAnswer(keras.layers.Layer):
    """Turns what a head gives into what it means: probabilities, means, variances.

    Args:
        kind: Form of the answer, one of ``arcticdl.tasks.FORMS``.
        **kwargs: Keras layer arguments.
    """

    def __init__(self, kind: str, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.kind = kind

    def call(self, x: Any) -> Any:
        return FORMS[self.kind].activate(x, ops)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable(package="arcticdl")
class SourceUnits(keras.layers.Layer):
    """A fitted normaliser as a layer; what is not finite becomes 0.

    Args:
        normalizer: As from `Normalizer.to_dict`.
        each_band: Whether a band that is not finite becomes 0 alone, as by a
            `Normalizer`; else the other bands of its pixel do as well.
        mark_shown: Whether a whole pixel that is scaled to 0 gets another value, so
            that only nodata is 0, as detectors want it; a normaliser may ask for it
            as well.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Tensor ``(batch, y, x, band)`` in source units.
    """

    def __init__(
        self,
        normalizer: dict[str, Any],
        *,
        each_band: bool = False,
        mark_shown: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.normalizer, self.each_band = dict(normalizer), each_band
        self.mark_shown = mark_shown

    def call(self, x: Any) -> Any:
        offset = np.asarray(self.normalizer["offset"], "float32")
        # The factor, as `Normalizer` has it, so that both round alike.
        gain = (1 / np.asarray(self.normalizer["scale"])).astype("float32")
        method = self.normalizer["method"]
        # tf2onnx turns "less or equal" into "not greater", which is true of NaN, and
        # `where` into products, unless it asks `isnan`: so masks are factors here.
        finite = ops.cast(ops.less(ops.abs(x), np.float32(np.inf)), "float32")
        largest = float(np.finfo("float32").max)
        x = ops.where(ops.isnan(x), ops.zeros_like(x), x)
        x = ops.clip(x, -largest, largest) * finite
        if method == "db":
            x = 10.0 * ops.log10(ops.maximum(x, DB_FLOOR))
        elif method == "log":
            x = ops.log1p(ops.maximum(x, 0.0))
        x = (x - offset) * gain
        if method == "percentile":
            x = ops.clip(x, 0.0, 1.0)
        seen = ops.min(finite, axis=-1, keepdims=True)
        if self.each_band:
            x, seen = x * finite, ops.max(finite, axis=-1, keepdims=True)
        if self.mark_shown or self.normalizer.get("marks_shown"):
            most = ops.max(ops.abs(x), axis=-1, keepdims=True)
            x = x + SHOWN * (1.0 - ops.cast(ops.greater(most, 0.0), "float32"))
        return x * seen

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def get_config(self) -> dict[str, Any]:
        own = {
            "normalizer": self.normalizer,
            "each_band": self.each_band,
            "mark_shown": self.mark_shown,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="arcticdl")
class WholePixels(keras.layers.Layer):
    """Makes all bands of a pixel not finite where one of them is not.

    Call arguments:
        x: Tensor ``(batch, y, x, band)`` in source units.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, x: Any) -> Any:
        finite = ops.cast(ops.less(ops.abs(x), np.float32(np.inf)), "float32")
        # By 1 or 0; a quotient, since a converter would take `where` apart.
        return x / ops.min(finite, axis=-1, keepdims=True)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


@keras.saving.register_keras_serializable(package="arcticdl")
class WeightedMean(keras.layers.Layer):
    """The weighted mean of several tensors.

    Args:
        weights: One a tensor; they add up to 1.
        **kwargs: Keras layer arguments.

    Call arguments:
        xs: List of tensors of one shape.
    """

    def __init__(self, weights: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.weights_ = [float(weight) for weight in weights]

    def call(self, xs: Any) -> Any:
        return sum(w * x for w, x in zip(self.weights_, xs, strict=True))

    def compute_output_shape(self, shapes: Any) -> Any:
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weights": self.weights_}
