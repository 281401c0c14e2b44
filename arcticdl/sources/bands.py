"""Which bands of a file are read, and under which names."""

import re
from collections.abc import Mapping, Sequence

from arcticdl.choices import check_choices, check_names
from arcticdl.errors import BandNotFoundError

BandNames = str | Sequence[str] | Mapping[str, str] | None


def choose_bands(
    file_bands: Sequence[str],
    bands: str | Sequence[str] | None = None,
    band_names: BandNames = None,
) -> tuple[list[int], list[str]]:
    """Finds the bands that are asked for.

    Args:
        file_bands: Names of the bands of the file, in its order.
        bands: Names of those to keep, in the order wanted; ``None``: all. A text is one
            name, here and of ``band_names``.
        band_names: New names. One for each band of the file, whose names ``bands`` may
            then use; or one for each of ``bands``; or a mapping of old to new names.

    Returns:
        ``(indices, names)``: positions in the file, counted from 0, and their names.

    Raises:
        BandNotFoundError: A name is not there, or names repeat or do not fit.

    >>> choose_bands(["band_1", "band_2"], ["HV"], ["HH", "HV"])
    ([1], ['HV'])
    >>> choose_bands(["red", "green"], ["green"], {"green": "B03"})
    ([1], ['B03'])
    """
    check_names(file_bands=file_bands)
    bands = (bands,) if isinstance(bands, str) else bands
    band_names = (band_names,) if isinstance(band_names, str) else band_names
    if isinstance(band_names, Mapping):
        _refuse_missing(file_bands, band_names, "band_names")
        renamed = [band_names.get(name, name) for name in file_bands]
        kept = None if bands is None else [band_names.get(b, b) for b in bands]
        return _select(renamed, kept)
    if band_names is None:
        return _select(file_bands, bands)
    if len(band_names) == len(file_bands) and set(bands or ()) <= set(band_names):
        return _select(band_names, bands)
    if bands is None or len(band_names) != len(bands):
        raise BandNotFoundError(
            f"`band_names` must name each of the {len(file_bands)} bands of the file "
            f"({', '.join(file_bands)}) or each of `bands`. Received: "
            f"band_names={tuple(band_names)}, bands={bands and tuple(bands)}."
        )
    indices, _ = _select(file_bands, bands)
    _refuse_repeats(band_names)
    return indices, [str(name) for name in band_names]


def _select(
    names: Sequence[str], wanted: Sequence[str] | None
) -> tuple[list[int], list[str]]:
    if wanted is None:
        _refuse_repeats(names)
        return list(range(len(names))), [str(name) for name in names]
    _refuse_missing(names, wanted, "bands")
    _refuse_repeats(wanted)
    if not wanted:
        raise BandNotFoundError("`bands` must name at least one band. Received: none.")
    return [list(names).index(name) for name in wanted], [str(n) for n in wanted]


def _refuse_missing(
    names: Sequence[str], wanted: Sequence[str] | Mapping[str, str], argument: str
) -> None:
    try:
        check_choices(argument, wanted, names)
    except ValueError as error:
        unnamed = all(re.fullmatch(r"band_\d+", str(name)) for name in names)
        advice = (
            " The file does not name its bands: tell `band_names` (in a configuration "
            "`data.bands`), or name them in the file."
        ) * unnamed
        raise BandNotFoundError(f"{error}{advice}") from None


def _refuse_repeats(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise BandNotFoundError(
            "Each band needs a name of its own; tell the names by `band_names`. "
            f"Received: {tuple(names)}."
        )
