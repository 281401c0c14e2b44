"""Termination signals: a training ends where it can go on, whatever it was doing.

A batch system sends a signal some time before it ends a job. While a model is built or
compiled there is nothing to lose and the signal ends the work at once; while it trains,
the step that runs is finished and saved first.
"""

import signal
import threading
from contextlib import ContextDecorator
from types import FrameType, TracebackType
from typing import Any

from arcticdl.training.devices.processes import largest, num_processes

_WATCHED = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(Exception):
    """A signal ended the training; what was saved can be resumed."""


class watch_signals(ContextDecorator):
    """Turns termination signals into `Preempted` for the length of a block.

    In a thread that is not the main one signals cannot be watched, and nothing is.
    A block inside another one's has no effect: the outer block watches.

    Raises:
        Preempted: SIGTERM or SIGUSR1 came; raised where it came, but at the next safe
            place while steps run. It takes the place of whatever error a library made
            of it.

    Example:
        >>> with watch_signals():
        ...     signal.raise_signal(signal.SIGUSR1)
        Traceback (most recent call last):
        arcticdl.training.signals.Preempted: Received SIGUSR1.
    """

    active: "watch_signals | None" = None

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The signal that ends the work; of several processes all have the same."""
        self.heard: signal.Signals | None = None
        """The signal that this process was sent, of which others may not know yet."""
        self.waits = False
        """Whether a signal waits for `check`, so that a step can end."""
        self.passing = False
        """Whether a callback opened it, in a training that may end without notice."""
        self._raised = False
        self._old: dict[signal.Signals, Any] = {}

    def _recreate_cm(self) -> "watch_signals":
        return type(self)()

    def __enter__(self) -> "watch_signals":
        if watch_signals.active is not None:
            if not watch_signals.active.passing:
                return watch_signals.active
            watch_signals.active.stop()
        if threading.current_thread() is threading.main_thread():
            watch_signals.active = self
            for number in _WATCHED:
                self._old[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if watch_signals.active is not self:
            return
        self.stop()
        if isinstance(error, Preempted | KeyboardInterrupt | SystemExit):
            return
        # Keras turns what is raised while it builds into errors of its own.
        if self._raised or (self.received is not None and error is None):
            raise self.preempted() from error

    @classmethod
    def current(cls) -> "watch_signals":
        """The block that watches, or a new one that `stop` must end."""
        if cls.active is not None and not cls.active.passing:
            return cls.active
        watch = cls().__enter__()
        watch.passing = True
        return watch

    def stop(self) -> None:
        """Gives the signals back to whoever had them before."""
        if watch_signals.active is self:
            watch_signals.active = None
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old, self.waits = {}, False

    def agree(self) -> None:
        """Lets every process know of a signal to one of them; each must ask.

        All of them then end at the same step. A signal that comes after this waits for
        the next time: were it acted upon, one process would end while the others go on.
        """
        told = largest(0 if self.heard is None else int(self.heard))
        if told:
            self.received = signal.Signals(told)

    def check(self, saved: str = "") -> None:
        """Ends the work if a signal came.

        Args:
            saved: What was saved and how to go on, for the message.

        Raises:
            Preempted: A signal came.
        """
        if self.received is not None:
            raise self.preempted(saved)

    def preempted(self, saved: str = "") -> Preempted:
        """The error that says which signal came."""
        name = "a signal" if self.received is None else self.received.name
        return Preempted(f"Received {name}. {saved}".strip())

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.heard = signal.Signals(number)
        if num_processes() > 1:  # one that ends alone would leave the others waiting
            return
        self.received = self.heard
        if not self.waits:
            self._raised = True
            raise self.preempted()
