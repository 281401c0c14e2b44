"""What a failed command prints: the user's error in one line, or a defect as such.

Whoever reads ``error:`` is asked to change the command, the configuration or the data,
so only what was refused on purpose may bear that name: this package's own errors, files
that cannot be read or written, a package that is not installed, and a ``ValueError`` or
``TypeError`` that a ``raise`` in this package made. Everything else is a mistake in the
code, whose traceback its authors need.
"""

import dis
import errno
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

import typer

from arcticdl.errors import MissingExtraError
from arcticdl.files import PART

USER = 1
PREEMPTED = 75
"""Exit status after a termination signal: temporary failure, start again."""
DEFECT = 70
"""Exit status of a mistake in the code: ``EX_SOFTWARE`` of BSD's sysexits.h."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
PIPE_CLOSED = 141
"""Exit status when the reader of a pipe has gone, likewise."""

_PACKAGE = Path(__file__).resolve().parent.parent
_ELSEWHERE = " Choose a folder that can be written to."
_ADVICE = {
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.EEXIST: " A file stands where a folder is to be made.",
    errno.ENOTDIR: " A file stands where a folder is to be made.",
    errno.ENOSPC: " Make room, and start again.",
    errno.EDQUOT: " Make room, and start again.",
}
_RAISE = dis.opmap["RAISE_VARARGS"]


def explain(error: Exception, *, debug: bool = False) -> int:
    """Prints an error and returns the exit status.

    Args:
        error: What ended a command.
        debug: Show the traceback, whatever the error is.
    """
    kind = type(error).__name__
    if debug:
        traceback.print_exception(error)
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's usage errors
        error.show()
        return int(error.exit_code)
    if kind == "Abort":  # Ctrl-C, or no answer to a question
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    if kind == "Preempted":  # by name: its module loads Keras
        say(f"preempted: {error}")
        return PREEMPTED
    if is_users(error):
        say(f"error: {_told(error)}")
        return USER
    _report(error)
    return DEFECT


def say(line: str) -> None:
    """Prints a line for people, apart from the command's output."""
    typer.echo(line, err=True)


def _told(error: BaseException) -> str:
    """An error in words; what an operating system says of a file, as a sentence."""
    if not isinstance(error, OSError) or error.filename is None or not error.strerror:
        return str(error)
    path = Path(os.fsdecode(error.filename))
    path = path.parent if path.name.startswith(PART) else path
    advice = _ADVICE.get(error.errno or 0, "")
    return f"{path}: {error.strerror.lower()}.{advice}"


def is_users(error: BaseException) -> bool:
    """Whether an error asks something of the user, rather than of this code.

    Args:
        error: The error, with the traceback that it was caught with.
    """
    if isinstance(error, (OSError, MissingExtraError, MemoryError)):
        return True
    if isinstance(error, ModuleNotFoundError):
        return not (error.name or "arcticdl").startswith("arcticdl")
    if any(cls.__module__ == "arcticdl.errors" for cls in type(error).__mro__):
        return True
    return isinstance(error, (ValueError, TypeError)) and _on_purpose(error)


def _on_purpose(error: BaseException) -> bool:
    """Whether a ``raise`` of this package made the error, not an operation in it."""
    last = _innermost(error.__traceback__)
    if last is None:
        return False
    code = last.tb_frame.f_code
    ours = Path(code.co_filename).is_relative_to(_PACKAGE)
    return ours and code.co_code[last.tb_lasti] == _RAISE


def _innermost(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _report(error: BaseException) -> None:
    from arcticdl import __version__

    last = _innermost(error.__traceback__)
    place = ""
    if last is not None:
        file = Path(last.tb_frame.f_code.co_filename)
        place = f" ({file.name}, line {last.tb_lineno})"
    text = " ".join(str(error).split()) or "no message"
    say(
        f"defect: {type(error).__name__}: {text}{place}. This is a mistake in arcticdl "
        f"{__version__}, not in your input. Please report it with what the same "
        "command prints with --debug, and with `arcticdl doctor --json`."
    )
