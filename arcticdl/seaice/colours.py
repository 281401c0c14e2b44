"""The colours in which the world's ice services draw their charts.

Sources: WMO/JCOMM Ice Chart Colour Code Standard (WMO/TD-No. 1215), as portrayed by
the S-411 style sheets. Colours are ``#rrggbb`` strings, as CF ``flag_colors`` and
Matplotlib take them; :func:`colormap` turns them into GDAL's colour table.
"""

from collections.abc import Iterable, Mapping

from arcticdl.void import VOID_CLASS

VOID_COLOUR = "#ffffff"
UNDETERMINED_COLOUR = "#ffffff"


def _by_code(groups: Iterable[tuple[str, tuple[int, ...]]]) -> dict[int, str]:
    return {code: colour for colour, codes in groups for code in codes}


CONCENTRATION_COLOURS: Mapping[int, str] = _by_code(
    [
        ("#0064ff", (0, 55, 98)),
        ("#96c8ff", (1, 2)),
        ("#8cffa0", (10, 12, 13, 20, 23, 30)),
        ("#ffff00", (24, 34, 35, 40, 45, 46, 50, 56, 60)),
        ("#ff7d07", (57, 67, 68, 70, 78, 80)),
        ("#ff0000", (79, 81, 89, 90, 91)),
        ("#910000", (92,)),
    ]
)
"""SIGRID-3 total concentration code to colour."""

STAGE_COLOURS: Mapping[int, str] = {
    0: "#0064ff",
    55: "#0064ff",
    1: "#96c8ff",
    70: "#96c8ff",
    80: "#96c8ff",
    81: "#f0d2fa",
    82: "#ff64ff",
    83: "#aa28f0",
    84: "#873cd7",
    85: "#dc50eb",
    86: "#ffff00",
    87: "#9bd200",
    88: "#d7fa82",
    89: "#affa00",
    91: "#00c814",
    93: "#007800",
    94: "#007800",
    95: "#b46432",
    96: "#ff780a",
    97: "#c80000",
    98: "#f0e6ff",
}
"""SIGRID-3 stage of development code to colour."""

AUTOICE_SOD_COLOURS: tuple[str, ...] = (
    "#96c8ff",
    "#f0d2fa",
    "#aa28f0",
    "#9bd200",
    "#007800",
    "#b46432",
)
"""Open water, new, young, thin first-year, thick first-year and old ice."""


def concentration_colour(code: int) -> str:
    """Gives the chart colour of a SIGRID-3 total concentration code.

    Args:
        code: Code such as 79 (7/10 to 9/10). Unknown codes are undetermined: white.

    Returns:
        The colour as ``#rrggbb``.

    Example:
        >>> concentration_colour(92)
        '#910000'
    """
    return CONCENTRATION_COLOURS.get(code, UNDETERMINED_COLOUR)


def stage_colour(code: int) -> str:
    """Gives the chart colour of a SIGRID-3 stage of development code.

    Args:
        code: Code such as 91 (medium first-year ice). Unknown codes are white.

    Returns:
        The colour as ``#rrggbb``.

    Example:
        >>> stage_colour(91)
        '#00c814'
    """
    return STAGE_COLOURS.get(code, UNDETERMINED_COLOUR)


def to_rgb(colour: str) -> tuple[int, int, int]:
    """Splits ``#rrggbb`` into red, green and blue.

    Args:
        colour: Seven characters, such as ``#96c8ff``.

    Returns:
        Three integers from 0 to 255.

    Raises:
        ValueError: The string is not of that form.

    Example:
        >>> to_rgb("#96c8ff")
        (150, 200, 255)
    """
    try:
        if len(colour) != 7 or colour[0] != "#":
            raise ValueError
        packed = int(colour[1:], 16)
    except ValueError:
        raise ValueError(
            f"`colour` must be a string of the form #rrggbb. Received: {colour!r}."
        ) from None
    return packed >> 16, packed >> 8 & 255, packed & 255


def colormap(
    colours: Iterable[str], *, void_class: int | None = VOID_CLASS
) -> dict[int, tuple[int, int, int, int]]:
    """Makes GDAL's colour table of a class map.

    Args:
        colours: One ``#rrggbb`` a class, class 0 first.
        void_class: Code drawn transparent white; ``None`` leaves it out.

    Returns:
        Class code to red, green, blue, alpha, as ``rasterio``'s ``write_colormap``
        takes it.

    Example:
        >>> colormap(["#0064ff"])
        {0: (0, 100, 255, 255), 255: (255, 255, 255, 0)}
    """
    table = {code: (*to_rgb(colour), 255) for code, colour in enumerate(colours)}
    if void_class is not None:
        table[void_class] = (*to_rgb(VOID_COLOUR), 0)
    return table
