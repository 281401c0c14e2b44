"""The ``loss`` section, and metrics: what training makes small, and what it logs."""

from typing import Annotated

from pydantic import Field

from arcticdl.config.names import LOSS, METRIC
from arcticdl.config.section import Named


class LossConfig(Named):
    """A name of ``arcticdl.losses.LOSSES`` and its arguments."""

    name: Annotated[str, LOSS] = Field(description="Which loss.")


class MetricConfig(Named):
    """A name of ``arcticdl.metrics.METRICS`` and its arguments."""

    name: Annotated[str, METRIC] = Field(description="Which metric.")
