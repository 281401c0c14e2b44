"""Arrays of a store that lie in a bucket: their metadata, and which files there are.

The metadata are made in a folder, as those of any store, and copied; pixels are written
to the bucket directly, by `ShardWriter`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from arcticdl.errors import SourceError, StoreError
from arcticdl.sources.core.remote import folder_spec, list_folder, opened_folder
from arcticdl.tiles import layout

_METADATA = "zarr.json"


def check_address(address: str) -> None:
    """Refuses an address that pixels cannot be written to.

    Raises:
        SourceError: It is no folder of a bucket, or cannot be reached.
        FileExistsError: Something is there.
    """
    if not folder_spec(address)["path"]:
        raise SourceError(
            "`pixels_at` must name a folder in its bucket, such as s3://BUCKET/NAME. "
            f"Received: {address}."
        )
    if found := list_folder(address):
        raise FileExistsError(
            "`pixels_at` must be the address of a folder that is not there yet. "
            f"Received: {address}, which holds {len(found):,} files. Name another, or "
            "remove them."
        )


def claim(folder: Path, address: str, owner: str) -> None:
    """Takes an address for one store: of several that begin at once, one keeps it.

    The metadata of the group are written on condition that there are none, which the
    bucket decides.

    Args:
        folder: The group made in a folder, whose attribute ``owner`` is `owner`.
        address: Where its arrays shall lie.
        owner: Who writes; the same after an interruption.

    Raises:
        SourceError: The bucket cannot be written to.
        StoreError: The address is another's.
    """
    with opened_folder(address) as there:
        found = there.read(_METADATA).result()
        if found.state != "value":
            data = (folder / _METADATA).read_bytes()
            absent = found.stamp.generation
            there.write(_METADATA, data, if_equal=absent).result()
            found = there.read(_METADATA).result()
    if json.loads(found.value).get("attributes", {}).get("owner") != owner:
        raise StoreError(
            "`pixels_at` must be the address of one store. Received: "
            f"{address}, where another began to be written meanwhile. Name another "
            "folder, and prepare anew."
        )


def copy_metadata(folder: Path, address: str) -> None:
    """Copies the metadata of a group and its arrays, the group's last.

    Raises:
        SourceError: The bucket cannot be written to.
    """
    files = sorted(folder.rglob(_METADATA), key=lambda path: -len(path.parts))
    with opened_folder(address) as there:
        for path in files:
            key = path.relative_to(folder).as_posix()
            there.write(key, path.read_bytes()).result()


def extend_arrays(address: str, names: Sequence[str], num_tiles: int) -> None:
    """Makes arrays at least as long as told; what they hold stays.

    Raises:
        SourceError: The bucket cannot be reached.
        StoreError: An array is not there.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        for key in (_METADATA, *(f"{array}/{_METADATA}" for array in names)):
            with opened_folder(address) as there:
                found = there.read(key).result()
            if found.state != "value":
                raise StoreError(
                    f"A tile store must hold its arrays. Received: {address} without "
                    f"{key}. Prepare it anew."
                )
            (folder / key).parent.mkdir(exist_ok=True)
            (folder / key).write_bytes(found.value)
        layout.extend_arrays(folder, num_tiles)
        copy_metadata(folder, address)


def shards_of(address: str) -> dict[str, set[int]]:
    """The numbers of the files that each array has.

    Raises:
        SourceError: The bucket cannot be listed.
    """
    found: dict[str, set[int]] = {}
    for name, number in (_shard(key) for key in list_folder(address)):
        if number >= 0:
            found.setdefault(name, set()).add(number)
    return found


def keep_shards(address: str, used: set[int]) -> None:
    """Removes the files of pixels with other numbers than these."""
    with opened_folder(address) as there:
        for key in there.list().result():
            if _shard(key)[1] not in (used | {-1}):
                there.write(key, None).result()


def _shard(key: bytes) -> tuple[str, int]:
    """The array of a key, and the number of its file; -1 of what holds no pixels."""
    name, kind, *numbers = [*key.decode().split("/"), ""]
    is_shard = kind == "c" and numbers[0].isdigit()
    return name, int(numbers[0]) if is_shard else -1
