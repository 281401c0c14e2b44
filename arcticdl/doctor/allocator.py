"""Memory that stays: what the C library frees, a training asks for again at once.

A network frees gigabytes at the end of each step and takes them again in the next. As
it comes, glibc gives every large block back to the system, which then hands out the
same pages anew, zeroed, one fault of 4 KiB at a time: half of the processor time of a
step may go there (see benchmarks/allocator.md). Commands that compute tell it to keep
what is freed. The most that is held at a time does not grow by that.
"""

import ctypes
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from arcticdl.doctor.finding import Finding

SWITCH = "ARCTICDL_MALLOC"
"""Environment variable; ``system`` leaves the allocator as it is."""

_OTHERS = ("jemalloc", "mimalloc", "tcmalloc")
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of malloc.h
_NEVER = -1
_STEP_BYTES = 64 << 20  # by which the heap grows: fewer, larger requests


def why_not(environ: Mapping[str, str] | None = None, maps: str | None = None) -> str:
    """Why the allocator is left as it is; an empty text where it is not.

    Args:
        environ: Environment variables; those of this process by default.
        maps: What libraries are loaded, as ``/proc/self/maps`` tells it.
    """
    environ = os.environ if environ is None else environ
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


def keep_memory() -> bool:
    """Tells glibc to keep what is freed, unless something speaks against it.

    Returns:
        Whether it was told; see `why_not`.
    """
    if why_not():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = (
        (_MMAP_MAX, 0),  # large blocks from the heap too
        (_TRIM_THRESHOLD, _NEVER),  # whose end is not given back
        (_TOP_PAD, _STEP_BYTES),
    )
    # mallopt answers 1 where it agrees; all three are tried.
    return all([mallopt(number, value) == 1 for number, value in settings])


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
