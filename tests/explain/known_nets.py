"""Parts of small networks whose reasons are known."""

import keras
import numpy as np

from arcticdl.tiles import Normalizer

NONE = Normalizer("none", ("HH", "HV")).to_dict()
ICE = {"task": "segmentation", "classes": ["water", "ice"]}
SIDE = 16


def card_of(**heads):
    return {
        "bands": ["HH", "HV"],
        "normalizer": NONE,
        "tile_size_px": SIDE,
        "heads": heads,
    }


def dense(name, weights, **options):
    """A convolution of one pixel, by a matrix from features to features."""
    weights = np.asarray(weights, "float32")
    layer = keras.layers.Conv2D(len(weights[0]), 1, name=name, **options)
    layer.build((None, None, None, len(weights)))
    layer.set_weights([weights[None, None], np.zeros(len(weights[0]), "float32")])
    return layer
