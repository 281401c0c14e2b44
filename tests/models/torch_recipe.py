"""Random weights and images that PyTorch and Keras can both make from names alone.

So a stored reference holds outputs only: the weights are drawn again from each key's
name and shape.
"""

import zlib

import numpy as np


def make_state(shapes):
    """``{key: shape}`` -> ``{key: float32 array}``, the same on every machine."""
    return {key: make_value(key, tuple(shape)) for key, shape in shapes.items()}


def make_value(key, shape):
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith(("running_var", "logit_scale")):
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    if len(shape) > 1:
        fan_in = np.prod(shape[1:])
        return (rng.normal(size=shape) / np.sqrt(fan_in)).astype("float32")
    centre = 1.0 if key.endswith("weight") else 0.0
    return (centre + 0.2 * rng.normal(size=shape)).astype("float32")


def make_image(num_bands, height, width, seed=0):
    """Standard normal image ``(1, y, x, band)``."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1, height, width, num_bands)).astype("float32")


def sample(values, count=400):
    """Evenly spaced elements and the mean square: a small stand-in for an array."""
    flat = np.asarray(values, dtype="float32").ravel()
    places = np.linspace(0, flat.size - 1, min(count, flat.size)).astype(int)
    return np.append(flat[places], np.mean(flat.astype("float64") ** 2))
