"""The ``loss`` section: what training makes small."""

from pydantic import Field

from arcticdl.config.section import Named


class LossConfig(Named):
    """A name of ``arcticdl.losses.LOSSES`` and its arguments."""

    name: str = Field("DiceFocal", description="Which loss.")
