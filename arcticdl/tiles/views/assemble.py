"""Scenes put together again from the tiles of a store."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from arcticdl.tiles.store import TileStore


def assemble_scene(
    store: TileStore, tiles: Sequence[int] | np.ndarray
) -> tuple[xr.Dataset, dict[str, np.ndarray]]:
    """Puts the given tiles of one scene together again, in pixel coordinates.

    Args:
        store: The tile store.
        tiles: Indices of tiles of one scene.

    Returns:
        Scene with ``image`` and ``valid``, and the labels by name: ``(y, x)`` or
        ``(y, x, channel)``, void where the image is invalid; of whole images ``()`` or
        ``(channel,)``. Pixels of no tile are invalid and void.
    """
    manifest = store.manifest.iloc[np.asarray(tiles)]
    rows, cols = manifest["row"].to_numpy(int), manifest["col"].to_numpy(int)
    read = store.read(np.asarray(tiles))
    height, width = read["valid"].shape[1:]
    shape = (int(rows.max()) + height, int(cols.max()) + width)
    image = np.zeros((*shape, len(store.bands)), read["image"].dtype)
    valid = np.zeros(shape, bool)
    pixel = {n: info for n, info in store.labels.items() if info.is_pixel}
    labels = {
        n: np.full((*shape, *read[n].shape[3:]), info.void, read[n].dtype)
        for n, info in pixel.items()
    }
    for number, (row, col) in enumerate(zip(rows, cols, strict=True)):
        window = np.s_[row : row + height, col : col + width]
        image[window], valid[window] = read["image"][number], read["valid"][number]
        for name, label in labels.items():
            label[window] = read[name][number]
    for name, label in labels.items():
        label[~valid] = pixel[name].void
    labels |= {n: read[n][0] for n in store.labels if n not in pixel}
    variables = {
        "image": (("band", "y", "x"), np.moveaxis(image, -1, 0)),
        "valid": (("y", "x"), valid),
    }
    coords = {
        "band": list(store.bands),
        "y": np.arange(shape[0]) + 0.5,
        "x": np.arange(shape[1]) + 0.5,
    }
    name = str(manifest["scene_id"].iloc[0])
    attrs: dict[str, object] = {"scene_id": name, "georeferenced": False}
    about = store.scenes[name]
    if about.get("crs") and (about.get("step") or (0,))[0] > 0:
        attrs["rows_rise"] = 1
    return xr.Dataset(variables, coords, {**attrs, "time": "", "sensor": ""}), labels
