"""Downloading one file: resumed where it broke off, verified, moved into place last.

What is fetched, weights as well as data, lives in one cache folder, so that nodes
without internet use what a login node has brought there.
"""

import errno
import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from arcticdl.errors import FetchError
from arcticdl.files import flush

CHUNK_BYTES = 1 << 20
ATTEMPTS = 3
_SILENCE_S = 30.0  # of the server, at the longest

Told = Callable[[int, int | None], None]
"""Called with the bytes that are there and those that there shall be, if known."""


def cache_dir() -> Path:
    """Returns the folder of fetched weights and data.

    Returns:
        The path in ``ARCTICDL_CACHE``, else ``~/.cache/arcticdl``; it need not exist.
    """
    folder = os.environ.get("ARCTICDL_CACHE")
    return Path(folder) if folder else Path.home() / ".cache" / "arcticdl"


def download(
    url: str,
    path: str | Path,
    *,
    checksum: str = "",
    num_bytes: int | None = None,
    way_out: str = "",
    wait_s: float = 1.0,
) -> str:
    """Downloads a file, or goes on with what an earlier attempt left.

    The bytes go to ``PATH.part``, which stays when the connection breaks and is
    continued by the next call; the file appears only when it is whole and verified.
    A bar on the terminal shows how far it is.

    Args:
        url: ``https://`` or ``http://`` address.
        path: Where the file shall be; its folder is made.
        checksum: Expected hexadecimal SHA-256, or its first digits; with ``md5:``
            before them, those of an MD5; empty: not checked.
        num_bytes: Expected size in bytes; ``None``: not checked.
        way_out: What the message proposes when the server cannot be reached; default:
            to put the file there by hand.
        wait_s: Pause before the second attempt in seconds; doubled before the third.

    Returns:
        The file's SHA-256.

    Raises:
        ValueError: An address of another kind.
        FetchError: The server cannot be reached or refuses, or the file is not the
            expected one (it is then removed).
        OSError: The disk is full; what has come stays.
    """
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"`url` must start with https:// or http://. Received: {url}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with _bar(path.name, num_bytes) as told:
        for attempt in range(ATTEMPTS):
            try:
                _append(url, part, told)
                break
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if attempt + 1 == ATTEMPTS or _is_final(error):
                    raise FetchError(_offline(url, path, error, way_out)) from error
                time.sleep(wait_s * 2**attempt)
    return _verify_and_move(part, path, checksum, num_bytes, url)


@contextmanager
def _bar(what: str, num_bytes: int | None) -> Iterator[Told]:
    """Shows a bar where a person looks on."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=num_bytes)

        def told(received: int, expected: int | None) -> None:
            progress.update(task, completed=received, total=expected or num_bytes)

        yield told


def _append(url: str, part: Path, told: Told) -> None:
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "arcticdl"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=_SILENCE_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing is left to send
            return
        raise
    start = start if response.status == 206 else 0  # a server may send all of it anew
    with response, open(part, "ab" if start else "wb") as file:
        length = response.headers.get("Content-Length")
        expected = None if length is None else start + int(length)
        received = start
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            received += len(chunk)
            told(received, expected)
    if expected is not None and received < expected:
        raise OSError(f"the connection broke after {received} of {expected} bytes")


def _is_final(error: Exception) -> bool:
    return isinstance(error, urllib.error.HTTPError) and error.code < 500


def _verify_and_move(
    part: Path, path: Path, checksum: str, num_bytes: int | None, url: str
) -> str:
    try:
        found = verify_file(part, checksum, num_bytes, told_as=url)
    except FetchError as error:
        part.unlink()
        raise FetchError(f"{error} It was removed; fetch it again.") from None
    flush(part)
    os.replace(part, path)
    return found


def verify_file(
    path: Path, checksum: str = "", num_bytes: int | None = None, *, told_as: str = ""
) -> str:
    """Compares a file with what is known of it.

    Args:
        path: The file.
        checksum: As for ``download``.
        num_bytes: As for ``download``.
        told_as: What the message calls the file; default: its path.

    Returns:
        The file's SHA-256.

    Raises:
        FetchError: Another size or checksum.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = path.write_text("ice")
        >>> verify_file(path, "md5:7bdff765")[:8]
        '4cb0b250'
    """
    size = path.stat().st_size
    if num_bytes is not None and size != num_bytes:
        raise FetchError(
            f"A file must have the expected size of {num_bytes} bytes. Received: "
            f"{size} bytes of {told_as or path}."
        )
    kind, _, digits = checksum.rpartition(":")
    wanted = {"sha256", kind or "sha256"}
    found = dict(zip(sorted(wanted), _digests(path, sorted(wanted)), strict=True))
    if not found[kind or "sha256"].startswith(digits.lower()):
        name = {"md5": "MD5"}.get(kind, "SHA-256")
        raise FetchError(
            f"A file must have the expected {name}, {digits}. Received: "
            f"{found[kind or 'sha256']} of {told_as or path}."
        )
    return found["sha256"]


def _digests(path: Path, kinds: list[str]) -> list[str]:
    """Several digests of one file, which is read once."""
    sums = [hashlib.new(kind, usedforsecurity=kind != "md5") for kind in kinds]
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            for one in sums:
                one.update(chunk)
    return [one.hexdigest() for one in sums]


def _offline(url: str, path: Path, error: OSError, way_out: str) -> str:
    """The message about a file that did not come."""
    is_answer = isinstance(error, urllib.error.HTTPError)
    reason = error if is_answer else getattr(error, "reason", error)
    way_out = way_out or (
        f"On a machine with internet download {url} and put it at {str(path)!r}; no "
        "other step is needed. ARCTICDL_CACHE names another cache folder."
    )
    return (
        "The file must be fetched, or be there already. Received: "
        f"{reason} from {url}. {way_out}"
    )
