"""What GeoTIFF tags say of a scene, and of the classes of a label map.

Two forms are read: the CF names ``flag_values``, ``flag_meanings`` and ``flag_colors``
on a band or on the file, and ``class_0``, ``class_1``, ... on the file with the colours
in its colour table. Label maps of the simulator carry the first, predicted maps the
second.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from arcticdl.errors import LabelError, SourceError
from arcticdl.made import CHOSEN_ON, COLUMNS, MADE_FROM
from arcticdl.scene import ATTRIBUTES, class_attributes
from arcticdl.sources.core.assemble import known_time
from arcticdl.void import VOID_CLASS

FLAG_TAGS = ("flag_values", "flag_meanings", "flag_colors")
"""CF attributes that name the classes of a label."""

_CLASS_TAG = re.compile(r"class_(\d{1,5})")
_ISO_DATE = re.compile(r"\d{4}-(\d{2}-\d{2}|\d{3})")


def scene_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Scene attributes among the tags of a file.

    Args:
        tags: Tags of the file.

    Returns:
        Those of ``group``, ``region``, ``season``, ``sensor``, ``service`` and ``time``
        that are there; a ``time`` that is no ISO 8601 date is not a time of ours and is
        left out. Where it tells a day and no hour, ``time_precision`` is ``day``. Of a
        scene that a generator has made ``columns`` names those that it was made from,
        and those by which its generator was chosen, beside what was told of the scene
        whose map it has.

    Raises:
        SourceError: What was told of that scene cannot be read.

    >>> scene_tags({"time": "2022-04-13T15:07:59Z", "AREA_OR_POINT": "Area"})
    {'time': '2022-04-13T15:07:59Z'}
    >>> scene_tags({"time": "2022-04-13"})
    {'time': '2022-04-13T00:00:00Z', 'time_precision': 'day'}
    """
    found = {name: tags[name] for name in ATTRIBUTES if tags.get(name)}
    if "time" in found:
        dated = _ISO_DATE.match(found["time"])
        if dated and dated.end() == len(found["time"].rstrip()):
            found["time_precision"] = "day"
        found["time"] = (known_time(found["time"]) or "") if dated else ""
    told = {name: tags[name] for name in (MADE_FROM, CHOSEN_ON) if tags.get(name)}
    columns = {"columns": _told_of_map(tags) | told} if told.get(MADE_FROM) else {}
    return {name: value for name, value in found.items() if value} | columns


def _told_of_map(tags: Mapping[str, str]) -> dict[str, str]:
    """Columns that a made scene has of the scene whose map it bears."""
    text = tags.get(COLUMNS) or "{}"
    try:
        return {str(key): str(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError):
        raise SourceError(
            f"The tag `{COLUMNS}` must be a JSON object, as `arcticdl synthesize` "
            f"writes it. Received: {text!r}; make the scene again."
        ) from None


def class_tags(
    band_tags: Mapping[str, str],
    file_tags: Mapping[str, str],
    colormap: Mapping[int, tuple[int, ...]],
) -> dict[str, str]:
    """Class names and colours among the tags of a file, as they are written.

    Args:
        band_tags: Tags of the one band.
        file_tags: Tags of the file.
        colormap: Colour table of the band: code to red, green, blue, alpha.

    Returns:
        ``flag_values``, ``flag_meanings`` and, where known, ``flag_colors`` as text;
        empty where the tags name no class.

    >>> class_tags({}, {"class_0": "open water", "class_1": "ice"}, {})
    {'flag_values': '0 1', 'flag_meanings': 'open_water ice'}
    """
    for tags in (band_tags, file_tags):
        if "flag_meanings" in tags:
            return {name: str(tags[name]) for name in FLAG_TAGS if name in tags}
    named = {
        int(found[1]): str(value)
        for key, value in file_tags.items()
        if (found := _CLASS_TAG.fullmatch(key)) and value
    }
    if not named:
        return {}
    codes = sorted(named)
    attrs = {
        "flag_values": " ".join(map(str, codes)),
        "flag_meanings": " ".join("_".join(named[code].split()) for code in codes),
    }
    if all(code in colormap for code in codes):
        paint = ["#{:02x}{:02x}{:02x}".format(*colormap[code][:3]) for code in codes]
        attrs["flag_colors"] = " ".join(paint)
    return attrs


def carried_classes(name: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """CF class attributes that a label map carries itself, checked.

    Args:
        name: Of the label, for messages.
        attrs: Attributes of the label's ``image``; lists, or text with blanks or
            commas between numbers.

    Returns:
        As ``arcticdl.scene.class_attributes``; empty where the map names no class. A
        class at code 255 is void and not listed.

    Raises:
        LabelError: Codes are no whole numbers, or their number and that of names or
            colours differ.
    """
    meanings = str(attrs.get("flag_meanings", "")).split()
    if not meanings:
        return {}
    given = attrs.get("flag_values", range(len(meanings)))
    parts = re.split(r"[\s,]+", given.strip()) if isinstance(given, str) else given
    colors = str(attrs.get("flag_colors", "")).split()
    try:
        codes = [int(part) for part in parts]
        if len(codes) != len(meanings) or len(colors) not in (0, len(codes)):
            raise ValueError
    except (TypeError, ValueError):
        raise LabelError(
            f"The file of label `{name}` must name one class, and at most one colour, "
            f"a whole code. Received: flag_values={given!r}, "
            f"flag_meanings={' '.join(meanings)!r}, flag_colors={' '.join(colors)!r}; "
            f"tell the classes as `labels={{{name!r}: (path, classes)}}`."
        ) from None
    kept = [i for i, code in enumerate(codes) if code != VOID_CLASS]
    return class_attributes(
        [meanings[i] for i in kept],
        [colors[i] for i in kept] if colors else (),
        [codes[i] for i in kept],
    )
