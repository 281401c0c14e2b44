"""What can be derived: the table of formulas, which imports none of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NUMBER, TEXT, CODES = "a number", "text", "a list of whole numbers"
"""Kinds of an option."""


@dataclass(frozen=True)
class Formula:
    """One way to make a band of bands, or to void pixels.

    Attributes:
        maker: ``"module:function"`` of what reads it.
        needs: What it needs, in words.
        formula: What it computes, in words.
        units: Units of the band, or ``"mask"`` where pixels are voided instead.
        source: Where the formula comes from.
        roles: Bands that a step may name under ``bands``.
        of: How many bands ``of`` names: none, some number, or ``-1`` for any.
        options: Further options -> what each must be.
        required: Options that have no default.
    """

    maker: str
    needs: str
    formula: str
    units: str
    source: str
    roles: tuple[str, ...] = ()
    of: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()


_HERE = "arcticdl.derived"

FORMULAS: Mapping[str, Formula] = {
    "ratio": Formula(
        f"{_HERE}.radar:ratio",
        "two bands of one unit, `of: [A, B]`",
        "A - B in dB, else A / B",
        "dB or 1",
        "definition",
        of=2,
    ),
    "db": Formula(
        f"{_HERE}.radar:db",
        "linear power, `of: [A]`",
        "10 log10 A, at least `floor_db` (-60)",
        "dB",
        "definition",
        of=-1,
        options={"floor_db": NUMBER},
    ),
    "power": Formula(
        f"{_HERE}.radar:power",
        "decibels, `of: [A]`",
        "10^(A / 10)",
        "1",
        "definition",
        of=-1,
    ),
    "incidence_corrected": Formula(
        f"{_HERE}.radar:incidence_corrected",
        "decibels, `of: [A]`, and `incidence` in degrees",
        "A - `slope_db` (incidence - `reference_deg`)",
        "dB",
        "Makynen and Karvonen 2017; Mahmud et al. 2018",
        roles=("incidence",),
        of=-1,
        options={"slope_db": NUMBER, "reference_deg": NUMBER},
    ),
    "nasa_team": Formula(
        f"{_HERE}.microwave:nasa_team",
        "K of 18.7, 23.8 and 36.5 GHz vertical, "
        "`v18`, `v24`, `v37`, and horizontal at 18.7 GHz, `h18`",
        "concentration by NASA Team, 0 to 1; 0 where the weather filters say water",
        "1",
        "Cavalieri et al. 1984 and 1995",
        roles=("v18", "v24", "v37", "h18"),
    ),
    "bootstrap": Formula(
        f"{_HERE}.microwave:bootstrap",
        "K of 18.7, 23.8 and 36.5 GHz vertical, "
        "`v18`, `v24`, `v37`, and horizontal at 36.5 GHz, `h37`",
        "concentration by Bootstrap, 0 to 1; 0 where the weather filters say water",
        "1",
        "Comiso 1995; Cavalieri et al. 1995",
        roles=("v18", "v24", "v37", "h37"),
    ),
    "ndwi_green_nir": Formula(
        f"{_HERE}.optical:ndwi_green_nir",
        "reflectance of `green` and `nir`",
        "(green - nir) / (green + nir)",
        "1",
        "McFeeters 1996",
        roles=("green", "nir"),
    ),
    "ndwi_blue_red": Formula(
        f"{_HERE}.optical:ndwi_blue_red",
        "reflectance of `blue` and `red`",
        "(blue - red) / (blue + red)",
        "1",
        "Yang and Smith 2013",
        roles=("blue", "red"),
    ),
    "ndwi_nir_swir": Formula(
        f"{_HERE}.optical:ndwi_nir_swir",
        "reflectance of `nir` and `swir`",
        "(nir - swir) / (nir + swir)",
        "1",
        "Gao 1996",
        roles=("nir", "swir"),
    ),
    "ndsi": Formula(
        f"{_HERE}.optical:ndsi",
        "reflectance of `green` and `swir`",
        "(green - swir) / (green + swir)",
        "1",
        "Hall et al. 1995",
        roles=("green", "swir"),
    ),
    "slope": Formula(
        f"{_HERE}.terrain:slope",
        "`elevation` in m on a projected grid",
        "atan of the gradient over 3 x 3 px",
        "degree",
        "Horn 1981",
        roles=("elevation",),
    ),
    "aspect": Formula(
        f"{_HERE}.terrain:aspect",
        "`elevation` in m on a projected grid",
        "sine and cosine, `NAME_sin` and `NAME_cos`, of the direction downhill, "
        "clockwise from true north; 0 and 0 where flat",
        "1",
        "Horn 1981",
        roles=("elevation",),
    ),
    "relative_elevation": Formula(
        f"{_HERE}.terrain:relative_elevation",
        "`elevation` in m on a projected grid, `window_m`",
        "elevation - its mean in a square of `window_m`",
        "m",
        "Weiss 2001",
        roles=("elevation",),
        options={"window_m": NUMBER},
        required=("window_m",),
    ),
    "position": Formula(
        f"{_HERE}.place:position",
        "place of the scene",
        "the pixel on the unit sphere: `NAME_x`, `NAME_y`, `NAME_z`",
        "1",
        "definition",
    ),
    "season": Formula(
        f"{_HERE}.place:season",
        "time of the scene",
        "sine and cosine, `NAME_sin` and `NAME_cos`, of the share of the year",
        "1",
        "definition",
    ),
    "sun_elevation": Formula(
        f"{_HERE}.sun:sun_elevation",
        "time and place of the scene",
        "angle of the sun's centre above the horizon, without refraction",
        "degree",
        "Meeus 1998",
    ),
    "sun_incidence": Formula(
        f"{_HERE}.terrain:sun_incidence",
        "`elevation` in m on a projected grid, time",
        "angle between the sun and the surface's normal; above 90 in own shadow",
        "degree",
        "Horn 1981; Meeus 1998",
        roles=("elevation",),
    ),
    "distance_to": Formula(
        f"{_HERE}.distance:distance_to",
        "`file` of vectors, and a projected grid",
        "distance from the pixel's centre to the nearest geometry; 0 inside",
        "m",
        "definition",
        options={"file": TEXT, "layer": TEXT},
        required=("file",),
    ),
    "cloud": Formula(
        f"{_HERE}.masks:cloud",
        "a band of codes (`classes`) or of bits (`bits`), `of: [SCL]`",
        "voids pixels of SCL classes 3, 8, 9, 10 or QA_PIXEL bits 1 to 4 unless told",
        "mask",
        "Sentinel-2 L2A and Landsat Collection 2 handbooks",
        of=1,
        options={"classes": CODES, "bits": CODES},
    ),
    "min_sun_elevation": Formula(
        f"{_HERE}.masks:min_sun_elevation",
        "time and place of the scene, `degrees`",
        "voids pixels over which the sun stands lower than `degrees`",
        "mask",
        "Meeus 1998",
        options={"degrees": NUMBER},
        required=("degrees",),
    ),
}
"""Name -> formula. A step names one by ``formula``."""
