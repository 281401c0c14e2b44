"""Label maps beside an image: codes checked, nodata turned into void."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.errors import GridMismatchError, LabelError
from arcticdl.scene import (
    GRID_TOLERANCE_PX,
    class_attributes,
    count_codes,
    declares_void,
    describe_geobox,
    grid_offset_px,
    refuse_taken,
    scene_geobox,
)
from arcticdl.sources.core.assemble import close_all
from arcticdl.sources.core.lazy import WindowArray, row_strips
from arcticdl.sources.tags import carried_classes
from arcticdl.void import VOID_CLASS

Codes = Mapping[Any, Any] | Callable[[np.ndarray], np.ndarray]

_INTERVAL = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(?:-\s*(-?\d+(?:\.\d+)?)\s*)?")


class CodeInterval(NamedTuple):
    """Raw label values, both ends included, and the class that they stand for."""

    low: float
    high: float
    code: int


def code_intervals(codes: Mapping[Any, Any]) -> list[CodeInterval]:
    """Reads what raw label values stand for, as YAML or Python tell it.

    Args:
        codes: Raw values to class codes. Keys are numbers, ``(low, high)``, or text
            such as ``"248-255"``, both ends included; ``"void"`` as a code is 255.

    Returns:
        The intervals, in rising order.

    Raises:
        LabelError: A key or a code is none, or two intervals overlap.

    Example:
        >>> code_intervals({"0-7": 0, "248-255": 1, 128: "void"})[2]
        CodeInterval(low=248.0, high=255.0, code=1)
    """
    found = sorted(_interval(key, code) for key, code in codes.items())
    for one, other in pairwise(found):
        if other.low <= one.high:
            raise LabelError(
                "`label_codes` must give each raw value one class. Received: "
                f"{one.low:g} to {one.high:g} is {one.code}, and {other.low:g} to "
                f"{other.high:g} is {other.code}."
            )
    return found


def _interval(key: Any, code: Any) -> CodeInterval:
    ends: Any = key if isinstance(key, tuple | list) else (key, key)
    if isinstance(key, str):
        text = _INTERVAL.fullmatch(key)
        ends = (text[1], text[2] or text[1]) if text else ()
    try:
        low, high = (float(end) for end in ends)
        if not low <= high or int(VOID_CLASS if code == "void" else code) < 0:
            raise ValueError
    except (TypeError, ValueError):
        raise LabelError(
            "`label_codes` must give numbers, (low, high) or 'low-high' whole codes "
            f"from 0, or 'void'. Received: {key!r}: {code!r}."
        ) from None
    return CodeInterval(low, high, VOID_CLASS if code == "void" else int(code))


class LabelReader:
    """Reads windows of a label map as codes of its classes.

    Args:
        name: Name of the label, for messages.
        scene: The label map, opened as a scene.
        classes: The codes that may occur; empty: any.
        codes: Raw values to codes: a mapping (see ``code_intervals``), or a function of
            the raw array.
        is_quantity: Whole numbers without classes are a quantity, NaN where void; of
            bytes 255 is void as well.
    """

    def __init__(
        self,
        name: str,
        scene: xr.Dataset,
        classes: Sequence[int],
        codes: Codes | None,
        is_quantity: bool = False,
    ) -> None:
        self.is_quantity = is_quantity
        self.name, self.file = name, _in_file(scene)
        self.image = scene["image"].variable
        self.valid = scene["valid"].variable if "valid" in scene else None
        self.classes = sorted(classes)
        self.codes = code_intervals(codes) if isinstance(codes, Mapping) else codes
        self.shape = tuple(self.image.shape[1:])
        self.dtype = self._choose_dtype()

    def _choose_dtype(self) -> np.dtype:
        raw = self.image.dtype
        if self.classes or self.codes is not None:
            given = [] if callable(self.codes) else [c.code for c in self.codes or ()]
            top = max([*self.classes, *given, VOID_CLASS])
            low = min([*self.classes, 0])
            return np.result_type(np.min_scalar_type(top), np.min_scalar_type(low))
        if raw.kind == "f":
            return raw
        if self.is_quantity:
            return np.result_type(raw, "float32")
        return np.dtype("int16") if raw == np.int8 else raw

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(y, x)`` of a window.

        Raises:
            LabelError: The window holds codes outside the classes.
        """
        try:
            return self._read(rows, cols)
        except LabelError as error:
            raise LabelError(f"{error}{self.file}") from None

    def _read(self, rows: slice, cols: slice) -> np.ndarray:
        raw = self._read_one_channel(rows, cols)
        void = _not_finite(raw)
        if self.valid is not None:
            void |= ~self.valid[rows, cols].values
        code = raw if self.codes is None else self._translate(raw, void)
        void |= _not_finite(code)
        if self.dtype.kind == "f":
            if raw.dtype == np.uint8:
                void |= raw == VOID_CLASS
            return np.where(void, np.nan, code).astype(self.dtype)
        whole = self._fill(code, void)
        if code.dtype.kind == "f" and (np.where(void, 0, code) % 1).any():
            raise LabelError(
                f"Label `{self.name}` has classes, so that its values must be whole. "
                "Received: fractions."
            )
        self._check(whole)
        return whole.astype(self.dtype)

    @staticmethod
    def _fill(code: np.ndarray, void: np.ndarray) -> np.ndarray:
        if code.dtype.kind in "iu" and not void.any():
            return code
        return np.where(void, VOID_CLASS, np.where(void, 0, code)).astype("int64")

    def _read_one_channel(self, rows: slice, cols: slice) -> np.ndarray:
        block = self.image[:, rows, cols].values
        if any(not np.array_equal(block[0], other) for other in block[1:]):
            raise LabelError(
                f"Label `{self.name}` is in colour: its {len(block)} channels differ. "
                "Store the codes of the classes in one channel."
            )
        return block[0]

    def _translate(self, raw: np.ndarray, void: np.ndarray) -> np.ndarray:
        if callable(self.codes):
            return np.asarray(self.codes(raw))
        code = np.full(raw.shape, -1, "int64")
        known = void.copy()
        for low, high, value in self.codes or ():
            here = (raw >= low) & (raw <= high)
            code[here] = value
            known |= here
        if not known.all():
            found = np.unique(raw[~known])[:10].tolist()
            raise LabelError(
                f"`label_codes` must say what each value of label `{self.name}` "
                f"stands for. Received: values {found} that it lacks."
            )
        return code

    def _check(self, code: np.ndarray) -> None:
        if not self.classes and self.codes is None:
            return
        found = _distinct(code)
        if not self.classes and found[-1] > np.iinfo(self.dtype).max:
            raise LabelError(
                f"`label_codes` of label `{self.name}` must give codes up to "
                f"{np.iinfo(self.dtype).max}. Received: {found[-1]}."
            )
        if not self.classes:
            return
        wrong = sorted(set(found.tolist()) - {*self.classes, VOID_CLASS})
        if wrong:
            raise LabelError(
                f"Label `{self.name}` must hold the codes {self.classes} of its "
                f"classes, or {VOID_CLASS} for void. Received: {wrong[:10]}; translate "
                "them by `label_codes` (in a configuration `codes` of the label), or "
                "give the classes that they stand for."
            )


