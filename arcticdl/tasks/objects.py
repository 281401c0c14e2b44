"""What a detector's numbers mean: one row a place where an object may be.

A row holds, in this order:

====================  ==============================================================
``prior``  (4)        centre, width and height of the place in pixels of the image: a
                      cell of the pyramid, or an anchor
``seen``   (1)        1 where the image shows something there, 0 where it is nodata
``quality`` (1)       logit of how well the box fits, whatever the class
``box``    (5)        ``cx, cy, width, height`` in pixels and ``angle`` in radians
classes    (n)        logits of the classes, a sigmoid each
====================  ==============================================================

Loss, decoding and export read rows by these names alone, so that detectors differ in
their networks and in how truth is matched with places, and in nothing after that.
"""

from typing import Any

import numpy as np

PRIOR, SEEN, QUALITY, BOX = slice(0, 4), slice(4, 5), slice(5, 6), slice(6, 11)
NUM_BEFORE_CLASSES, NUM_OF_BOX = 11, 5
"""Columns before the classes' logits; columns of a box."""

Array = Any  # a NumPy array, or a tensor of the Keras backend


def sigmoid(logits: Array, xp: Any = np) -> Array:
    """Probabilities, one each; by the tangent, since ``exp(-x)`` overflows."""
    return 0.5 * (1.0 + xp.tanh(0.5 * logits))


def read_objects(rows: Array, xp: Any = np) -> Array:
    """Boxes and the score of each class, from a detector's rows.

    A score is the probability of the class times that of a good fit, and 0 where
    nothing was seen.

    Args:
        rows: ``(..., 11 + class)``, as the module says.
        xp: ``numpy`` or ``keras.ops``.

    Returns:
        ``(..., 5 + class)``: ``cx, cy, width, height`` in pixels, ``angle`` in radians,
        then a score in 0-1 for each class.

    Example:
        >>> row = np.zeros((1, 12)); row[0, 4] = 1.0
        >>> read_objects(row)[0, 5:].tolist()
        [0.25]
    """
    scores = sigmoid(rows[..., NUM_BEFORE_CLASSES:], xp)
    scores = scores * sigmoid(rows[..., QUALITY], xp) * rows[..., SEEN]
    return xp.concatenate([rows[..., BOX], scores], axis=-1)
