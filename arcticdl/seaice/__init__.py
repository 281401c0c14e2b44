"""The domain's tables and physics: ice charts, class schemes, colours, radiometry.

NumPy only; nothing here opens a file.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
