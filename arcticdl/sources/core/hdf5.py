"""What an HDF5 file holds, told without opening it as a scene."""

from typing import Any

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
"""First bytes of an HDF5 file."""


def hdf5_holds(path: Any, head: bytes, name: str) -> bool:
    """Whether a file is HDF5 with a data set or group of this name.

    Args:
        path: The file.
        head: Its first bytes.
        name: Such as ``"HDFEOS INFORMATION/StructMetadata.0"``.
    """
    if not head.startswith(HDF5_MAGIC):
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return name in file
    except (OSError, RuntimeError):  # damaged: who opens it says how
        return False
