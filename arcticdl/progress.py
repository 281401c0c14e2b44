"""How far long work has come: a bar on a terminal, now and then a line in a log."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

# A line a minute is enough to see that a job lives, and few enough to read.
EVERY_S = 60.0

Item = TypeVar("Item")
Advance = Callable[[int], None]


def track(
    items: Iterable[Item], what: str, total: int | None = None, *, shown: bool = True
) -> Iterator[Item]:
    """Yields items, and shows how many of them are done.

    Args:
        items: What the work goes through.
        what: The work in a word or two, such as ``evaluate``.
        total: How many there are, where `items` cannot tell.
        shown: Whether to show anything.

    Example:
        ``for scene in track(scenes, "evaluate"): ...``
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with meter(what, total, shown=shown) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def meter(what: str, total: int | None, *, shown: bool = True) -> Iterator[Advance]:
    """Opens a bar, and closes it with the block.

    On a terminal and in a notebook the bar moves, and goes when the work is done. In a
    log, such as that of a batch job, a line is written each minute instead.

    Args:
        what: The work in a word or two.
        total: How many parts there are; ``None`` where nobody knows.
        shown: Whether to show anything.

    Yields:
        A function that takes how many parts were done since the last call.

    Example:
        ``with meter("map", len(windows)) as advance: ...; advance(1)``
    """
    if not shown:
        yield lambda count: None
        return
    console = _console()
    if not (console.is_terminal or console.is_jupyter):
        yield _Lines(what, total, console.print).advance
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


@cache
def _console() -> "Console":
    """One for all bars, since two consoles would write over each other's."""
    from rich.console import Console

    return Console(stderr=True)


class _Lines:
    """Writes how far the work is when a minute has gone by since the last line."""

    def __init__(
        self, what: str, total: int | None, write: Callable[[str], None]
    ) -> None:
        self.what, self.total, self.write = what, total, write
        self.done = 0
        self._began = self._told = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._told >= EVERY_S:
            self._told = now
            self.write(self._line(now - self._began))

    def _line(self, taken_s: float) -> str:
        if not self.total:
            return f"{self.what}: {self.done}, {_told(taken_s)} so far"
        left_s = taken_s * (self.total - self.done) / max(self.done, 1)
        return f"{self.what}: {self.done} of {self.total}, {_told(left_s)} left"


def _told(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
