"""Reads ``Example:`` of a docstring as what it is: code that runs."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Names the section as Google's style does, so that its code is set as code."""

    def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
        """Renames the section of one object."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
            # Code blocks of reStructuredText: the colon pair is no text.
            obj.docstring.value = re.sub(r"(\S)::$", r"\1:", text, flags=re.M)
