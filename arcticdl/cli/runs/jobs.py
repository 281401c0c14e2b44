"""Commands side by side: prefixed lines, forwarded signals, devices shared out."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, NamedTuple

import typer

from arcticdl.cli.faults import PREEMPTED, say

_LOOK_S = 0.1
_FORWARDED = (signal.SIGTERM, signal.SIGUSR1)
_SHARED_GPU = {
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
"""Without these the first process on a GPU takes all of its memory."""


class Job(NamedTuple):
    """A command with a name to show.

    Attributes:
        name: Such as ``"fold 1"``.
        command: Words of the command.
    """

    name: str
    command: Sequence[str]


def run_jobs(jobs: Sequence[Job], *, side_by_side: int = 1) -> int:
    """Runs commands, so many at a time, and waits for all that were begun.

    SIGTERM and SIGUSR1 go on to every command that runs, and no further one begins:
    each training then stops where it can go on. A command that fails stops nothing that
    runs beside it, and no further one begins.

    Args:
        jobs: The commands, begun in this order.
        side_by_side: How many at a time. One writes to the terminal itself; of several
            every line begins with the name, and visible GPUs are shared out.

    Returns:
        0; 75 after a signal, if anything is left to do; else the status of the first
        command that failed, which is 128 and the number of a signal that killed it.

    Raises:
        KeyboardInterrupt: Ctrl-C, once every command has ended.
    """
    crew = _Crew(jobs, side_by_side)
    before = {number: signal.signal(number, crew.forward) for number in _FORWARDED}
    try:
        crew.work()
    except KeyboardInterrupt:
        crew.forward(signal.SIGTERM, None)
        crew.work()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return crew.status()


def share_gpus(
    num_jobs: int, environ: Mapping[str, str] = os.environ
) -> list[dict[str, str]]:
    """Environment variables by which each place of several has GPUs of its own.

    Args:
        num_jobs: Places, at least 1.
        environ: Environment variables; ``CUDA_VISIBLE_DEVICES`` is kept to.

    Returns:
        One a place: nothing where there is no GPU; its part of them where there are
        enough; else one that it shares, of which it takes memory as it needs it.

    Example:
        >>> share_gpus(2, {"CUDA_VISIBLE_DEVICES": "4,5,7"})
        [{'CUDA_VISIBLE_DEVICES': '4,7'}, {'CUDA_VISIBLE_DEVICES': '5'}]
        >>> share_gpus(2, {"CUDA_VISIBLE_DEVICES": ""})
        [{}, {}]
    """
    gpus = _visible_gpus(environ)
    if not gpus:
        return [{} for _ in range(num_jobs)]
    if num_jobs <= len(gpus):
        parts = [gpus[place::num_jobs] for place in range(num_jobs)]
        return [{"CUDA_VISIBLE_DEVICES": ",".join(part)} for part in parts]
    kept = {k: environ.get(k, value) for k, value in _SHARED_GPU.items()}
    return [
        {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)], **kept}
        for place in range(num_jobs)
    ]


def _visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """Names of the GPUs, without loading a backend, which would take hold of them."""
    told = environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        names = [name.strip() for name in told.split(",")]
        return [name for name in names if name not in ("", "-1")]
    tool = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if tool is None:
        return []
    query = [tool, "--query-gpu=index", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    return found.stdout.split() if found.returncode == 0 else []


class _Running(NamedTuple):
    job: Job
    process: subprocess.Popen
    place: int
    reader: threading.Thread | None


class _Crew:
    """Commands that wait, run and have ended."""

    def __init__(self, jobs: Sequence[Job], side_by_side: int) -> None:
        self.total = len(jobs)
        self.waiting = list(jobs)
        self.places = list(range(min(side_by_side, self.total)))
        self.shown = len(self.places) > 1
        self.shares = share_gpus(len(self.places)) if self.shown else [{}]
        self.running: list[_Running] = []
        self.ended: dict[str, int] = {}
        self.received: int | None = None

    def work(self) -> None:
        """Begins commands while places are free, until all have ended."""
        while True:
            self._collect()
            while self.waiting and self.places and self._goes_on():
                self._begin(self.waiting.pop(0), self.places.pop(0))
            if not self.running:
                return
            time.sleep(_LOOK_S)

    def forward(self, number: int, frame: FrameType | None) -> None:
        """Hands a signal on to everything that runs."""
        self.received = number
        for running in list(self.running):
            if running.process.poll() is None:
                running.process.send_signal(number)

    def status(self) -> int:
        """The exit status of all together; says what is left to do."""
        bad = {name: status for name, status in self.ended.items() if status}
        if not bad and not self.waiting:
            return 0
        told = [f"{name} ended with status {status}" for name, status in bad.items()]
        told += [f"{job.name} is not begun" for job in self.waiting]
        say(f"{'; '.join(told)}; what is done is kept")
        if self.received is not None:
            return PREEMPTED
        failures = [status for status in bad.values() if status != PREEMPTED]
        return failures[0] if failures else PREEMPTED

    def _goes_on(self) -> bool:
        return self.received is None and not any(self.ended.values())

    def _begin(self, job: Job, place: int) -> None:
        from arcticdl.experiment.machine.environment import COMMAND, typed_command

        share = self.shares[place]
        options: dict[str, Any] = {}
        if self.shown:
            options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            gpus = share.get("CUDA_VISIBLE_DEVICES")
            say(f"{job.name} begins" + (f" on GPU {gpus}" if gpus else ""))
            # Lines are to come when they are written, not when a buffer is full.
            share = {"PYTHONUNBUFFERED": "1", **share}
        env = {**os.environ, **share, COMMAND: typed_command()}
        process = subprocess.Popen(job.command, env=env, **options)
        reader = None
        if self.shown:
            reader = threading.Thread(target=_relay, args=(job.name, process))
            reader.start()
        self.running.append(_Running(job, process, place, reader))
        if self.received is not None:  # it came while the process was being made
            process.send_signal(self.received)

    def _collect(self) -> None:
        for running in list(self.running):
            status = running.process.poll()
            if status is None:
                continue
            if running.reader is not None:
                running.reader.join()
            self.running.remove(running)
            self.places.append(running.place)
            status = status if status >= 0 else 128 - status
            self.ended[running.job.name] = status
            if self.shown:
                done = sum(not status for status in self.ended.values())
                say(
                    f"{running.job.name} ended with status {status}; {done} of "
                    f"{self.total} done, {len(self.running)} running"
                )


def _relay(name: str, process: subprocess.Popen) -> None:
    """Prints what a process writes, line by line, each with its name before it."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                typer.echo(f"{name} | {text}")
