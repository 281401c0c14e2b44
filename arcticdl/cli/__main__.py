"""``python -m arcticdl.cli`` is ``arcticdl``."""

from arcticdl.cli import entry

entry()
