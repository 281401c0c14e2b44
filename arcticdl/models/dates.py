"""Dates side by side in the bands of an image: what the backbone sees of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from arcticdl.models.encode import check_fusion
from arcticdl.models.layers.temporal import UnfoldTime
from arcticdl.models.options import Series


class Dates(NamedTuple):
    """How the dates of a series lie in an image.

    Attributes:
        series: How they are fused.
        num_bands: Bands of the image.
        num_dates: Dates side by side in these; 1 where an image has one date, or dates
            have an axis of their own.
        num_context: Further bands behind those of the dates, given to each date.
        names: Names of all bands, where they are known.
    """

    series: Series
    num_bands: int
    num_dates: int
    num_context: int
    names: tuple[str, ...]

    @classmethod
    def read(
        cls,
        series: Series,
        card: Mapping[str, Any] | None,
        num_bands: int,
        bands: Sequence[str] | None,
    ) -> "Dates":
        """The dates that a card tells of.

        Args:
            series: As the user has it.
            card: ``num_times`` dates in the bands, ``num_context`` bands behind them.
            num_bands: Bands of the image.
            bands: Their names; default: those of the card.

        Raises:
            ValueError: An unknown fusion, or dates that do not divide the bands.
        """
        known = card or {}
        dates, told = int(known.get("num_times", 1)), int(known.get("num_context", 0))
        series = series.of_dates(dates, num_bands - told)
        check_fusion(series.fusion, series.num_times)
        names = tuple(bands or known.get("bands", ()))
        return cls(series, num_bands, dates, told, names)

    @property
    def seen(self) -> tuple[int, list[str] | None]:
        """How many bands the backbone sees at once, and their names if known.

        Bands of folded dates all bear the names of the last date's, which are the
        sensor's own.
        """
        context = self.num_bands - self.num_context
        one = context // self.num_dates
        folded = int(self.series.num_times or 1) if self.series.fusion == "fold" else 1
        own, further = self.names[context - one : context], self.names[context:]
        names = [*own * folded, *further] if own else None
        return one * folded + self.num_context, names

    @property
    def axis(self) -> tuple[int | None, ...]:
        """Length of the axis of time that images have, if they have one."""
        apart = self.series.fusion is not None and self.num_dates == 1
        return (self.series.num_times,) if apart else ()

    def unfold(self, x: Any) -> tuple[Any, str | None]:
        """Images as they are to be encoded, and the fusion that is left to be done."""
        fusion = self.series.fusion
        if self.num_dates == 1:
            return x, fusion
        if self.num_context and fusion == "fold":
            return x, None  # dates and context stand side by side already
        unfolded = UnfoldTime(self.num_dates, self.num_context, name="unfold_time")
        return unfolded(x), fusion
