"""Metrics that training logs."""

from typing import Annotated

from pydantic import Field

from arcticdl.config.names import METRIC
from arcticdl.config.section import Named


class MetricConfig(Named):
    """A name of ``arcticdl.metrics.METRICS`` and its arguments."""

    name: Annotated[str, METRIC] = Field(description="Which metric.")
