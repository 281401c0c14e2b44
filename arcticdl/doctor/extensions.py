"""Packages that add choices to this one: which there are, and which are broken."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from arcticdl.doctor.finding import Finding
from arcticdl.errors import PluginError
from arcticdl.plugins import installed

TABLES: dict[str, str] = {
    "arcticdl.augmentations": "arcticdl.augment.table:AUGMENTATIONS",
    "arcticdl.backbones": "arcticdl.models.backbones.table:BACKBONES",
    "arcticdl.decoders": "arcticdl.models.decoders.table:DECODERS",
    "arcticdl.losses": "arcticdl.losses.table:LOSSES",
    "arcticdl.metrics": "arcticdl.metrics.table:METRICS",
    "arcticdl.readers": "arcticdl.sources.reader:READERS",
}
"""Group of entry points -> the table that they add to."""


def check_plugins() -> Finding:
    """Loads every choice that an installed package adds.

    Returns:
        ``ok`` with the choices and their packages; ``fail`` where one cannot be loaded,
        is of another kind than its table's, or claims a name that is taken.
    """
    found: list[str] = []
    broken: list[str] = []
    for group, where in TABLES.items():
        try:
            names = installed(group)
            table = _table(where) if names else {}
        except PluginError as error:
            broken.append(str(error))
            continue
        for name, origin in names.items():
            try:
                table[name]
                found.append(f"{group.removeprefix('arcticdl.')} {name} of {origin}")
            except PluginError as error:
                broken.append(str(error))
    if broken:
        # A clash shows at each name of its table: said once.
        message = " ".join(dict.fromkeys(broken))
        way_out = "uninstall what is named here, or install another version of it"
        return Finding("plug-ins", "fail", message, way_out)
    return Finding("plug-ins", "ok", "; ".join(found) or "none installed")


def _table(where: str) -> Mapping[str, Any]:
    module, _, attribute = where.partition(":")
    return getattr(import_module(module), attribute)
