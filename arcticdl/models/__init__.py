"""Models: any bands in, any task out.

``build_segmenter``, ``build_classifier``, ``build_regressor`` and ``build_multitask``
assemble a backbone, a decoder and heads into a plain functional ``keras.Model``. The
tables ``BACKBONES`` and ``DECODERS`` show the choices. Everything loads with
its first use; the tables' names load no Keras.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
