"""Progress of long work, as a terminal shows it and as a log keeps it."""

import pytest

from arcticdl import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_items_come_through_unchanged_whether_shown_or_not():
    assert list(progress.track(range(5), "work", shown=False)) == [0, 1, 2, 3, 4]
    assert list(progress.track(iter("abc"), "work", 3)) == ["a", "b", "c"]


def test_a_log_gets_a_line_a_minute_with_what_is_left(clock, capsys):
    for _ in progress.track(range(10), "map"):
        clock[0] += 45  # so a line falls due after every second item
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "map: 2 of 10, 6 min left"
    assert lines[-1] == "map: 10 of 10, 0 min left"
    assert len(lines) == 5


def test_a_log_of_short_work_stays_empty(clock, capsys):
    for _ in progress.track(range(100), "map"):
        clock[0] += 0.5
    assert capsys.readouterr() == ("", "")


def test_work_without_a_known_end_tells_how_long_it_took(clock, capsys):
    for _ in progress.track(iter(range(2)), "read"):
        clock[0] += 4500
    assert capsys.readouterr().err.splitlines() == [
        "read: 1, 1 h 15 min so far",
        "read: 2, 2 h 30 min so far",
    ]


def test_a_block_that_fails_closes_its_bar():
    with pytest.raises(KeyError), progress.meter("work", 3):
        raise KeyError("inside")
    assert list(progress.track([1], "work")) == [1]
