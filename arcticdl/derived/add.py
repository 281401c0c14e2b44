"""Derived bands put beside those of a scene, lazily."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import xarray as xr

from arcticdl.derived.source import Layer, Read, Source
from arcticdl.derived.steps import Step, check_steps
from arcticdl.derived.table import FORMULAS
from arcticdl.errors import SceneError
from arcticdl.scene import check_scene
from arcticdl.sources.core.assemble import band_units, make_scene
from arcticdl.sources.core.lazy import WindowArray


def add_bands(scene: xr.Dataset, steps: Sequence[Step]) -> xr.Dataset:
    """Adds bands that are made of a scene's bands, position and time.

    Nothing is computed until a window is read, and no value depends on which window.

    Args:
        scene: A scene.
        steps: One mapping a step (see ``check_steps``); each may use the bands of those
            before it. A mask voids pixels in place of adding a band.

    Returns:
        The scene with further bands, at least float32, each with its unit. NaN where a
        formula has no value: at invalid pixels, where a sum or divisor is 0, and for
        3 x 3 px at the border. ``valid`` is changed by masks alone.

    Raises:
        ValueError: A step is wrong (see ``check_steps``).
        SceneError: A band is in the wrong unit, a name is taken, or the scene lacks
            time or position.
        BandNotFoundError: A band is not there.
        FileNotFoundError: A file of vectors is not there.

    Example:
        >>> image = (("band", "y", "x"), np.float32([[[-15.0]], [[-20.0]]]))
        >>> scene = xr.Dataset(
        ...     {"image": (*image, {"units": "dB"})},
        ...     {"band": ["HH", "HV"], "y": [0.5], "x": [0.5]},
        ...     {"georeferenced": False})
        >>> found = add_bands(
        ...     scene, [{"formula": "ratio", "of": ["HV", "HH"], "name": "HV_HH"}])
        >>> found["band"].values.tolist(), float(found["image"][2, 0, 0])
        (['HH', 'HV', 'HV_HH'], -5.0)
    """
    check_steps(steps)
    scene = with_valid(check_scene(scene)) if steps else check_scene(scene)
    for step in steps:
        module, _, name = FORMULAS[step["formula"]].maker.partition(":")
        made = getattr(import_module(module), name)(Source(scene, step))
        masks = FORMULAS[step["formula"]].units == "mask"
        scene = _voided(scene, made) if masks else append_layers(scene, made)
    return scene


@dataclass(frozen=True)
class _Joined:
    """Reads the bands of a scene and, behind them, derived ones."""

    image: xr.Variable
    layers: tuple[Layer, ...]
    dtype: np.dtype

    def read(self, bands: list[int], rows: slice, cols: slice) -> np.ndarray:
        count = len(self.image)
        shape = (len(bands), rows.stop - rows.start, cols.stop - cols.start)
        out = np.empty(shape, self.dtype)
        own = [k for k, band in enumerate(bands) if band < count]
        if own:
            out[own] = self.image[[bands[k] for k in own], rows, cols].values
        for k, band in enumerate(bands):
            if band >= count:
                out[k] = self.layers[band - count].read(rows, cols)
        return out


def append_layers(scene: xr.Dataset, layers: Sequence[Layer]) -> xr.Dataset:
    """Puts further bands behind those of a scene.

    Raises:
        SceneError: The scene has a band of that name.
    """
    names = [str(band) for band in scene["band"].values]
    taken = sorted({layer.name for layer in layers} & set(names))
    if taken:
        raise SceneError(
            f"A derived band must have a name of its own. Received: {taken[0]!r}, "
            f"which the scene has: {names}; say another one by `name`."
        )
    image = scene["image"].variable
    dtype = np.result_type(image.dtype, "float32")
    joined = _Joined(image, tuple(layers), dtype)
    lazy = WindowArray((len(names) + len(layers), *image.shape[1:]), dtype, joined.read)
    attrs = {key: value for key, value in image.attrs.items() if key != "units"}
    result = make_scene(
        lazy.variable(("band", "y", "x"), attrs, image.encoding),
        [*names, *(layer.name for layer in layers)],
        coords={str(n): c.variable for n, c in scene.coords.items()
                if "band" not in c.dims},
        units=[*band_units(scene), *(layer.units for layer in layers)],
        attrs=scene.attrs,
    )  # fmt: skip
    for name, variable in scene.data_vars.items():
        if name != "image":
            result[name] = variable.variable
    result.set_close(scene.close)
    return result


def with_valid(scene: xr.Dataset) -> xr.Dataset:
    """The scene with ``valid`` as it is read where a scene has none.

    Without, a pixel is valid where all its bands are finite, and a derived band that
    has no value there would void it.
    """
    if "valid" in scene:
        return scene
    image = scene["image"].variable
    return with_validity(scene, _Finite(image).read)


def _voided(scene: xr.Dataset, masked: Read) -> xr.Dataset:
    return with_validity(scene, _Kept(scene["valid"].variable, masked).read)


def with_validity(scene: xr.Dataset, read: Read) -> xr.Dataset:
    """The scene with another ``valid``, of which a window is read by a function."""
    lazy = WindowArray(scene["image"].shape[1:], bool, read)
    result = scene.assign(valid=lazy.variable(("y", "x")))
    result.set_close(scene.close)
    return result


@dataclass(frozen=True)
class _Finite:
    """Reads where all bands are finite."""

    image: xr.Variable

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        if self.image.dtype.kind != "f":
            return np.ones((rows.stop - rows.start, cols.stop - cols.start), bool)
        return np.isfinite(self.image[:, rows, cols].values).all(axis=0)


@dataclass(frozen=True)
class _Kept:
    """Reads where a pixel was valid and is not masked."""

    valid: xr.Variable
    masked: Read

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        return self.valid[rows, cols].values & ~self.masked(rows, cols)
