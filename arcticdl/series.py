"""Series: scenes of one place in the order of their times, and windows of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arcticdl.errors import SeriesError


@dataclass(frozen=True)
class Steps:
    """Which dates of a series a network sees, and for which it answers.

    Dates are counted in steps from the date that a sequence is named after: 0 is that
    date, -1 the one before. What belongs to another date than 0 has its step in its
    name: band ``HH`` of the date before is ``HH_t-1``, label ``ice`` of the date after
    ``ice_t1``.

    Args:
        history: Dates seen, of which 0 is the last.
        step_h: Hours from one date to the next.
        tolerance_h: Hours that a time may lie off its date; ``None``: a quarter of
            the step.
        answers: Dates whose labels are learnt: ``(0,)`` for a sequence to one,
            ``(-2, -1, 0)`` for a sequence to a sequence, ``(1,)`` for a forecast.

    Raises:
        ValueError: No date, no answer, a step that is not above 0, or a tolerance
            that is not below half a step.

    Example:
        >>> steps = Steps(history=3)
        >>> steps.seen, [steps.named("HH", k) for k in steps.seen]
        ((-2, -1, 0), ['HH_t-2', 'HH_t-1', 'HH'])
    """

    history: int = 3
    step_h: float = 24.0
    tolerance_h: float | None = None
    answers: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.history < 1 or not self.answers or self.step_h <= 0:
            raise ValueError(
                "`history` must be at least 1, `answers` name a date and `step_h` be "
                f"above 0. Received: {self}."
            )
        # At half a step a time would belong to two dates.
        if not 0 <= self.slack_h < self.step_h / 2:
            raise ValueError(
                "`tolerance_h` must be from 0 to below half of `step_h`. "
                f"Received: {self}."
            )

    @property
    def slack_h(self) -> float:
        """Hours that a time may lie off its date."""
        return self.step_h / 4 if self.tolerance_h is None else self.tolerance_h

    @property
    def seen(self) -> tuple[int, ...]:
        """The dates seen, from the oldest to 0."""
        return tuple(range(1 - self.history, 1))

    @staticmethod
    def named(name: str, step: int) -> str:
        """The name of a band or label of a date."""
        return name if step == 0 else f"{name}_t{step}"

    def band_names(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Names of the bands of all dates seen: those of the oldest date first."""
        return tuple(self.named(band, step) for step in self.seen for band in bands)


def place_dates(
    times: Sequence[object] | np.ndarray, steps: Steps, series: str = "series"
) -> np.ndarray:
    """Numbers the dates of one series by whole steps from its first time.

    Args:
        times: ``(date,)`` times in UTC, as NumPy or pandas take them, in any order.
        steps: Length of a step, and how far a time may lie off.
        series: What the error calls the series.

    Returns:
        ``(date,)`` int64, 0 for the first; numbers that are left out are dates that
        are missing.

    Raises:
        SeriesError: A time is unknown, lies off its date by more than the tolerance,
            or belongs to the same date as another.

    Example:
        >>> place_dates(["2021-03-01", "2021-03-04", "2021-03-02T02:00"], Steps())
        array([0, 3, 1])
    """
    when = np.asarray(times, "datetime64[s]")
    if np.isnat(when).any():
        raise SeriesError(
            f"Each scene of a series must tell its time. Received: {series!r}, of "
            f"which {int(np.isnat(when).sum())} of {len(when)} do not. Give it by "
            "`data.attributes.time`, a column `time`, or the reader's options."
        )
    hours = (when - when.min()).astype("float64") / 3600.0
    places = np.rint(hours / steps.step_h).astype("int64")
    off = np.abs(hours - places * steps.step_h)
    if off.max() > steps.slack_h:
        worst = int(off.argmax())
        raise SeriesError(
            f"The dates of a series must lie {steps.step_h:g} h apart, give or take "
            f"{steps.slack_h:g} h, or be missing. Received: {when[worst]} of "
            f"{series!r}, {off[worst]:.1f} h off a date counted from {when.min()}. Set "
            "`step_h` and `tolerance_h`, or leave scenes out."
        )
    found, counts = np.unique(places, return_counts=True)
    if counts.max() > 1:
        twice = when[places == found[counts.argmax()]]
        raise SeriesError(
            f"Each date of a series must have one scene. Received: {series!r} with "
            f"{', '.join(map(str, twice))} within one step of {steps.step_h:g} h. Keep "
            "one of them, or choose a shorter `step_h`."
        )
    return places
