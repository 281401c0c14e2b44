"""Files that lie on the web or in a cloud's store, by their addresses."""

import glob
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from arcticdl.errors import SourceError

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://")
_VSI = {"http": "/vsicurl/http://", "https": "/vsicurl/https://", "s3": "/vsis3/",
        "gs": "/vsigs/", "gcs": "/vsigs/", "az": "/vsiaz/"}  # fmt: skip
"""Schemes of addresses, and the file systems by which GDAL reads them, block by block
(gdal.org/user/virtual_file_systems.html)."""

LISTED = ("gcs", "gs", "s3")
"""Schemes of stores that list their files, and that tiles are written to."""

_WILD = re.compile(r"[*?\[]")
_REFUSED = re.compile("UNAVAILABLE|DENIED|UNAUTHENTICATED|DEADLINE|ABORTED|INTERNAL")
_RETRIES = {"max_retries": 4, "initial_delay": "0.2s", "max_delay": "4s"}


def is_address(path: Any) -> bool:
    """Whether a path is an address such as ``https://...``, for fsspec or GDAL."""
    return _ADDRESS.match(str(path)) is not None


def is_remote(path: Any) -> bool:
    """Whether a path is no local file: an address, or one of GDAL's file systems."""
    return is_address(path) or str(path).startswith("/vsi")


def is_far(path: Any) -> bool:
    """Whether each request of a file waits for a network, as archives' members do not.

    >>> is_far("/vsis3/ice/a.tif"), is_far("/vsizip/{a.zip}/a.tif"), is_far("a.tif")
    (True, False, False)
    """
    return is_remote(path) and not str(path).startswith(("/vsizip/", "/vsimem/"))


def is_gdal_address(address: str) -> bool:
    """Whether GDAL has a file system for an address."""
    scheme = _ADDRESS.match(address)
    return address.startswith("/vsi") or (scheme is not None and scheme[1] in _VSI)


def gdal_path(path: Any) -> str:
    """What GDAL calls a file.

    >>> gdal_path("s3://bucket/scene.tif"), gdal_path("scene.tif")
    ('/vsis3/bucket/scene.tif', 'scene.tif')
    """
    text = str(path)
    scheme = _ADDRESS.match(text)
    if scheme is None or scheme[1] not in _VSI:
        return text
    return _VSI[scheme[1]] + text[scheme.end() :]


class _Unanswered(logging.Handler):
    """What GDAL told this thread of requests that a server failed to answer.

    Whatever a server says but 200, GDAL takes for "there is no such file", and tells in
    a warning. That a file is not there, or not for us (as a bucket says that must not
    be listed), is an answer; an error of the server's own is none.
    """

    _SAYS = re.compile(r"HTTP response code on (\S+): (408|429|5\d\d)")

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.found: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        said = self._SAYS.search(record.getMessage())
        if said and record.thread == self._thread:
            self.found[said[1]] = said[2]


@contextmanager
def beside_told(path: str) -> Iterator[None]:
    """Refuses what GDAL reads of a file, where a server hid what may lie beside it.

    Args:
        path: The file, as GDAL calls it.

    Raises:
        SourceError: A server failed to say whether a mask or metadata is there.
    """
    log, told = logging.getLogger("rasterio._env"), _Unanswered()
    log.addHandler(told)
    try:
        yield
    finally:
        log.removeHandler(told)
    folder, _, name = path.rpartition("/")
    beside = {}
    for url, code in told.found.items():
        other = url.rpartition("/")[2]
        other = other if "%" in name else unquote(other)  # of buckets GDAL encodes it
        if other != name:
            beside[url] = code
            _forget(f"{folder}/{other}")
    if not beside:
        return
    url, code = next(iter(beside.items()))
    raise SourceError(
        f"Whether a mask or metadata lies beside {path} must be known, since pixels "
        f"count as valid where there is none. Received: status {code} of {url}. Try "
        "again later; where nothing lies beside the files, the environment variable "
        "GDAL_DISABLE_READDIR_ON_OPEN=EMPTY_DIR asks for nothing."
    )


def _forget(path: str) -> None:
    """Has GDAL forget that a file is not there, which it would answer from then on."""
    import rasterio
    from rasterio.errors import RasterioError

    forgets = {"CPL_VSIL_CURL_NON_CACHED": path, "GDAL_HTTP_MAX_RETRY": 0}
    with rasterio.Env(**forgets):
        try:
            rasterio.open(path).close()
        except RasterioError:
            return


def stem_of(path: Any) -> str:
    """A file's name without its ending, nor the query that signs its address for a day.

    >>> stem_of("https://ice.example/a.tif?v=1.2&sig=b/c.d"), stem_of("data/a.b.tif")
    ('a', 'a.b')
    """
    text = str(path)
    is_web = text.startswith(("http://", "https://", "/vsicurl/"))
    return Path(text.split("?")[0] if is_web else text).stem


