"""Arithmetic on radar power that is stored in dB or as it is."""

from typing import Any

import numpy as np

from arcticdl.augment.batch import FloatArray
from arcticdl.choices import check_choice

UNITS = ("db", "power")


def from_db(value: FloatArray) -> FloatArray:
    """Turns dB into linear power, within 300 dB so that no fill value overflows.

    Args:
        value: float32 in dB.

    Returns:
        float32 power, above 0.

    Example:
        >>> from_db(np.float32([-10, 0, 20])).tolist()
        [0.10000000149011612, 1.0, 100.0]
    """
    tenths = np.clip(value, -300, 300) / np.float32(10)
    return np.asarray(np.float32(10) ** tenths, np.float32)


def scale_power(image: FloatArray, factor: FloatArray, units: str) -> FloatArray:
    """Multiplies the linear power of an image by a factor.

    Args:
        image: float32 of any shape.
        factor: float32 above 0 that broadcasts with it.
        units: Units of the image, one of `UNITS`.

    Returns:
        float32 image in the same units.
    """
    if units == "power":
        return image * factor
    tiny = np.finfo(np.float32).tiny
    change = np.float32(10) * np.log10(np.maximum(factor, tiny))
    return np.asarray(image + change, np.float32)


def add_db(image: FloatArray, change: FloatArray, units: str) -> FloatArray:
    """Raises an image by so many dB.

    Args:
        image: float32 of any shape.
        change: float32 in dB that broadcasts with it.
        units: Units of the image, one of `UNITS`.

    Returns:
        float32 image in the same units.
    """
    if units == "db":
        return image + change
    return np.asarray(image * from_db(change), np.float32)


def add_power(image: FloatArray, added: FloatArray, units: str) -> FloatArray:
    """Adds linear power; in dB, at least a hundredth of the former power remains.

    After noise subtraction power may be negative, which has no dB; the floor of -20 dB
    below the pixel keeps the value finite.

    Args:
        image: float32 of any shape.
        added: float32 linear power that broadcasts with it.
        units: Units of the image, one of `UNITS`.

    Returns:
        float32 image in the same units.
    """
    if units == "power":
        return image + added
    power = from_db(image)
    left = np.maximum(power + added, np.float32(0.01) * power)
    left = np.maximum(left, np.finfo(np.float32).tiny)
    return np.asarray(np.float32(10) * np.log10(left), np.float32)


def check_units(units: Any) -> None:
    """Refuses units other than those of `UNITS`.

    Args:
        units: The units.

    Raises:
        ValueError: They are others.
    """
    check_choice("units", units, UNITS)
