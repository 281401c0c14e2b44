"""What this machine can do, and what is wrong with it.

Each check looks at one thing and returns one `Finding`; a finding that is not ok names
the way out. Checks never raise: what breaks while it is looked at is itself a finding.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
