"""Memory that stays: what the C library frees, a training asks for again at once.

A network frees gigabytes at the end of each step and takes them again in the next. As
it comes, glibc gives large blocks back to the system, which then hands out the same
pages anew, zeroed, one fault at a time (see benchmarks/allocator.md). Commands that
compute have it keep what is freed. It reads how when a process starts; told later, by
mallopt(3), it leaves the heaps alone that threads have by then.
"""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from arcticdl.doctor.finding import Finding

SWITCH = "ARCTICDL_MALLOC"
"""Environment variable; ``system`` leaves the allocator as it is."""

_OTHERS = ("jemalloc", "mimalloc", "tcmalloc")
KEPT = "kept"
"""Value of the switch in a process that keeps memory."""

SETTINGS = {
    "MALLOC_ARENA_MAX": "1",  # one heap, which alone can hold large blocks
    "MALLOC_MMAP_MAX_": "0",  # these too, and nothing outside it
    "MALLOC_TOP_PAD_": str(64 << 20),  # growing in few, larger requests
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),  # and never shrinking
}
"""Environment variables that glibc reads when a process starts; mallopt(3)."""

COMPUTING = (
    "calibrate",
    "evaluate",
    "learning-curve",
    "predict",
    "prepare",
    "rate",
    "train",
    "tune",
)
"""Commands that gain by it."""


def why_not(environ: Mapping[str, str] | None = None, maps: str | None = None) -> str:
    """Why the allocator is left as it is; an empty text where it is not.

    Args:
        environ: Environment variables; those of this process by default.
        maps: What libraries are loaded, as ``/proc/self/maps`` tells it.
    """
    environ = os.environ if environ is None else environ
    if environ.get(SWITCH, "") == KEPT:
        return ""
    if environ.get(SWITCH, "") == "system":
        return f"{SWITCH}=system asks for it"
    told = [n for n in environ if n.startswith("MALLOC_") or n == "GLIBC_TUNABLES"]
    if told:
        return f"{', '.join(sorted(told))} says how"
    if platform.libc_ver()[0] != "glibc":
        return "this C library is not glibc"
    loaded = _loaded() if maps is None else maps
    other = next((name for name in _OTHERS if name in loaded), None)
    return f"{other} is loaded" if other else ""


def keep_memory(words: Sequence[str]) -> None:
    """Begins this process anew with memory that is kept, where the command gains by it.

    The process keeps its number, so that schedulers and signals find it. Processes that
    it starts inherit the settings.

    Args:
        words: Words of the command line after the program's name.
    """
    command = next((word for word in words if not word.startswith("-")), "")
    if command not in COMPUTING or os.environ.get(SWITCH) == KEPT or why_not():
        return
    environ = {**os.environ, **SETTINGS, SWITCH: KEPT}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)


def check_allocator(environ: Mapping[str, str]) -> Finding:
    """Says whether commands tell the C library to keep what a step frees.

    Args:
        environ: Environment variables.

    Returns:
        The finding, always ``ok``.
    """
    reason = why_not(environ)
    told = f"left as it is: {reason}" if reason else "glibc, told to keep what is freed"
    return Finding("allocator", "ok", told)


def _loaded() -> str:
    try:
        return Path("/proc/self/maps").read_text("utf-8", "replace")
    except OSError:
        return ""
