"""The labelling loop: doubtful labels, corrections, what to label next, and drift.

Models point at labels and scenes to look at; people decide. What a model's confidence
has suggested never reaches the labels that a model is tested on (see ``unaided``).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
