"""Scenes that an earlier call has made, and this one does not make again."""

import json
from collections.abc import Collection
from pathlib import Path

from arcticdl.made import MADE_FROM


def read_record(record: Path, stem: str) -> dict[str, Path]:
    """Reads what an earlier call has made by the file that it left.

    Args:
        record: The JSON file beside the scenes, there or not.
        stem: What the names of its scenes begin with.

    Returns:
        Name of a scene -> where its labels were written.

    Raises:
        FileExistsError: What is there is no such record.
    """
    if not record.is_file():
        return {}
    try:
        told = json.loads(record.read_text(encoding="utf-8"))["scenes"]
        found = {str(name): record.parent / one["labels"] for name, one in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        found = {"": record}
    if not all(name.startswith(f"{stem}_") for name in found):
        raise FileExistsError(
            f"{record} must be free, or tell what `arcticdl synthesize` has made. "
            "Received: another file. Move it away, or choose another folder."
        )
    return found


def remove_scenes(made: dict[str, Path], folder: Path, kept: Collection[str]) -> None:
    """Removes earlier scenes with their labels, where their files are still made ones.

    Args:
        made: As `read_record` gives it.
        folder: Of the scenes.
        kept: Names of those that stay.
    """
    import rasterio

    for name in sorted(made.keys() - set(kept)):
        path = folder / f"{name}.tif"
        if not path.is_file():
            continue
        with rasterio.open(path) as source:
            ours = MADE_FROM in source.tags()
        if ours:
            made[name].unlink(missing_ok=True)
            path.unlink()
