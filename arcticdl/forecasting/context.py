"""What a forecasting network is told besides the dates that it sees."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from arcticdl.choices import check_choices
from arcticdl.errors import SeriesError
from arcticdl.forecasting.baselines import BASELINES, Issue
from arcticdl.forecasting.reference import date_after, days_of_year
from arcticdl.series import Steps

FloatArray = NDArray[np.float32]

PLACES = ("coast", "latitude")
"""Bands of the place alone: distance to the nearest cell that is never seen, in 1000
km, and latitude, as a share of 90 degrees."""

CONTEXT_BANDS = tuple(sorted((*BASELINES, *PLACES, "anomaly", "season", "variability")))
"""Bands of the context: each baseline's forecast for each date to answer;
``anomaly``, what each date seen differs from the usual; ``season``, sine and cosine of
the day of the year; ``variability``, the deviation from year to year at each date to
answer; and ``PLACES``."""


@dataclass(frozen=True)
class Context:
    """Which bands of context a network sees, and from which years they come.

    Args:
        of: The label that is forecast: the quantity, known at all dates.
        reference: First and last year of the period that climatology, trend and damping
            come from. What is tested must lie outside.
        bands: Some of ``CONTEXT_BANDS``.
        start_from: The baseline to which the network's answer is added; ``None``: the
            answer is the network's own.
        window_days: Of a climatology of days; see `Reference`.
        limits: Least and greatest value of the quantity.
        delay_steps: Band -> steps until it is known: at delay 1 it is first seen the
            date before the last.

    Raises:
        ValueError: Unknown bands or baseline, years or limits that do not rise.

    Example:
        >>> context = Context("sic", (2002, 2014), ("anomaly", "trend"), "trend")
        >>> context.names(Steps(history=2, answers=(1, 2)))
        ('anomaly_t-1', 'anomaly', 'trend_t1', 'trend_t2')
    """

    of: str
    reference: tuple[int, int]
    bands: tuple[str, ...] = ("anomaly", "climatology", "season")
    start_from: str | None = None
    window_days: float = 15.0
    limits: tuple[float, float] = (0.0, 1.0)
    delay_steps: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choices("context.bands", self.bands, CONTEXT_BANDS)
        start = () if self.start_from is None else (self.start_from,)
        check_choices("context.start_from", start, BASELINES)
        if self.start_from not in (None, *self.bands):
            raise ValueError(
                "`context.start_from` must be one of `context.bands`. Received: "
                f"{self.start_from!r}; the bands are {list(self.bands)}."
            )
        for name, pair in (("reference", self.reference), ("limits", self.limits)):
            if not pair[0] < pair[1]:
                raise ValueError(
                    f"`context.{name}` must rise from the first to the second. "
                    f"Received: {list(pair)}."
                )

    def check(self, steps: Steps, bands: Sequence[str]) -> None:
        """Refuses steps and bands that are no forecast.

        Args:
            steps: Dates seen and answered.
            bands: Bands of a date.

        Raises:
            SeriesError: A date to answer that is not ahead, or a band that would not be
                known at any date seen.
        """
        if min(steps.answers) < 1:
            raise SeriesError(
                "A forecast must be of dates ahead: leads of 1 step and more. "
                f"Received: answers={list(steps.answers)}. For dates that are seen, "
                "leave `context` out."
            )
        check_choices("context.delay_steps", list(self.delay_steps), bands)
        for band, delay in self.delay_steps.items():
            if not 0 <= delay < steps.history:
                raise SeriesError(
                    "A band must be known at one of the dates seen when a forecast is "
                    f"issued. Received: {band!r}, which is known {delay} steps later, "
                    f"with a history of {steps.history}. See more dates, or leave the "
                    "band out."
                )

    def names(self, steps: Steps) -> tuple[str, ...]:
        """Names of the bands of context, in their order."""
        return tuple(name for band in self.bands for name in _names(band, steps))

    def starts(self, steps: Steps) -> dict[str, str]:
        """The label of each date to answer -> the band that its answer is added to."""
        if self.start_from is None:
            return {}
        return {
            steps.named(self.of, step): steps.named(self.start_from, step)
            for step in steps.answers
        }

    def values(
        self, issue: Issue, seen: Mapping[int, FloatArray | None], steps: Steps
    ) -> FloatArray:
        """The bands of context that are not those of the place.

        Args:
            issue: The forecast.
            seen: Step -> ``(cell,)`` the quantity then, ``None`` where it is missing.
            steps: Dates seen and answered.

        Returns:
            ``(band, cell)`` float32, NaN where a date is missing.
        """
        rows = [
            row
            for band in self.bands
            if band not in PLACES
            for row in self._rows(band, issue, seen, steps)
        ]
        shape = (len(rows), len(issue.now))
        return np.asarray(rows, np.float32).reshape(shape)

    def _rows(
        self,
        band: str,
        issue: Issue,
        seen: Mapping[int, FloatArray | None],
        steps: Steps,
    ) -> Iterator[FloatArray]:
        cells = len(issue.now)
        if band == "season":
            angle = 2 * np.pi * float(days_of_year(issue.when)) / 365.25
            yield np.full(cells, np.sin(angle), np.float32)
            yield np.full(cells, np.cos(angle), np.float32)
        elif band == "anomaly":
            for step in steps.seen:
                then = date_after(issue.when, step, steps.step_h)
                now = seen.get(step)
                usual = issue.usual.mean(then) if now is not None else np.nan
                yield np.full(cells, np.nan, np.float32) if now is None else now - usual
        else:
            for step in steps.answers:
                target = date_after(issue.when, step, steps.step_h)
                if band == "variability":
                    yield issue.usual.deviation(target)
                else:
                    yield BASELINES[band](issue, target)


def _names(band: str, steps: Steps) -> list[str]:
    if band in PLACES:
        return [band]
    if band == "season":
        return ["season_sin", "season_cos"]
    dates = steps.seen if band == "anomaly" else steps.answers
    return [steps.named(band, step) for step in dates]
