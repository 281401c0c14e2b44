"""Regions of a forecast that a vector file names, and names that are free."""

from typing import Any

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError, LabelError, SourceError
from arcticdl.sources.formats.areas import NamedAreas, read_areas


def read_regions(config: Experiment) -> NamedAreas | None:
    """The areas of ``data.series.context.region_file``; ``None`` without one.

    Raises:
        ConfigError: The file is refused, or a region has a name that is taken.
        FileNotFoundError: It is not there.
    """
    series = config.data.series
    context = None if series is None else series.context
    if context is None:
        return None
    # What scores forecasts loads Keras, which nobody else shall wait for.
    from arcticdl.evaluation.forecasts.tally import WHOLE
    from arcticdl.inference.series.extents import WHOLE_FIELD

    told, areas = context.region_file, None
    if told is not None:
        try:
            options: Any = told.model_dump(exclude={"file"})
            areas = read_areas(told.file, **options)
        except (SourceError, LabelError, ValueError) as error:
            raise ConfigError(f"`data.series.context.region_file`: {error}") from None
    names = [*context.regions, *(() if areas is None else areas.names)]
    twice = sorted({name for name in names if names.count(name) > 1})
    taken = twice or sorted({WHOLE, WHOLE_FIELD} & set(names))
    if taken:
        raise ConfigError(
            "Each region of `data.series.context` must have a name of its own, other "
            f"than {WHOLE!r} and {WHOLE_FIELD!r}. Received: {taken}."
        )
    return areas
