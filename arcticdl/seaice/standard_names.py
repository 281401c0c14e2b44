"""CF standard names of what a network says of sea ice, where the table has one.

Source: CF Standard Name Table, version 93 and earlier,
https://cfconventions.org/standard-names.html.
"""

from collections.abc import Sequence

from arcticdl.seaice.sigrid import scheme_of

_FRACTION = ("1", "%", "percent", "fraction")
_VALUES = {
    "sic": ("sea_ice_area_fraction", _FRACTION),
    "ice_concentration": ("sea_ice_area_fraction", _FRACTION),
    "sea_ice_concentration": ("sea_ice_area_fraction", _FRACTION),
    "sit": ("sea_ice_thickness", ("m", "cm", "mm")),
    "ice_thickness": ("sea_ice_thickness", ("m", "cm", "mm")),
    "sea_ice_thickness": ("sea_ice_thickness", ("m", "cm", "mm")),
}


def name_of_values(label: str, units: str) -> str | None:
    """The standard name of a quantity, by the name of its label.

    Args:
        label: Such as ``"sic"``.
        units: Unit of the values; a name is given only where it fits.

    Example:
        >>> name_of_values("SIC", "1"), name_of_values("sic", "K")
        ('sea_ice_area_fraction', None)
    """
    name, fitting = _VALUES.get(label.lower(), (None, ()))
    return name if units in fitting else None


def name_of_classes(classes: Sequence[str]) -> str | None:
    """The standard name of a map of classes: stages of development have one.

    Example:
        >>> name_of_classes(["open water", "young ice", "old ice"])
        'sea_ice_classification'
        >>> name_of_classes(["water", "cloud"])
    """
    scheme = scheme_of(classes)
    stages = scheme is not None and scheme.field == "stage"
    return "sea_ice_classification" if stages else None
