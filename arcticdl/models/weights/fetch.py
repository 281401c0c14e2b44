"""Downloading one file: resumed where it broke off, verified, moved into place last."""

import hashlib
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from arcticdl.errors import WeightsError
from arcticdl.files import flush

CHUNK_BYTES = 1 << 20
ATTEMPTS = 3


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str = "",
    timeout_s: float = 30.0,
    wait_s: float = 1.0,
) -> str:
    """Downloads a file, or goes on with what an earlier attempt left.

    The bytes go to ``PATH.part``, which stays when the connection breaks and is
    continued by the next call; the file appears only when it is whole and verified.

    Args:
        url: ``https://`` or ``http://`` address.
        path: Where the file shall be; its folder is made.
        sha256: Expected hexadecimal SHA-256, or its first digits; empty: not checked.
        timeout_s: Longest silence of the server in seconds.
        wait_s: Pause before the second attempt in seconds; doubled before the third.

    Returns:
        The file's SHA-256.

    Raises:
        ValueError: An address of another kind.
        WeightsError: The server cannot be reached or refuses, or the file is not the
            expected one (it is then removed).
    """
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"`url` must start with https:// or http://. Received: {url}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(ATTEMPTS):
        try:
            _append(url, part, timeout_s)
            break
        except (OSError, urllib.error.URLError) as error:
            if attempt + 1 == ATTEMPTS or _is_final(error):
                raise WeightsError(_offline_message(url, path, error)) from error
            time.sleep(wait_s * 2**attempt)
    return _verify_and_move(part, path, sha256, url)


def _append(url: str, part: Path, timeout_s: float) -> None:
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "arcticdl"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing is left to send
            return
        raise
    with response, open(part, "ab" if response.status == 206 else "wb") as file:
        expected = response.headers.get("Content-Length")
        received = 0
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            received += len(chunk)
    if expected is not None and received < int(expected):
        raise OSError(f"the connection broke after {received} of {expected} bytes")


def _is_final(error: Exception) -> bool:
    return isinstance(error, urllib.error.HTTPError) and error.code < 500


def _verify_and_move(part: Path, path: Path, sha256: str, url: str) -> str:
    with open(part, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256.lower()):
        part.unlink()
        raise WeightsError(
            "A downloaded file must have the expected SHA-256. Received: "
            f"{found} instead of {sha256} from {url}. It was removed; fetch it again."
        )
    flush(part)
    os.replace(part, path)
    return found


def _offline_message(url: str, path: Path, error: Exception) -> str:
    return (
        f"The file must be fetched, or be there already. Received: {error} from {url}. "
        f"On a machine with internet download {url} and put it at {str(path)!r}; no "
        "other step is needed."
    )
