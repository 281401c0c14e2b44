"""What a training logged by epoch, as one table."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

_NOT_CURVES = {"epoch", "seconds", "time", "step"}


def read_history(history: Any) -> pd.DataFrame:
    """Reads what a training logged, from wherever it stands.

    Args:
        history: A ``history.csv``, a data frame or a mapping of columns, or the
            ``History`` that ``fit`` returns.

    Returns:
        One row an epoch, one column a quantity.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If it holds no epoch.
    """
    if isinstance(history, (str, os.PathLike)):
        path = Path(history)
        if not path.is_file():
            raise FileNotFoundError(f"`history` must be a file. Received: {path}.")
        try:
            frame = pd.read_csv(path)
        except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
            raise ValueError(
                f"`history` must be a table of epochs. Received: {path} ({error})."
            ) from error
    else:
        # A Keras `History` keeps its table in `.history`.
        frame = pd.DataFrame(getattr(history, "history", history))
    if frame.empty or not quantities(frame):
        raise ValueError(
            "`history` must hold at least one epoch of one quantity. "
            f"Received: columns {list(frame.columns)}, {len(frame)} rows."
        )
    return frame


def quantities(frame: pd.DataFrame) -> list[str]:
    """Names of what was logged; training and validation are one quantity."""
    numbers = frame.select_dtypes("number").columns
    names = (str(n).removeprefix("val_") for n in numbers)
    return [n for n in dict.fromkeys(names) if n not in _NOT_CURVES]
