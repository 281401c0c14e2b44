"""The only place where a configuration becomes objects.

One function a step of the command line: ``prepare``, ``train``, ``evaluate``,
``predict``, ``export``. Each takes plain paths and a checked configuration.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
