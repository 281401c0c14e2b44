"""Parts of learning-rate schedules that Keras lacks: a rise, and a line of knots."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

START = 0.05
"""Share of the peak with which a warm-up begins."""


@keras.saving.register_keras_serializable(package="arcticdl")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to a peak, and then follows another schedule from its beginning.

    Args:
        after: What follows.
        peak: Rate at the end of the rise.
        rise: Steps of the rise, >= 1.
    """

    def __init__(
        self,
        after: keras.optimizers.schedules.LearningRateSchedule,
        peak: float,
        rise: int,
    ) -> None:
        self.after, self.peak, self.rise = after, peak, rise

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        done = ops.cast(step, "float32") / self.rise
        rising = self.peak * (START + (1 - START) * ops.minimum(done, 1.0))
        later = self.after(ops.maximum(ops.cast(step, "float32") - self.rise, 0.0))
        return ops.where(done < 1.0, rising, later)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain values."""
        after = keras.saving.serialize_keras_object(self.after)
        return {"after": after, "peak": self.peak, "rise": self.rise}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """The schedule from ``get_config``."""
        after = keras.saving.deserialize_keras_object(config["after"])
        return cls(after, config["peak"], config["rise"])


@keras.saving.register_keras_serializable(package="arcticdl")
class Knots(keras.optimizers.schedules.LearningRateSchedule):
    """Passes from rate to rate at given steps, and keeps the last one.

    Args:
        steps: Rising steps, the first of them 0.
        rates: Rate at each.
        smooth: Along half cosines instead of straight lines.
    """

    def __init__(
        self, steps: Sequence[float], rates: Sequence[float], *, smooth: bool = False
    ) -> None:
        self.steps = [float(step) for step in steps]
        self.rates = [float(rate) for rate in rates]
        self.smooth = smooth

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        now = ops.cast(step, "float32")
        rate = ops.cast(self.rates[0], "float32")
        # Each piece adds its own change, so that no index into a list is needed, which
        # a compiled step could not take.
        for number in range(len(self.steps) - 1):
            start, end = self.steps[number : number + 2]
            part = ops.clip((now - start) / (end - start), 0.0, 1.0)
            if self.smooth:
                part = 0.5 - 0.5 * ops.cos(np.pi * part)
            rate = rate + (self.rates[number + 1] - self.rates[number]) * part
        return rate

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain values."""
        return {"steps": self.steps, "rates": self.rates, "smooth": self.smooth}