def named_classes(classes: Sequence[str] | Mapping[int, str]) -> dict[int, str]:
    """Code to name of the classes that a caller tells.

    >>> named_classes(("water", "ice"))
    {0: 'water', 1: 'ice'}
    """
    check_names(classes=classes)
    return dict(classes) if isinstance(classes, Mapping) else dict(enumerate(classes))


def add_label(
    scene: xr.Dataset,
    name: str,
    label: xr.Dataset,
    *,
    classes: Sequence[str] | Mapping[int, str] = (),
    colors: Sequence[str] = (),
    codes: Codes | None = None,
    check: bool = True,
    is_quantity: bool = False,
) -> xr.Dataset:
    """Adds a label map to a scene.

    Args:
        scene: The scene.
        name: Name of the label.
        label: The label map, opened as a scene on the same grid.
        classes: Names of the classes 0, 1, 2, ..., or code to name; empty: those that
            the map carries itself, unless ``codes`` give its numbers another meaning.
        colors: ``#rrggbb`` a class, or nothing.
        codes: Raw values to codes (see ``LabelReader``).
        check: Reads the whole map once, strip by strip, to check its codes now; each
            later read is checked in any case.
        is_quantity: Whole numbers, of a map without classes, are a quantity.

    Returns:
        The scene with the label, whose attribute ``time`` is that of the map, if any;
        ``YYYY-MM-DD`` where the map tells a day and no hour.

    Raises:
        GridMismatchError: The label lies on another grid.
        LabelError: It has another shape, codes outside the classes, or a name that is
            taken.
    """
    refuse_taken(scene, name)
    check_names(colors=colors)
    check_same_grid(scene, label, f"Label `{name}`")
    named = named_classes(classes)
    attrs: dict[str, Any] = {}
    if named:
        attrs = class_attributes(list(named.values()), colors, list(named))
    elif codes is None:
        attrs = carried_classes(name, label["image"].attrs)
    if not attrs and codes is None and label["image"].attrs.get("units"):
        attrs["units"] = str(label["image"].attrs["units"])
    told = codes is not None or "valid" in label or declares_void(label["image"])
    if not told:  # 255 may be a class of the file, which `tiles.prepare` finds out
        attrs.pop("void_class", None)
    values = attrs.get("flag_values", ())
    reader = LabelReader(name, label, values, codes, is_quantity)
    if check and (attrs or codes is not None):
        for rows in row_strips(reader.shape):
            reader.read(rows, slice(0, reader.shape[1]))
    if label.attrs.get("time"):  # of its own, which may not be that of the image
        day = label.attrs.get("time_precision") == "day"
        attrs["time"] = label.attrs["time"].removesuffix("T00:00:00Z" if day else "")
    lazy = WindowArray(reader.shape, reader.dtype, partial(_read, reader))
    labelled = scene.assign({name: lazy.variable(("y", "x"), attrs)})
    labelled.set_close(partial(close_all, [scene, label]))
    return labelled


