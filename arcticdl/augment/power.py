"""Arithmetic on radar power that is stored in dB or as it is."""

from typing import Any

import numpy as np

from arcticdl.augment.batch import FloatArray
from arcticdl.choices import check_choice

UNITS = ("db", "power")


def from_db(value: FloatArray) -> FloatArray:
    """Turns dB into linear power, within 300 dB so that no fill value overflows."""
    tenths = np.clip(value, -300, 300) / np.float32(10)
    return np.asarray(np.float32(10) ** tenths, np.float32)


def scale_power(image: FloatArray, factor: FloatArray, units: str) -> FloatArray:
    """Multiplies the linear power of an image by a factor above 0."""
    if units == "power":
        return image * factor
    tiny = np.finfo(np.float32).tiny
    change = np.float32(10) * np.log10(np.maximum(factor, tiny))
    return np.asarray(image + change, np.float32)


def add_db(image: FloatArray, change: FloatArray, units: str) -> FloatArray:
    """Raises an image by so many dB."""
    if units == "db":
        return image + change
    return np.asarray(image * from_db(change), np.float32)


def add_power(image: FloatArray, added: FloatArray, units: str) -> FloatArray:
    """Adds linear power; in dB, at least a hundredth of the former power remains.

    After noise subtraction power may be negative, which has no dB; the floor of -20 dB
    below the pixel keeps the value finite.
    """
    if units == "power":
        return image + added
    power = from_db(image)
    left = np.maximum(power + added, np.float32(0.01) * power)
    left = np.maximum(left, np.finfo(np.float32).tiny)
    return np.asarray(np.float32(10) * np.log10(left), np.float32)


def check_units(units: Any) -> None:
    """Refuses units other than those of `UNITS`.

    Raises:
        ValueError: They are others.
    """
    check_choice("units", units, UNITS)
