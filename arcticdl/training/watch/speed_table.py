"""Reading and telling the speeds of a training, which needs no Keras."""

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

NAMES = ("epoch", "samples_per_s", "data_wait")


def read_speed(path: str | Path) -> list[dict[str, float]]:
    """Reads a ``speed.csv``.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such table.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return [{name: float(row[name]) for name in NAMES} for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"A table of speeds must have numbers in the columns {list(NAMES)}. "
            f"Received: {path} ({error!r})."
        ) from error


def describe_speed(rows: Sequence[dict[str, float]]) -> str:
    """Says in words how fast the median epoch was; empty without any.

    Example:
        >>> describe_speed([{"epoch": 1.0, "samples_per_s": 41.8, "data_wait": 0.034}])
        '42 samples/s, 3 % waiting for data'
    """
    if not rows:
        return ""
    speed = statistics.median(row["samples_per_s"] for row in rows)
    waited = statistics.median(row["data_wait"] for row in rows)
    shown = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
    return f"{shown} samples/s, {100 * waited:.0f} % waiting for data"
