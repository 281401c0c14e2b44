"""The formats of exported networks: each named once, with all that follows from it."""

from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple


class Format(NamedTuple):
    """One format.

    Attributes:
        ending: Of its files; "_saved", by default, of its folders.
        framework: Who made it, as catalogues of models tell.
        media: Media type of the file, "" where there is none.
    """

    ending: str
    framework: str
    media: str


FORMATS = {
    "onnx": Format(".onnx", "ONNX", "application/octet-stream; framework=onnx"),
    "saved_model": Format("_saved", "TensorFlow", ""),
    "litert": Format(".tflite", "LiteRT", "application/octet-stream"),
}
"""By the name that `--format` takes."""

_OTHERS = (".h5", ".keras", ".litert", ".pb", ".pt", ".pth", ".zip")
"""Endings that would be the name of a folder, which no program would look for."""


def path_beside(model: Path, told: str | None = None) -> Path:
    """Where a model's export goes unless a place is named.

    Args:
        model: Its ``.keras`` file.
        told: The format; ``None``: ONNX.

    Raises:
        ValueError: No format has that name.

    Example:
        >>> path_beside(Path("fold0/model.keras"), "litert").as_posix()
        'fold0/model.tflite'
    """
    _check_name(told)
    return model.with_name(model.stem + FORMATS[told or "onnx"].ending)


def find_format(path: Path, told: str | None = None) -> str:
    """The format that a path is of.

    Args:
        path: Of the file or folder to be written.
        told: The format that was asked for; ``None``: any.

    Raises:
        ValueError: The path ends as another format's does, or none has that name.

    Example:
        >>> find_format(Path("ice.tflite")), find_format(Path("ice_saved"))
        ('litert', 'saved_model')
    """
    _check_name(told)
    suffix = path.suffix.lower()
    endings = [form.ending for form in FORMATS.values() if form.ending]
    meant = suffix and get_close_matches(suffix, endings, n=1)
    if suffix in _OTHERS or (meant and meant != [suffix]):
        raise ValueError(
            "`path` (--out) must be NAME.onnx, NAME.tflite, or a folder for a "
            f"SavedModel. Received: {path}, the ending of no format that is written."
        )
    found = next(
        (name for name, form in FORMATS.items() if form.ending == suffix), "saved_model"
    )
    if told not in (None, found):
        folder = told == "saved_model"
        wanted = "a folder" if folder else f"NAME{FORMATS[str(told)].ending}"
        raise ValueError(
            f"`path` (--out) must be {wanted} for `format` (--format) {told}. "
            f"Received: {path}."
        )
    return found


def _check_name(told: str | None) -> None:
    if told is not None and told not in FORMATS:
        raise ValueError(
            f"`format` must be one of {', '.join(FORMATS)}. Received: {told!r}."
        )
