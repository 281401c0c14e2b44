"""What each scene is found by: a file, an image in it, a row of the table."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from arcticdl.config import DataConfig, FileRef, LabelConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.table import Row, read_table, row_files
from arcticdl.sources.core.remote import find_files, is_remote, stem_of
from arcticdl.sources.formats.images import count_images
from arcticdl.sources.formats.netcdf import count_times
from arcticdl.sources.open import find_reader


@dataclass(frozen=True)
class Anchor:
    """The file (and the image in it, or the row of a table) that a scene is found by.

    Attributes:
        path: First file of the scene.
        index: Image of an (N, y, x) array, or ``None``.
        row: What the table says of the scene; empty where none is configured, and for
            a file that the table does not hold.
        further: The other files of the scene that the table names.
        made: Whether a generator has made the scene, as `data.synthetic` says.
    """

    path: str
    index: int | None = None
    row: Row = field(default_factory=dict)
    further: tuple[str, ...] = ()
    made: bool = False

    @property
    def scene_id(self) -> str:
        """As the table says; else the file's stem, with the image's number."""
        stem = self.row.get("scene_id", stem_of(self.path))
        return stem if self.index is None else f"{stem}_{self.index:03d}"


def find_anchors(data: DataConfig, paths: list[str] | None = None) -> list[Anchor]:
    """Finds one anchor a scene, by ``data.scenes``, ``data.table`` or given paths.

    Raises:
        FileNotFoundError: Nothing matches, or a file is not there.
        ConfigError: The table cannot be read, or lacks a file.
    """
    paths = None if paths is None else _of_buckets(paths)
    if data.table is not None:
        anchors = _anchors_of_table(data)
        if paths is not None:
            known = {_absolute(anchor.path): anchor for anchor in anchors}
            anchors = [known.get(_absolute(path), Anchor(path)) for path in paths]
        _refuse_absent([file for a in anchors for file in (a.path, *a.further)])
        return anchors
    if paths is None:
        assert data.scenes is not None
        paths = find_files(data.scenes)
        if not paths:
            raise FileNotFoundError(
                f"No file matches `data.scenes`: {data.scenes}. Does the folder exist, "
                "and do environment variables in the path point at it?"
            )
    _refuse_absent(paths)
    if not data.each_index:
        return [Anchor(path) for path in paths]
    return [Anchor(path, index) for path in paths for index in _indices(path, data)]


def find_made(data: DataConfig) -> list[Anchor]:
    """Finds the scenes that a generator has made, by ``data.synthetic``.

    Raises:
        FileNotFoundError: Nothing matches.
    """
    if data.synthetic is None:
        return []
    paths = find_files(data.synthetic)
    if not paths:
        raise FileNotFoundError(
            f"No file matches `data.synthetic`: {data.synthetic}. `arcticdl "
            "synthesize` writes such scenes."
        )
    return [Anchor(path, made=True) for path in paths]


def find_file(ref: FileRef, anchor: Anchor, data: DataConfig) -> str:
    """The file that goes with a scene.

    Args:
        ref: How it is found.
        anchor: Of the scene.
        data: The section, for its table.

    Returns:
        Its path or address; a path with ``*`` stays a pattern.

    Raises:
        ConfigError: ``replace`` changes nothing, or the table tells no file.
        FileNotFoundError: The file is not there.
    """
    if ref.column is not None:
        assert data.table is not None
        if not anchor.row:
            raise ConfigError(
                f"{anchor.path} is no scene of `data.table`, whose column "
                f"{ref.column!r} tells a file that it needs. Add it to the table."
            )
        path = row_files(anchor.row, (ref.column,), data.table.file)[0]
    elif ref.path is not None:
        path = ref.path
    else:
        path = replaced_path(ref, anchor.path)
    if not (is_remote(path) or Path(path).exists() or "*" in path):
        raise FileNotFoundError(
            f"No such file beside the scene {anchor.path}: {path}. If it is none, "
            "let `data.scenes` match fewer files; labels that some scenes lack may be "
            "`optional`."
        )
    return path


def lacks_file(label: LabelConfig, anchor: Anchor, data: DataConfig) -> bool:
    """Whether a scene goes without the file of an optional label."""
    if not label.optional or label.file is None:
        return False
    try:
        find_file(label.file, anchor, data)
    except FileNotFoundError:
        return True
    return False


def find_attributes(
    data: DataConfig, anchor: Anchor, *, needed: bool
) -> dict[str, str]:
    """What table and path say of a scene: the attributes by which it is split.

    Args:
        data: The section.
        anchor: Of the scene.
        needed: Whether all must be told, as for splits; a new scene that is only mapped
            needs none.

    Raises:
        ConfigError: A pattern does not match, or a value has no new name.
    """
    found = {k: v for k, v in anchor.row.items() if k not in _file_columns(data)}
    if anchor.made:  # which has them in its tags, and a name that tells nothing
        return found
    for name, pattern in data.attributes.items():
        match = re.search(pattern, anchor.path)
        if match is not None:
            found[name] = match.group(1)
        elif needed:
            raise ConfigError(
                f"`data.attributes.{name}` finds nothing: {pattern!r} does not match "
                f"{anchor.path}."
            )
    for name, names in data.rename.items():
        if name in found and (needed or found[name] in names):
            if found[name] not in names:
                raise ConfigError(
                    f"`data.rename.{name}` has no entry for {found[name]!r} "
                    f"({anchor.path}). Known: {sorted(names)}."
                )
            found[name] = names[found[name]]
    return found


def _anchors_of_table(data: DataConfig) -> list[Anchor]:
    assert data.table is not None
    anchors = []
    for row in read_table(data.table):
        path, *further = row_files(row, data.table.paths, data.table.file)
        anchors.append(Anchor(path, None, row, tuple(further)))
    return anchors


def files_of(data: DataConfig, anchor: Anchor) -> list[str]:
    """All files that a scene is made of, but those that are chosen by their time."""
    found = [anchor.path, *anchor.further]
    for ref in _refs(data):
        with suppress(FileNotFoundError):  # of an optional label
            found.append(find_file(ref, anchor, data))
    return found


def _refs(data: DataConfig) -> list[FileRef]:
    refs = [*data.stack, *(source.file for source in data.align), data.region]
    refs += [label.file for label in data.labels.values()]
    refs += [data.void.file] if data.void is not None else []
    return [ref for ref in refs if ref is not None]


def _file_columns(data: DataConfig) -> set[str]:
    """Columns that name files, and the identifier: no attributes of a scene."""
    columns = {ref.column for ref in _refs(data) if ref.column}
    return {*columns, *(data.table.paths if data.table else ()), "scene_id"}


def replaced_path(ref: FileRef, path: str) -> str:
    """A scene's path with ``replace`` done to it.

    Raises:
        ConfigError: ``replace`` changes nothing.
    """
    anchor = path
    for old, new in (ref.replace or {}).items():
        path = path.replace(old, new)
    if path == anchor:
        raise ConfigError(
            f"`replace` finds none of {sorted(ref.replace or ())} in the path {path}."
        )
    return path


def _of_buckets(paths: list[str]) -> list[str]:
    """Paths, with the patterns of buckets as the files that they name.

    Raises:
        FileNotFoundError: A pattern names none.
    """
    found = []
    for path in paths:
        files = find_files(path) if is_remote(path) else [path]
        if not files:
            raise FileNotFoundError(f"No such scene: {path}")
        found += files
    return found


def _refuse_absent(paths: list[str]) -> None:
    for path in paths:
        if not is_remote(path) and not Path(path).exists():
            raise FileNotFoundError(f"No such scene: {path}")


def _absolute(path: str) -> str:
    return path if is_remote(path) else str(Path(path).absolute())


def _indices(path: str, data: DataConfig) -> Sequence[int | None]:
    """Numbers of an array's images, or of the times of a NetCDF file.

    A single image has none: what learnt from an array of images maps others as well.
    """
    reader = data.reader or find_reader(path)
    if reader == "numpy":
        count = count_images(path, data.reader_options.get("array"))
        return [None] if count is None else range(count)
    if reader in ("geotiff", "image"):
        return [None]
    return range(count_times(path, data.reader_options.get("file_group")))