def _read(reader: LabelReader, rows: slice, cols: slice) -> np.ndarray:
    return reader.read(rows, cols)


def check_same_grid(scene: xr.Dataset, label: xr.Dataset, what: str) -> None:
    """Refuses a map that does not lie on the pixels of its scene.

    Args:
        scene: The scene.
        label: The map, opened as a scene.
        what: What it is called.

    Raises:
        GridMismatchError: It lies on another grid.
        LabelError: It has another shape.
    """
    wanted, found = scene["image"].shape[1:], label["image"].shape[1:]
    mine, its = scene_geobox(scene), scene_geobox(label)
    if mine is not None and its is not None:
        offset = grid_offset_px(mine, its)
        if offset > GRID_TOLERANCE_PX:
            raise GridMismatchError(
                f"{what} must lie on the grid of its image. Received: "
                f"{describe_geobox(mine)} and {describe_geobox(its)}. Warp the file "
                "onto that grid, or call `arcticdl.grid.align` first in Python."
                f"{_in_file(label)}"
            )
    if wanted != found:
        raise LabelError(
            f"{what} must have the shape of its image. "
            f"Received: {tuple(found)} beside {tuple(wanted)}.{_in_file(label)}"
        )


def _in_file(label: xr.Dataset) -> str:
    """Which file a label is of, as the end of a message."""
    source = label["image"].encoding.get("source")
    return f" In {source}." if source else ""


def _not_finite(values: np.ndarray) -> np.ndarray:
    """Where numbers are NaN or infinite; whole ones never are."""
    if values.dtype.kind in "iub":
        return np.zeros(values.shape, bool)
    return ~np.isfinite(values)


def _distinct(code: np.ndarray) -> np.ndarray:
    """The sorted values of an array of whole numbers; counted where they are small."""
    if code.dtype == np.uint8:
        return np.flatnonzero(count_codes(code))
    if code.size and code.min() >= 0 and code.max() < 1 << 16:
        return np.flatnonzero(np.bincount(code.ravel()))
    return np.unique(code)
