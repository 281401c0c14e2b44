"""``open_scene``: the one way from files to a Scene."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from pyproj.exceptions import ProjError

from arcticdl.choices import check_choice, check_choices
from arcticdl.errors import (
    BandNotFoundError,
    GridMismatchError,
    SceneError,
    SourceError,
)
from arcticdl.scene import (
    GRID_TOLERANCE_PX,
    check_scene,
    describe_geobox,
    grid_offset_px,
    made_of,
    scene_geobox,
)
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import join_bands, scene_attributes
from arcticdl.sources.core.remote import find_files, is_remote, stem_of
from arcticdl.sources.formats.in_memory import name_of, open_in_memory
from arcticdl.sources.labels import Codes, add_label, named_classes
from arcticdl.sources.reader import (
    READERS,
    LabelContext,
    option_names,
    sniffing_order,
)

PathLike = str | Path
Source = PathLike | xr.Dataset | xr.DataArray
LabelSpec = Source | tuple[Any, ...]

HEAD_BYTES = 4096
"""What a reader may look at to tell a kind of file."""


def open_scene(
    path_or_paths: Source | Sequence[Source],
    *,
    bands: str | Sequence[str] | None = None,
    band_names: BandNames = None,
    labels: Mapping[str, LabelSpec] | None = None,
    scene_id: str | None = None,
    reader: str | None = None,
    label_codes: Any = None,
    label_options: Mapping[str, Any] | None = None,
    check_labels: bool = True,
    **reader_options: Any,
) -> xr.Dataset:
    """Opens imagery, and labels beside it, as one lazy scene.

    The reader is chosen by what the file holds. Windows are read when asked for, only
    they, and from any number of threads at once:
    ``scene["image"].isel(y=slice(0, 512), x=slice(0, 512)).values``.

    Args:
        path_or_paths: A file or product folder; an address (``https://...``,
            ``s3://...``, ``gs://...``) of a GeoTIFF or a Zarr store; or a dataset or
            array of xarray, such as odc-stac, stackstac and rioxarray give. Several are
            stacked band by band and must lie on one grid. A pattern such as
            ``"scene/*_B?.tif"`` is expanded, in the order of the names.
        bands: Names of the bands to keep, in the order wanted, or one; ``None``: all.
            ``"gray"`` reduces an RGB image with three equal channels.
        band_names: New names of the bands (see ``choose_bands``).
        labels: Label maps, ``{"name": path}``, ``{"name": (path, classes)}`` or
            ``{"name": (path, classes, colors)}``; classes are names of the codes 0, 1,
            2, ... or a mapping of code to name. A path alone takes the classes and
            colours that the file carries. A file of COCO annotations gives those of the
            image of this name; vectors and ice charts are drawn on the scene's pixels.
        scene_id: Identifier; by default the stem of the file.
        reader: Name of the reader, where the content should not decide.
        label_codes: What raw label values stand for: a mapping ``{0: 1, 255: 0}``, with
            ``(low, high)`` for intervals, or a function of the array; or one of these
            for each label name.
        label_options: Reader options of the label files, such as ``attribute``, and
            ``is_quantity``: whole numbers are no codes; or these for each label name.
        check_labels: Reads each label with classes once, strip by strip, so that a
            wrong code is refused now and not at some later window.
        **reader_options: ``time``, ``sensor``, ``group``, ``region``, ``season`` and
            ``service`` become attributes; the rest is the reader's, such as ``index``
            for ``.npy``.

    Returns:
        A scene that keeps the contract of ``arcticdl.scene``.

    Raises:
        FileNotFoundError: A file is not there.
        SourceError: A file is truncated, of another kind, or nothing reads it.
        BandNotFoundError: A band is not there.
        GridMismatchError: Files that must share a grid do not.
        LabelError: A label has another shape, or codes outside its classes.
    """
    paths = _paths(path_or_paths)
    attrs = scene_attributes(_stem(paths[0]), scene_id, reader_options)
    if len(paths) == 1:
        scene = _open_one(paths[0], reader, bands=bands, band_names=band_names,
                          **reader_options)  # fmt: skip
        if scene_id is None:
            attrs.pop("scene_id")
    else:
        opener = partial(_open_one, reader=reader, **reader_options)
        scene = _stack(paths, opener, bands, band_names)
    scene = _with_attributes(scene, attrs)
    for name, spec in (labels or {}).items():
        context = LabelContext(name, scene, paths[0], reader_options)
        codes, options = (
            _of_label(name, told, labels or {})
            for told in (label_codes, label_options or {})
        )
        scene = _with_label(context, spec, codes, check_labels, options or {})
    given = [*paths, *(_label_parts(n, spec)[0] for n, spec in (labels or {}).items())]
    return made_of(check_scene(scene), [p for p in given if isinstance(p, str | Path)])


def find_reader(path: PathLike) -> str:
    """Name of the reader for a file, by its content, or by its address.

    Args:
        path: A file or product folder, or an address.

    Returns:
        A name of ``READERS``.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: No reader knows it.
    """
    if is_remote(path):
        return _find_remote(str(path))
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    for name in sniffing_order():
        if READERS[name].sniff(path, head):
            return name
    start = f"first bytes {head[:8]!r}" if path.is_file() else "a folder"
    start = "an empty file" if path.is_file() and not head else start
    raise SourceError(
        f"{path} is of no kind that is read here: {sorted(READERS)}. Received: {start}."
    )


def _find_remote(address: str) -> str:
    for name in sniffing_order():
        takes = READERS[name].takes_address
        if takes is not None and takes(address):
            return name
    raise SourceError(
        "An address must be one that GDAL or fsspec reads block by block. Received: "
        f"{address}; download the file."
    )


def _paths(given: Source | Sequence[Source]) -> list[Source]:
    if isinstance(given, xr.Dataset | xr.DataArray):
        return [given]
    if not isinstance(given, str | Path):
        paths = list(given)
        if not paths:
            raise FileNotFoundError("`path_or_paths` must name a file. Received: none.")
        return paths
    text = str(given)
    if is_remote(text):
        if not (found := find_files(text)):
            raise FileNotFoundError(f"No file matches {text}.")
        return list(found)
    is_pattern = any(c in text for c in "*?[")
    if is_pattern and not Path(given).exists():
        anchor = Path(text).anchor
        matching = sorted(Path(anchor or ".").glob(text[len(anchor) :]))
        if not matching:
            raise FileNotFoundError(f"No file matches {text}.")
        return list(matching)
    return [given]


def _stem(source: Source) -> str:
    if isinstance(source, xr.Dataset | xr.DataArray):
        return name_of(source)
    return stem_of(source)


def _called(source: Source) -> str:
    return (
        _stem(source) if isinstance(source, xr.Dataset | xr.DataArray) else str(source)
    )


def _reader_of(path: PathLike, reader: str | None) -> str:
    """Name of the reader that is told, or else found."""
    if reader is not None:
        check_choice("reader", reader, READERS)
        if not is_remote(path) and not Path(path).exists():
            raise FileNotFoundError(f"There is no file {path}.")
        return reader
    return find_reader(path)


def _open_one(source: Source, reader: str | None = None, **options: Any) -> xr.Dataset:
    if isinstance(source, xr.Dataset | xr.DataArray):
        _check_options("xarray", open_in_memory, options)
        return open_in_memory(source, **options)
    name = _reader_of(source, reader)
    _check_options(name, READERS[name].open, options)
    try:
        with _opening(source):
            return READERS[name].open(source, **options)
    except BandNotFoundError as error:
        raise BandNotFoundError(f"{error} In {source}.") from None


@contextmanager
def _opening(source: Source) -> Iterator[None]:
    """Tells a damaged file from a defect here, whatever library found it."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ProjError) as error:
        raise SourceError(
            f"{source} cannot be read; it may be truncated or corrupt: {error}"
        ) from error


def _check_options(
    name: str, function: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    known = option_names(function)
    if known is not None:
        check_choices(f"options of reader {name!r}", options, known)


def _with_attributes(scene: xr.Dataset, attrs: Mapping[str, Any]) -> xr.Dataset:
    changed = scene.assign_attrs(attrs)
    changed.set_close(scene.close)
    return changed


def _stack(
    paths: Sequence[Source],
    opener: Callable[..., xr.Dataset],
    bands: Sequence[str] | None,
    band_names: BandNames,
) -> xr.Dataset:
    """Stacks files band by band, opening of each only what is wanted."""
    members = [opener(path) for path in paths]
    _check_one_grid(paths, members)
    owners, names = _stacked_names(paths, members)
    indices, chosen = choose_bands(names, bands, band_names)
    parts = [owners[i] for i in indices]
    return join_bands(members, parts, chosen, members[0].attrs)


def _stacked_names(
    paths: Sequence[Source], members: Sequence[xr.Dataset]
) -> tuple[list[tuple[int, int]], list[str]]:
    """``(member, band)`` and name of each band of a stack.

    A nameless single band is called by its file, and names that repeat get the file's
    before them.
    """
    owners, names, stems = [], [], []
    for k, (path, member) in enumerate(zip(paths, members, strict=True)):
        file_bands = [str(b) for b in member["band"].values]
        if file_bands in (["band_1"], ["gray"]):
            file_bands = [_stem(path)]
        owners += [(k, i) for i in range(len(file_bands))]
        names += file_bands
        stems += [_stem(path)] * len(file_bands)
    repeated = {name for name in names if names.count(name) > 1}
    return owners, [
        f"{stem}_{name}" if name in repeated else name
        for stem, name in zip(stems, names, strict=True)
    ]


def _check_one_grid(paths: Sequence[Source], members: Sequence[xr.Dataset]) -> None:
    first, first_grid = members[0], scene_geobox(members[0])
    for path, member in zip(paths[1:], members[1:], strict=True):
        grid = scene_geobox(member)
        if first_grid is not None and grid is not None:
            if grid_offset_px(first_grid, grid) > GRID_TOLERANCE_PX:
                raise GridMismatchError(
                    "Files that are stacked must share one grid. Received: "
                    f"{describe_geobox(first_grid)} of {_called(paths[0])} and "
                    f"{describe_geobox(grid)} of {_called(path)}. "
                    "Open them one by one and call `arcticdl.grid.align`."
                )
        elif (first_grid is None) != (grid is None) or member["image"].shape[
            1:
        ] != first["image"].shape[1:]:
            raise GridMismatchError(
                "Files that are stacked must share one grid. Received: "
                f"{first['image'].shape[1:]} px of {_called(paths[0])} and "
                f"{member['image'].shape[1:]} px of {_called(path)}, "
                "not both of them with a grid."
            )


def _with_label(
    context: LabelContext,
    spec: LabelSpec,
    codes: Codes | None,
    check: bool,
    options: Mapping[str, Any],
) -> xr.Dataset:
    path, classes, colors = _label_parts(context.name, spec)
    context = context._replace(classes=named_classes(classes))
    its = dict(options)
    is_quantity = bool(its.pop("is_quantity", False))
    opened = _open_label(path, context, **its)
    return add_label(context.scene, context.name, opened, classes=classes, codes=codes,
                     colors=colors, check=check, is_quantity=is_quantity)  # fmt: skip


def _open_label(
    path: Source, context: LabelContext, reader: str | None = None, **options: Any
) -> xr.Dataset:
    if isinstance(path, xr.Dataset | xr.DataArray):
        return _open_one(path, **options)
    name = _reader_of(path, reader)
    function = READERS[name].open_label
    if function is None:
        return _open_one(path, name, **options)
    _check_options(name, function, options)
    with _opening(path):
        return function(path, context, **options)


def _label_parts(name: str, spec: LabelSpec) -> tuple[Source, Any, Any]:
    sources = (str, Path, xr.Dataset, xr.DataArray)
    if isinstance(spec, sources):
        return spec, (), ()
    if isinstance(spec, Sequence) and 2 <= len(spec) <= 3:
        path, classes, *colors = spec
        if isinstance(path, sources) and not isinstance(classes, str):
            return path, classes, (colors[0] if colors else ())
    raise SceneError(
        "A label must be given as path, (path, classes) or (path, classes, colors). "
        f"Received: {name!r}: {spec!r}."
    )


def _of_label(name: str, told: Any, labels: Mapping[str, Any]) -> Any:
    """What is told for one label, where it is told by label and not for all."""
    if isinstance(told, Mapping) and told and set(told) <= set(labels):
        return told.get(name)
    return told
