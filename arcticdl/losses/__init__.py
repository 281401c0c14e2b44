"""Losses that never score a void element, from logits, in float32.

Every one is a ``keras.losses.Loss`` for ``model.compile``. Binary and categorical
cross-entropy of whole samples are :class:`Crossentropy` of logits ``(batch, class)``.
CTC and other losses of sequences are Keras's own; so is anything else whose labels
cannot be void.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
