"""The egg code of regions that bear one class of an ice chart, or of three charts."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.seaice.charts import UNDETERMINED
from arcticdl.seaice.schemes import (
    AUTOICE_FLOE,
    AUTOICE_SIC,
    AUTOICE_SOD,
    SCHEMES,
    ClassScheme,
)
from arcticdl.void import VOID_CLASS

_FIELDS = {"concentration": "CT", "stage": "SA", "form": "FA"}
_EMPTY = "-9"


def scheme_of(classes: Sequence[str]) -> ClassScheme | None:
    """The scheme of an ice chart that all of these classes belong to, if any.

    Args:
        classes: Names, in any case, with blanks, hyphens or underscores.

    Example:
        >>> scheme_of(["Open water", "Thin first-year ice"]).name
        'autoice_sod'
        >>> scheme_of(["pond", "ice"])
    """
    wanted = {_plain(name) for name in classes}
    for scheme in SCHEMES.values():
        if len(wanted) > 1 and wanted <= {_plain(name) for name in scheme.classes}:
            return scheme
    return None


def sigrid_attributes(classes: Sequence[str]) -> list[dict[str, str]] | None:
    """Columns of SIGRID-3 for regions of each class, as text of two digits.

    A map of one field says nothing of the others: the total concentration of ice whose
    stage alone is known is undetermined (99), and what is not told is not filled (-9).

    Args:
        classes: Names of the classes.

    Returns:
        For each class ``CT``, ``CA``, ``SA``, ``FA`` and ``POLY_TYPE``; ``None`` where
        the classes are not those of an ice chart.

    Example:
        >>> water, old = sigrid_attributes(["open water", "old ice"])
        >>> water["POLY_TYPE"], old["SA"], old["CT"]
        ('W', '95', '99')
    """
    scheme = scheme_of(classes)
    if scheme is None:
        return None
    numbers = {_plain(name): number for number, name in enumerate(scheme.classes)}
    return [_columns(scheme, numbers[_plain(name)]) for name in classes]


def _columns(scheme: ClassScheme, number: int) -> dict[str, str]:
    columns = dict.fromkeys(("CT", "CA", "SA", "FA"), _EMPTY)
    if number == 0:  # the first class of every scheme is water
        return columns | {"POLY_TYPE": "W"}
    columns["CT"] = str(UNDETERMINED)
    columns[_FIELDS[scheme.field]] = f"{scheme.code_of(number):02d}"
    return columns | {"POLY_TYPE": "I"}


class Charts(NamedTuple):
    """Concentration, stage and floe size of the same pixels, uint8, 255 where void.

    Attributes:
        sic: Tenths, 0 to 10.
        sod: Classes of ``AUTOICE_SOD``.
        floe: Classes of ``AUTOICE_FLOE``.
    """

    sic: NDArray[np.uint8]
    sod: NDArray[np.uint8]
    floe: NDArray[np.uint8]


def settle_charts(charts: Charts) -> Charts:
    """Makes three maps say one thing, as a polygon of a chart does.

    The concentration decides: without ice there is neither stage nor floe; ice that a
    stage or floe map calls water is ice of undetermined stage or floe; and nothing is
    said where the concentration is void.

    Args:
        charts: Maps of any one shape.

    Returns:
        The maps settled. To settle them again changes nothing.

    Example:
        >>> maps = [np.array(each, np.uint8) for each in ([0, 9], [4, 0], [5, 5])]
        >>> [each.tolist() for each in settle_charts(Charts(*maps))]
        [[0, 9], [0, 255], [0, 5]]
    """
    sic = charts.sic
    ice, water = (sic > 0) & (sic != VOID_CLASS), sic == 0

    def settled(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        told = np.where(ice & (codes != 0), codes, np.uint8(VOID_CLASS))
        return np.where(water, np.uint8(0), told)

    return Charts(sic, settled(charts.sod), settled(charts.floe))


def chart_columns(sic: int, sod: int, floe: int) -> dict[str, str]:
    """Columns of SIGRID-3 for a region of one concentration, stage and floe size.

    Args:
        sic: Tenths, 0 to 10.
        sod: Class of ``AUTOICE_SOD``, 255 where undetermined.
        floe: Class of ``AUTOICE_FLOE``, likewise.

    Returns:
        ``CT``, ``CA``, ``SA``, ``FA`` and ``POLY_TYPE`` as text; one kind of ice has
        the total concentration for its own.

    Example:
        >>> chart_columns(9, 5, 255)
        {'CT': '90', 'CA': '90', 'SA': '95', 'FA': '99', 'POLY_TYPE': 'I'}
        >>> chart_columns(0, 0, 0)["CT"]
        '98'
    """
    if sic == 0:
        empty = dict.fromkeys(("CA", "SA", "FA"), _EMPTY)
        return {"CT": "98", **empty, "POLY_TYPE": "W"}
    total = f"{AUTOICE_SIC.code_of(sic):02d}"
    stage, form = (
        f"{UNDETERMINED if code == VOID_CLASS else scheme.code_of(code):02d}"
        for scheme, code in ((AUTOICE_SOD, sod), (AUTOICE_FLOE, floe))
    )
    return {"CT": total, "CA": total, "SA": stage, "FA": form, "POLY_TYPE": "I"}


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower())
