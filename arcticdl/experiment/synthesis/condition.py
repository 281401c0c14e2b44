"""What a generator sees of a scene: its classes, in the image's place."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice
from arcticdl.config import DataConfig
from arcticdl.experiment.data.further import kept_inside
from arcticdl.scene import read_values
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.void import VOID_CLASS


def class_bands(classes: tuple[str, ...]) -> list[str]:
    """Names of the bands that tell classes.

    Example:
        >>> class_bands(("open water", "ice"))
        ['is_open_water', 'is_ice']
    """
    return [f"is_{'_'.join(name.split())}" for name in classes]


def one_hot_bands(codes: np.ndarray, num_classes: int) -> np.ndarray:
    """A band of 0 and 1 for each class.

    Args:
        codes: ``(y, x)`` class codes; 255 is void.
        num_classes: Number of classes.

    Returns:
        float32 ``(band, y, x)``, 0 in all bands where void.

    Example:
        >>> one_hot_bands(np.array([[0, 255, 1]]), 2).tolist()
        [[[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]]
    """
    known = np.arange(num_classes)[:, None, None]
    return np.asarray(codes[None] == known, np.float32)


def see_classes(scene: xr.Dataset, data: DataConfig) -> xr.Dataset:
    """Puts a map of classes in the image's place, as ``data.condition`` has it.

    Args:
        scene: The scene, with its bands and labels.
        data: The configuration.

    Returns:
        The scene with a band of 0 and 1 for each class, and the bands that are seen
        beside. It is valid where the class is known, and labels that are bands of the
        image are void elsewhere. As it came without a condition.

    Raises:
        ValueError: The scene lacks a band that is seen.
    """
    condition = data.condition
    if condition is None:
        return scene
    there = [str(band) for band in scene["band"].values]
    for band in condition.bands:
        check_choice("data.condition.bands", band, there)
    names = class_bands(data.labels[condition.label].classes)
    seen = _Seen(
        scene[condition.label].variable,
        scene["valid"].variable if "valid" in scene else None,
        scene["image"],
        len(names),
        tuple(there.index(band) for band in condition.bands),
    )
    shape = seen.label.shape
    bands = [*names, *condition.bands]
    image = WindowArray((len(bands), *shape), np.dtype("float32"), seen.read)
    valid = WindowArray(shape, np.dtype(bool), seen.known)
    changed = scene.drop_dims("band").assign(
        image=image.variable(("band", "y", "x"), {}),
        valid=valid.variable(("y", "x")),
    )
    changed = changed.assign_coords(band=bands)
    known = changed["valid"].variable
    for name in {n for n, lb in data.labels.items() if lb.band} & set(changed):
        label = changed[name].variable
        read = partial(kept_inside, label, known)
        lazy = WindowArray(label.shape, label.dtype, read)
        changed[name] = lazy.variable(tuple(map(str, label.dims)), label.attrs)
    changed.set_close(scene.close)
    return changed


@dataclass(frozen=True)
class _Seen:
    """Reads windows of classes and of bands beside, and where both are known."""

    label: xr.Variable
    valid: xr.Variable | None
    image: xr.DataArray
    num_classes: int
    places: tuple[int, ...]

    def known(self, rows: slice, cols: slice) -> np.ndarray:
        known = np.asarray(self.label[rows, cols].values != VOID_CLASS)
        if self.valid is not None:
            known = known & np.asarray(self.valid[rows, cols].values, bool)
        return known

    def read(self, bands: list[int], rows: slice, cols: slice) -> np.ndarray:
        told = one_hot_bands(self.label[rows, cols].values, self.num_classes)
        if self.places:
            window = {"band": list(self.places), "y": rows, "x": cols}
            beside = read_values(self.image.isel(window), "band", "y", "x")
            told = np.concatenate([told, beside.astype(np.float32)])
        return told[list(bands)]
