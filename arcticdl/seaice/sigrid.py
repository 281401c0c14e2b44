"""The egg code of regions that bear one class of an ice chart."""

import re
from collections.abc import Sequence

from arcticdl.seaice.charts import UNDETERMINED
from arcticdl.seaice.schemes import SCHEMES, ClassScheme

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


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower())
