"""Models from files, with everything that a file may name already registered."""

from pathlib import Path

import keras


def load_model(path: str | Path) -> keras.Model:
    """Loads a ``.keras`` file for inference, uncompiled and without running code of it.

    Args:
        path: The file.

    Returns:
        The model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no Keras model.
    """
    from arcticdl import losses, metrics, models  # noqa: F401  registers their classes

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such model: {path}")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"{path} cannot be read as a Keras model: {reason}") from error