def find_files(pattern: str) -> list[str]:
    """The files that a pattern names, on a disk or in a bucket, sorted.

    Args:
        pattern: A path or address with ``*``, ``?`` or ``[...]``; ``**`` stands for any
            folders. Without one of these it is the only file, there or not; on the web
            ``?`` begins a query, which is no pattern. Nor is it one where a file bears
            that very name, such as ``scene[1].tif``.

    Raises:
        SourceError: A pattern of a scheme that lists no files, or a bucket that cannot
            be listed.
    """
    if not is_remote(pattern):
        if os.path.exists(pattern):
            return [pattern]
        return sorted(glob.glob(pattern, recursive=True))
    scheme = _ADDRESS.match(pattern)
    name = scheme[1] if scheme else ""
    is_web = name.startswith("http")
    wild = "*" in pattern.split("?")[0] if is_web else _WILD.search(pattern)
    if not wild:
        return [pattern]
    if name not in LISTED:
        raise SourceError(
            "A pattern must be of a path, or of a bucket that lists its files (s3://, "
            f"gs://). Received: {pattern}. Name each file, or give a table of them "
            "(`data.table`)."
        )
    folder = _WILD.split(pattern)[0].rpartition("/")[0]
    wanted = pattern.removeprefix(f"{folder}/").split("/")
    found = {
        _named(key.decode().split("/"), wanted) for key in list_folder(folder)
    }  # fmt: skip
    return sorted(f"{folder}/{name}" for name in found if name)


def _named(parts: list[str], wanted: Sequence[str]) -> str:
    """What of a key a pattern names: a file or, such as of a Zarr store, its folder."""
    parts = parts if "**" in wanted else parts[: len(wanted)]
    return "/".join(parts) if _fits(parts, wanted) else ""


def _fits(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted or not parts:
        return not wanted and not parts
    if wanted[0] == "**":
        return _fits(parts, wanted[1:]) or _fits(parts[1:], wanted)
    return fnmatchcase(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])


def list_folder(address: str) -> list[bytes]:
    """Keys of all objects in a folder of a bucket, seen from there.

    Raises:
        SourceError: The bucket cannot be listed.
    """
    with opened_folder(address) as folder:
        return list(folder.list().result())


@contextmanager
def opened_folder(address: str) -> Iterator[Any]:
    """A folder in a bucket, as TensorStore's key-value store.

    Raises:
        SourceError: What is done within fails, as at a bucket that is not there.
    """
    import tensorstore as ts

    spec = folder_spec(address)
    try:
        yield ts.KvStore.open(spec).result()
    except (ValueError, RuntimeError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(unreachable(address, error)) from error


def unreachable(address: str, error: BaseException) -> str:
    """What is said where an address does not answer, or not to us."""
    said = re.sub(r"\s*\[[^\]]*='.*", "", str(error))[:300]
    return (
        "An address must be reachable, its bucket exist, and credentials be those that "
        "may use it (of s3:// as the AWS command line finds them, of gs:// the file "
        "GOOGLE_APPLICATION_CREDENTIALS). "
        f"Received: {address} ({said})."
    )


def is_unreachable(where: Any, error: BaseException) -> bool:
    """Whether TensorStore failed to ask a server, and not at what it answered.

    Args:
        where: What was opened. No path is: a folder that denies to be written to has
            neither a bucket nor credentials.
        error: What TensorStore raised.
    """
    return is_address(where) and _REFUSED.search(str(error)) is not None


def folder_spec(address: str) -> dict[str, Any]:
    """A folder in a bucket, as TensorStore opens it.

    As for other tools, ``AWS_ENDPOINT_URL`` names a server that is not Amazon's, and
    ``AWS_NO_SIGN_REQUEST=YES`` reads public buckets without credentials.

    Args:
        address: With a scheme of `LISTED`.

    Raises:
        SourceError: It names no bucket, or has another scheme.

    Example:
        >>> folder_spec("gs://ice/ponds.zarr")["path"]
        'ponds.zarr/'
    """
    scheme = _ADDRESS.match(address)
    bucket, _, path = address[scheme.end() if scheme else 0 :].partition("/")
    if scheme is None or scheme[1] not in LISTED or not bucket:
        raise SourceError(
            "A folder in an object store must be s3://BUCKET/... or gs://BUCKET/... "
            f"Received: {address}."
        )
    path = f"{path.strip('/')}/" if path.strip("/") else ""
    if scheme[1] != "s3":
        context = {"gcs_request_retries": _RETRIES}
        return {"driver": "gcs", "bucket": bucket, "path": path, "context": context}
    context = {"s3_request_retries": _RETRIES}
    spec: dict[str, Any] = {
        "driver": "s3", "bucket": bucket, "path": path, "context": context,
    }  # fmt: skip
    if endpoint := s3_endpoint():
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        spec |= {"endpoint": endpoint, "aws_region": region or "us-east-1"}
    if os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE", "1"):
        spec |= {"aws_credentials": {"type": "anonymous"}}
    elif "AWS_ACCESS_KEY_ID" in os.environ:  # else it complains of files not there
        spec |= {"aws_credentials": {"type": "environment"}}
    return spec


def s3_endpoint() -> str:
    """Address of the server behind ``s3://``, where it is not Amazon's; else empty."""
    told = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return (told or "").rstrip("/")


def gdal_endpoint() -> dict[str, str]:
    """The same server, in GDAL's words; what is told GDAL itself goes before."""
    secure, _, host = s3_endpoint().partition("://")
    if not host or "AWS_S3_ENDPOINT" in os.environ:
        return {}
    yes = "YES" if secure == "https" else "NO"
    return {"AWS_S3_ENDPOINT": host, "AWS_HTTPS": yes, "AWS_VIRTUAL_HOSTING": "FALSE"}
