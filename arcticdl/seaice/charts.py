"""SIGRID-3 code tables, as data with intervals, and the egg code of a chart polygon.

Sources: WMO/IOC JCOMM Technical Report 23 (WMO/TD-No. 1214), SIGRID-3 revision 3, and
its earlier versions, whose codes (00 and 55 for ice free) ice services still write.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

NULL = -9
"""A field that is not filled."""
UNDETERMINED = 99


class Interval(NamedTuple):
    """A closed interval; ``high`` is infinite where the table sets no limit."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Centre of the interval; its lower end where it is open above.

        Example:
            >>> Interval(0.7, 0.9).middle, Interval(120.0, float("inf")).middle
            (0.8, 120.0)
        """
        return self.low if self.high == float("inf") else (self.low + self.high) / 2


class CodeInfo(NamedTuple):
    """Meaning of a code: name, and thickness in cm or floe size in m."""

    name: str
    interval: Interval


_INF = float("inf")
_RANGES = (12, 13, 23, 24, 34, 35, 45, 46, 56, 57, 67, 68, 78, 79, 89)

CONCENTRATION: Mapping[int, Interval] = {
    **dict.fromkeys((0, 55, 98), Interval(0.0, 0.0)),
    **dict.fromkeys((1, 2), Interval(0.0, 0.1)),
    **{code: Interval(code / 100, code / 100) for code in range(10, 100, 10)},
    **{code: Interval(code // 10 / 10, code % 10 / 10) for code in _RANGES},
    81: Interval(0.8, 1.0),
    91: Interval(0.9, 1.0),
    92: Interval(1.0, 1.0),
}
"""Concentration code (CT, CA, CB, CC) to fraction of area; 99 has no interval."""

_THICKNESS_CM = {
    **{code: float(code) for code in range(2, 51)},
    **{code: 55.0 + 5.0 * (code - 51) for code in range(51, 60)},
    **{code: 100.0 + 10.0 * (code - 60) for code in range(60, 70)},
    **{code: 200.0 + 50.0 * (code - 70) for code in range(70, 74)},
    **{code: 400.0 + 100.0 * (code - 74) for code in range(74, 79)},
}

STAGE: Mapping[int, CodeInfo] = {
    **{
        code: CodeInfo(f"ice of {cm:.0f} cm", Interval(cm, cm))
        for code, cm in _THICKNESS_CM.items()
    },
    0: CodeInfo("ice free", Interval(0.0, 0.0)),
    1: CodeInfo("ice free", Interval(0.0, 0.0)),
    79: CodeInfo("brash ice", Interval(0.0, _INF)),
    80: CodeInfo("no stage of development", Interval(0.0, 0.0)),
    81: CodeInfo("new ice", Interval(0.0, 10.0)),
    82: CodeInfo("nilas, ice rind", Interval(0.0, 10.0)),
    83: CodeInfo("young ice", Interval(10.0, 30.0)),
    84: CodeInfo("grey ice", Interval(10.0, 15.0)),
    85: CodeInfo("grey-white ice", Interval(15.0, 30.0)),
    86: CodeInfo("first-year ice", Interval(30.0, 200.0)),
    87: CodeInfo("thin first-year ice", Interval(30.0, 70.0)),
    88: CodeInfo("thin first-year ice, stage one", Interval(30.0, 50.0)),
    89: CodeInfo("thin first-year ice, stage two", Interval(50.0, 70.0)),
    91: CodeInfo("medium first-year ice", Interval(70.0, 120.0)),
    93: CodeInfo("thick first-year ice", Interval(120.0, _INF)),
    94: CodeInfo("residual ice", Interval(0.0, _INF)),
    95: CodeInfo("old ice", Interval(0.0, _INF)),
    96: CodeInfo("second-year ice", Interval(0.0, _INF)),
    97: CodeInfo("multi-year ice", Interval(0.0, _INF)),
    98: CodeInfo("glacier ice", Interval(0.0, _INF)),
}
"""Stage of development code (SA, SB, SC, CN, CD) to name and thickness in cm.

