"""Pictures of forecasts: axes of time that hold for any length of series."""

import numpy as np
import pytest

from arcticdl import plots


@pytest.mark.parametrize(("step", "count"), [("D", 30), ("M", 1), ("M", 35), ("M", 60)])
def test_extents_of_any_length_have_few_dates_on_their_axis(step, count):
    """Matplotlib warns, which is an error here, where it finds no spacing."""
    dates = np.datetime64("2008-01", step) + np.arange(count)
    days = dates.astype("datetime64[D]").astype(str)
    rows = [{"target": day, "lead": 1, "truth": 1.0, "a": 2.0} for day in days]
    figure = plots.extent_curves(rows, ["a"], lead=1)
    figure.canvas.draw()
    assert 3 <= len(figure.axes[0].get_xticks()) <= 8
