"""Names of single Sentinel-2 band files, as ESA and the open archives give them."""

import re
from typing import NamedTuple

_BAND = r"(?P<band>B0[1-9]|B1[0-2]|B8A|SCL)"
_ENDING = r"\.(?:tif|tiff|jp2)$"
_PATTERNS = tuple(
    re.compile(pattern + _ENDING, re.IGNORECASE)
    for pattern in (
        # T33XWJ_20220413T150759_B02_10m.jp2 of ESA, without the size for Level 1C
        rf"^(?P<product>T\d\d[A-Z]{{3}}_\d{{8}}T\d{{6}})_{_BAND}(?:_\d\dm)?",
        # S2B_33XWJ_20220413_0_L2A_B02.tif, an archive's identifier before the band
        rf"^(?P<product>S2[A-D]_\d{{1,2}}[A-Z]{{3}}_\d{{8}}_\d+_L(?:1C|2A))_{_BAND}",
        # B02.tif in a folder of that identifier
        rf"^(?P<product>){_BAND}",
    )
)


class BandName(NamedTuple):
    """What a file name says."""

    product: str
    """Tile and time, or the archive's identifier; empty where the name is the band."""
    band: str
    """``"B02"``, ..., or ``"SCL"``."""


def band_of(name: str) -> BandName | None:
    """Reads the name of a band file.

    Args:
        name: File name with its ending, ``.tif``, ``.tiff`` or ``.jp2``.

    Returns:
        What it says, or ``None`` where it is no such name.

    >>> band_of("T33XWJ_20220413T150759_B8A_20m.jp2")
    BandName(product='T33XWJ_20220413T150759', band='B8A')
    >>> band_of("B02.tif").band
    'B02'
    >>> band_of("LC08_L1TP_005009_20150710_20200908_02_T1_B10.TIF") is None
    True
    """
    for pattern in _PATTERNS:
        found = pattern.match(name)
        if found:
            return BandName(found["product"].upper(), found["band"].upper())
    return None


def time_of(product: str) -> str | None:
    """Time in a product's name, ``YYYY-MM-DDTHH:MM:SSZ``; midnight for a mere date.

    >>> time_of("T33XWJ_20220413T150759")
    '2022-04-13T15:07:59Z'
    >>> time_of("S2B_33XWJ_20220413_0_L2A")
    '2022-04-13T00:00:00Z'
    """
    found = re.search(r"_(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d))?(?:_|$)", product)
    if found is None:
        return None
    year, month, day, *clock = found.groups()
    return f"{year}-{month}-{day}T{':'.join(part or '00' for part in clock)}Z"