Codes 2 to 78 tell the thickness itself, so 55 is 75 cm of ice; charts of versions
before 3.0 wrote 55 for ice free, which :func:`read_egg` tells by their total.
"""

FORM: Mapping[int, CodeInfo] = {
    22: CodeInfo("pancake ice", Interval(0.3, 3.0)),
    1: CodeInfo("shuga, small ice cake, brash", Interval(0.0, 2.0)),
    2: CodeInfo("ice cake", Interval(2.0, 20.0)),
    3: CodeInfo("small floe", Interval(20.0, 100.0)),
    4: CodeInfo("medium floe", Interval(100.0, 500.0)),
    5: CodeInfo("big floe", Interval(500.0, 2_000.0)),
    6: CodeInfo("vast floe", Interval(2_000.0, 10_000.0)),
    7: CodeInfo("giant floe", Interval(10_000.0, _INF)),
    8: CodeInfo("fast ice", Interval(0.0, _INF)),
    9: CodeInfo("growlers, floebergs, floebits", Interval(0.0, _INF)),
    10: CodeInfo("icebergs", Interval(0.0, _INF)),
    **{
        code: CodeInfo(f"strips and patches, {code - 10}/10", Interval(0.0, _INF))
        for code in range(11, 20)
    },
    91: CodeInfo("strips and patches, 9+/10", Interval(0.0, _INF)),
    20: CodeInfo("strips and patches, 10/10", Interval(0.0, _INF)),
    21: CodeInfo("level ice", Interval(0.0, _INF)),
}
"""Form of ice code (FA, FB, FC) to name and floe size in m."""

POLY_TYPES: Mapping[str, str] = {
    "I": "ice",
    "W": "water, ice free",
    "L": "land",
    "N": "no data",
    "S": "ice shelf or ice of land origin",
}
"""POLY_TYPE to meaning."""

CLASSIC_COLUMNS = (
    *("CT", "CA", "SA", "FA", "CB", "SB", "FB", "CC", "SC", "FC"),
    *("CN", "CD", "CF", "POLY_TYPE"),
)


class IceType(NamedTuple):
    """One kind of ice in a polygon: codes of concentration, stage and form."""

    concentration: int
    stage: int
    form: int


@dataclass(frozen=True)
class Egg:
    """The egg code of one polygon, whatever columns it came in.

    Attributes:
        poly_type: One of ``POLY_TYPES``.
        total: Total concentration code, ``NULL`` where empty.
        types: Up to three kinds of ice, the thickest first.
        trace: Stage of a trace of thicker ice (CN, So), ``NULL`` where none.
        rest: Stage of what is left of the total (CD, Sd), ``NULL`` where none.
    """

    poly_type: str
    total: int
    types: tuple[IceType, ...]
    trace: int = NULL
    rest: int = NULL


def concentration_interval(code: int) -> Interval | None:
    """Gives the interval of a concentration code.

    Args:
        code: SIGRID-3 code.

    Returns:
        Lowest and highest fraction; ``None`` for 99, an empty field and unknown codes.

    Example:
        >>> concentration_interval(79)
        Interval(low=0.7, high=0.9)
    """
    return CONCENTRATION.get(code)


def read_code(value: Any) -> int:
    """Reads one code out of a table cell.

    Args:
        value: Number or text; ``None``, NaN, blanks, ``bb``, ``-9`` and ``XX`` are
            empty.

    Returns:
        The code, ``NULL`` where the cell is empty.

    Raises:
        ValueError: The cell holds something else.

    Example:
        >>> read_code("07"), read_code(" "), read_code(91.0)
        (7, -9, 91)
    """
    if value is None or value != value:
        return NULL
    text = str(value).strip()
    if text.upper() in ("", "BB", "B", "XX", "NONE", "NAN", "-9", "-9.0", "<NA>"):
        return NULL
    number = re.fullmatch(r"(\d{1,2})(\.0*)?", text)
    if number is None:
        raise ValueError(
            f"A SIGRID-3 code must be a number from 0 to 99. Received: {value!r}."
        )
    return int(number[1])


def read_egg(row: Mapping[str, Any]) -> Egg:
    """Reads the egg code out of the attributes of one polygon.

    Takes the classic columns (CT, CA, SA, ...), those of the Ice Objects Catalogue
    (ICEACT, ICEAPC, ICESOD, ICEFLZ), and the lists of S-411 services
    (``iceact = "[80, 60, 20]"``, ``icesod = "[95, 93]"``); names in any case.

    Args:
        row: Attribute to value.

    Returns:
        The egg, codes as written.

    Raises:
        ValueError: No known columns, or a cell that holds no code.

    Example:
        >>> egg = read_egg({"CT": "80", "CA": "60", "SA": "95", "CB": "20", "SB": "83"})
        >>> egg.poly_type, egg.total, [kind.stage for kind in egg.types]
        ('I', 80, [95, 83])
    """
    cells = {str(name).upper(): value for name, value in row.items()}
    poly_type = str(cells.get("POLY_TYPE") or "").strip().upper()
    if any(read_list(cells.get(name)) for name in ("ICEACT", "ICESOD")):
        egg = _read_ice_objects(cells)
    elif "CT" in cells:
        egg = _read_classic(cells)
    elif poly_type in POLY_TYPES or "ICEACT" in cells:
        egg = Egg("", NULL, ())
    else:
        raise ValueError(
            "A chart polygon must have the column CT, ICEACT or POLY_TYPE. "
            f"Received: {sorted(cells)}."
        )
    return Egg(poly_type or _guess_type(egg), egg.total, egg.types, egg.trace, egg.rest)


def _guess_type(egg: Egg) -> str:
    """POLY_TYPE of charts that leave it out; land is left out as a polygon then."""
    if egg.total == NULL and not egg.types:
        return "N"
    return "W" if CONCENTRATION.get(egg.total) == (0.0, 0.0) else "I"


def _read_classic(cells: Mapping[str, Any]) -> Egg:
    """Columns CT, CA, SA, FA and so on; water has no kinds, whatever stands there."""
    total = read_code(cells.get("CT"))
    codes = [[read_code(cells.get(f"{k}{slot}")) for k in "CSF"] for slot in "ABC"]
    types = tuple(IceType(*each) for each in codes if each[:2] != [NULL, NULL])
    trace, rest = (read_code(cells.get(name)) for name in ("CN", "CD"))
    if CONCENTRATION.get(total) == (0.0, 0.0):
        types = ()
    return Egg("", total, types, trace, rest)


def read_list(value: Any) -> list[int]:
    """Reads a field of the Ice Objects Catalogue: two digits each, or a list.

    Args:
        value: ``"9593bb"``, ``"[95, 93]"``, ``95`` or nothing; ``bb`` is empty.

    Returns:
        The codes in order, ``NULL`` in empty places.

    Raises:
        ValueError: Neither digits by twos nor a list.

    Example:
        >>> read_list("bb959387bb"), read_list("[80, 60]")
        ([-9, 95, 93, 87, -9], [80, 60])
    """
    if value is None or value != value:
        return []
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    if text.startswith("["):
        return [read_code(part) for part in text.strip("[]").split(",") if part.strip()]
    if len(text) % 2:
        text = "0" + text
    return [read_code(text[at : at + 2]) for at in range(0, len(text), 2)]


def _read_ice_objects(cells: Mapping[str, Any]) -> Egg:
    """ICEACT may carry the parts as well (S-411); ICESOD is So Sa Sb Sc Sd or Sa..."""
    total, *listed = read_list(cells.get("ICEACT")) or [NULL]
    parts = read_list(cells.get("ICEAPC")) or listed
    stages = read_list(cells.get("ICESOD"))
    forms = read_list(cells.get("ICEFLZ"))
    in_five = not str(cells.get("ICESOD") or "").strip().startswith("[")
    trace = rest = NULL
    if in_five and len(stages) == 5:
        (trace, *stages, rest) = stages
    types = []
    for place in range(max(len(parts), len(stages))):
        triple = [
            codes[place] if place < len(codes) else NULL
            for codes in (parts, stages, forms)
        ]
        if triple[:2] != [NULL, NULL]:
            types.append(IceType(*triple))
    if CONCENTRATION.get(total) == (0.0, 0.0):
        types = []
    return Egg("", total, tuple(types[:3]), trace, rest)
