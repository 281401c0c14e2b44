"""Class schemes: from chart codes to classes and back.

The AutoICE schemes follow Stokholm et al. 2024, The AutoICE Challenge, The Cryosphere
18, 3471-3494; there, codes of a concentration range passed through unchanged, while
here they count by the middle of their interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from arcticdl.seaice import charts, colours
from arcticdl.seaice.charts import UNDETERMINED
from arcticdl.void import VOID_CLASS


@dataclass(frozen=True)
class ClassScheme:
    """Classes over one field of the egg code.

    Attributes:
        name: Name of the scheme, a key of ``SCHEMES``.
        field: ``"concentration"``, ``"stage"`` or ``"form"``.
        classes: Names, class 0 first.
        colours: One ``#rrggbb`` a class.
        codes: The chart codes of each class; the first stands for the class when
            mapping back.
    """

    name: str
    field: str
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    codes: tuple[tuple[int, ...], ...]

    def class_of(self, code: int) -> int | None:
        """Gives the class of a chart code, ``None`` where the scheme has none.

        Example:
            >>> AUTOICE_SOD.class_of(95), AUTOICE_SOD.class_of(99)
            (5, None)
        """
        for number, codes in enumerate(self.codes):
            if code in codes:
                return number
        return None

    def code_of(self, class_number: int) -> int:
        """Gives the chart code that stands for a class.

        Raises:
            ValueError: No such class.

        Example:
            >>> AUTOICE_SOD.code_of(5)
            95
        """
        if not 0 <= class_number < len(self.classes):
            raise ValueError(
                f"`class_number` must be from 0 to {len(self.classes) - 1} in scheme "
                f"{self.name!r}. Received: {class_number}."
            )
        return self.codes[class_number][0]

    def to_classes(self, codes: ArrayLike) -> np.ndarray:
        """Maps an array of chart codes to classes.

        Args:
            codes: Integer codes, any shape; -9 and 99 allowed.

        Returns:
            uint8 classes of the same shape, 255 where the scheme has none.

        Example:
            >>> AUTOICE_SOD.to_classes([80, 87, 95, 99]).tolist()
            [0, 3, 5, 255]
        """
        table = np.full(256, VOID_CLASS, np.uint8)
        for number, members in enumerate(self.codes):
            table[list(members)] = number
        return _look_up(table, codes)

    def to_codes(self, classes: ArrayLike) -> np.ndarray:
        """Maps classes back to the codes that stand for them.

        Args:
            classes: Integer classes, any shape; 255 is void.

        Returns:
            int16 codes of the same shape, 99 where void or no class.

        Example:
            >>> AUTOICE_SOD.to_codes([0, 5, 255]).tolist()
            [80, 95, 99]
        """
        table = np.full(256, UNDETERMINED, np.int16)
        table[: len(self.codes)] = [members[0] for members in self.codes]
        return _look_up(table, classes)

    def convert(self, classes: ArrayLike, other: "ClassScheme") -> np.ndarray:
        """Maps classes of this scheme to those of a coarser one.

        Args:
            classes: Integer classes, any shape; 255 is void.
            other: Scheme over the same field.

        Returns:
            uint8 classes of ``other``, 255 where void.

        Raises:
            ValueError: Another field, or a class that ``other`` would split.

        Example:
            >>> AUTOICE_SOD.convert([0, 1, 3, 255], FOUR_CLASS).tolist()
            [0, 1, 2, 255]
        """
        if other.field != self.field:
            raise ValueError(
                f"Schemes must share one field. Received: {self.name!r} over "
                f"{self.field}, {other.name!r} over {other.field}."
            )
        table = np.full(256, VOID_CLASS, np.uint8)
        for number, members in enumerate(self.codes):
            mapped = [other.class_of(code) for code in members]
            found = {each for each in mapped if each is not None}
            if len(found) > 1:
                raise ValueError(
                    f"Class {self.classes[number]!r} of scheme {self.name!r} must lie "
                    f"within one class of {other.name!r}. Received: it spans classes "
                    f"{sorted(found)}."
                )
            if found:
                table[number] = found.pop()
        return _look_up(table, classes)


def _look_up(table: np.ndarray, numbers: ArrayLike) -> np.ndarray:
    """Entries of a table of 256; numbers outside take the last, which is void."""
    array = np.asarray(numbers)
    inside = (array >= 0) & (array < 256)
    return table[np.where(inside, array, 255).astype(np.intp)]


_FREE = (0, 55, 98, 1, 2)


def _tenths() -> tuple[tuple[int, ...], ...]:
    """Codes by the tenth that the middle of their interval rounds up to."""
    members: list[list[int]] = [list(_FREE), *([10 * n] for n in range(1, 10)), [92]]
    for code, interval in charts.CONCENTRATION.items():
        if code not in _FREE and code not in (91, 92) and code % 10:
            members[int(interval.middle * 10.0 + 0.5 + 1e-9)].append(code)
    members[10].append(91)
    return tuple(map(tuple, members))


_SIC_COLOURS = tuple(
    colours.concentration_colour(code) for code in (0, *range(10, 100, 10), 92)
)

_THIN_CODES = (*range(30, 51), 51, 52, 53)
_WATER_STAGES = (80, 0, 1)
_NEW = (81, 82, *range(2, 10))
_YOUNG = (83, 84, 85, *range(10, 30))
_THIN = (87, 88, 89, *_THIN_CODES)
_THICK = (86, 91, 93, *range(54, 79))
_OLD = (95, 96, 97)

AUTOICE_SIC = ClassScheme(
    "autoice_sic",
    "concentration",
    tuple(f"{n}_percent" for n in range(0, 101, 10)),
    _SIC_COLOURS,
    _tenths(),
)
AUTOICE_SOD = ClassScheme(
    "autoice_sod",
    "stage",
    (
        *("open_water", "new_ice", "young_ice", "thin_first_year_ice"),
        *("thick_first_year_ice", "old_ice"),
    ),
    colours.AUTOICE_SOD_COLOURS,
    (_WATER_STAGES, _NEW, _YOUNG, _THIN, _THICK, _OLD),
)
AUTOICE_FLOE = ClassScheme(
    "autoice_floe",
    "form",
    (
        *("open_water", "cake_ice", "small_floe", "medium_floe", "big_floe"),
        *("vast_floe", "bergs"),
    ),
    ("#96c8ff", "#ffffd4", "#fee391", "#fec44f", "#fe9929", "#d95f0e", "#f0e6ff"),
    ((0,), (2,), (3,), (4,), (5,), (6, 7), (10, 9)),
)
FOUR_CLASS = ClassScheme(
    "four_class",
    "stage",
    ("open_water", "young_ice", "first_year_ice", "multi_year_ice"),
    ("#96c8ff", "#aa28f0", "#ffff00", "#b46432"),
    (_WATER_STAGES, (83, *_NEW, *_YOUNG[1:]), (86, *_THIN, *_THICK[1:]), _OLD),
)
BINARY = ClassScheme(
    "binary",
    "stage",
    ("water", "ice"),
    ("#0064ff", "#ffffff"),
    (_WATER_STAGES, (86, *_NEW, *_YOUNG, *_THIN, *_THICK[1:], *_OLD, 79, 94, 98)),
)
_WMO_STAGES = (80, *range(81, 90), 91, 93, *range(94, 99))
WMO_STAGE = ClassScheme(
    "wmo_stage",
    "stage",
    (
        "open_water",
        *(
            charts.STAGE[code].name.replace(",", "").replace(" ", "_")
            for code in _WMO_STAGES[1:]
        ),
    ),
    tuple(colours.stage_colour(code) for code in _WMO_STAGES),
    (_WATER_STAGES, *((code,) for code in _WMO_STAGES[1:])),
)

SCHEMES: Mapping[str, ClassScheme] = {
    scheme.name: scheme
    for scheme in (
        *(AUTOICE_FLOE, AUTOICE_SIC, AUTOICE_SOD),
        *(BINARY, FOUR_CLASS, WMO_STAGE),
    )
}
"""Name to scheme."""
