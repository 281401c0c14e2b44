"""Deep learning on geospatial and Arctic imagery with Keras 3.

Submodules load on first use, so that importing the package loads neither Keras nor
GDAL.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
