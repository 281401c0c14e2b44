"""Evaluation: what a model scores on images it did not see, and the report of it.

Modules load on first use; neither Keras nor scikit-learn is loaded before it is needed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
