"""The ``loss`` section: what training makes small."""

from typing import Annotated

from pydantic import Field

from arcticdl.config.names import LOSS
from arcticdl.config.section import Named


class LossConfig(Named):
    """A name of ``arcticdl.losses.LOSSES`` and its arguments."""

    name: Annotated[str, LOSS] = Field(description="Which loss.")
