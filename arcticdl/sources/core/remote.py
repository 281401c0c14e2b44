"""Files that lie on the web or in a cloud's store, by their addresses."""

import re
from typing import Any

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://")
_VSI = {"http": "/vsicurl/http://", "https": "/vsicurl/https://", "s3": "/vsis3/",
        "gs": "/vsigs/", "gcs": "/vsigs/", "az": "/vsiaz/"}  # fmt: skip
"""Schemes of addresses, and the file systems by which GDAL reads them, block by block
(gdal.org/user/virtual_file_systems.html)."""


def is_address(path: Any) -> bool:
    """Whether a path is an address such as ``https://...``, for fsspec or GDAL."""
    return _ADDRESS.match(str(path)) is not None


def is_remote(path: Any) -> bool:
    """Whether a path is no local file: an address, or one of GDAL's file systems."""
    return is_address(path) or str(path).startswith("/vsi")


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
