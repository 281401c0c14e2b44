"""What a prediction leaves behind: the outputs of each head, as maps."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.choices import check_choice, check_choices
from arcticdl.files import refuse_sources, remove_orphans, temporary_path
from arcticdl.inference.forward import Answers, keys_of
from arcticdl.inference.output import MapFile, pixel_area_m2, scene_georeference
from arcticdl.inference.postprocess import (
    check_steps,
    least_prob,
    plain,
    postprocess,
    threshold_classes,
)
from arcticdl.inference.products.netcdf import write_netcdf
from arcticdl.scene import class_attributes, is_swath
from arcticdl.seaice.standard_names import name_of_classes, name_of_values
from arcticdl.sources.formats.geotiff import open_pixels
from arcticdl.tasks import Head, Output

NETCDF = ".nc"
"""Ending of the one file that holds all maps of a scene."""

_TOLD = ("scene_id", "time", "sensor")
"""Attributes of a scene that its maps bear."""


@dataclass(frozen=True)
class MapLayer:
    """One map: an output of a head.

    Attributes:
        name: Name of the variable and, but for the first one, end of the file's name.
        head_name: Name of the head.
        head: What it answers.
        kind: Name of the output.
        dim: Name of the axis of its bands, where there are several.
        thresholds: Least probabilities of classes, of a map of classes.
        steps: What is done to the finished map, of a map of classes.
    """

    name: str
    head_name: str
    head: Head
    kind: str
    dim: str
    thresholds: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()

    @property
    def output(self) -> Output:
        """How it is read and written."""
        return self.head.form.outputs[self.kind]

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of its bands; one may be nameless."""
        return self.output.bands(self.head)

    def read(self, answers: Answers, valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Rows of the map (band, y, x), nodata where there is no input."""
        keys = keys_of(self.head_name, self.output.reads)
        found = [answers[key] for key in keys if key in answers]
        if not found:  # no valid pixel so far, so the model never ran
            nothing = np.full((len(self.bands), *valid.shape), self.output.nodata)
            return nothing.astype(self.output.dtype)
        values = np.concatenate(found, axis=-1) if len(found) > 1 else found[0]
        if self.thresholds:
            within = threshold_classes(values, self.head.classes, self.thresholds)
            rows = within[None]
        else:
            rows = np.moveaxis(self.output.read(values, self.head), -1, 0)
        rows = rows[: len(self.bands)]
        filled = np.where(valid[None], rows, self.output.nodata)
        return filled.astype(self.output.dtype)

    def attrs(self) -> dict[str, Any]:
        """CF attributes of the variable."""
        attrs: dict[str, Any] = {"long_name": self.output.about}
        if self.output.dtype != "uint8":
            units = self.head.units if self.output.units is None else self.output.units
            if self.output.limits is not None:
                attrs["valid_range"] = list(self.output.limits)
            attrs |= {"units": units or "1"}
            if self.kind in ("value", "quantiles"):
                attrs["standard_name"] = name_of_values(self.head_name, attrs["units"])
            return {key: value for key, value in attrs.items() if value is not None}
        if not self.output.palette:
            return attrs | {"flag_values": [0, 1], "flag_meanings": "no yes"}
        classes = self.head.classes
        attrs |= class_attributes(classes, self.head.colors)
        if name := name_of_classes(classes):
            attrs["standard_name"] = name
        return attrs | self.finish_tags()

    def finish_tags(self) -> dict[str, str]:
        """What was done to the network's answer, as JSON, for whoever reads the map."""
        tags = {}
        if self.thresholds:
            tags["thresholds"] = json.dumps(dict(self.thresholds))
        if self.steps:
            tags["postprocess"] = json.dumps([dict(step) for step in self.steps])
        return tags


_AXES = {
    "interval": "bound",
    "latent": "feature",
    "prob": "prob_class",
    "quantiles": "quantile",
    "set": "set_class",
}
"""Output of several bands -> name of their axis; else ``output``."""


def plan_layers(
    heads: Mapping[str, Head],
    outputs: Sequence[str] | None,
    thresholds: Mapping[str, float] | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
) -> list[MapLayer]:
    """Which maps are made, in order; the first one is the chief map.

    Args:
        heads: Name -> what it answers.
        outputs: Names of outputs; ``None``: those that each task shows.
        thresholds: Class -> least probability, of maps of classes.
        steps: What is done to finished maps of classes; a step's ``head`` names one.

    Raises:
        ValueError: An output that no head has, none, or one that only a calibrated
            head tells; a threshold or step that fits no map.
    """
    _check_finish(heads, thresholds or {}, steps)
    known = {name for head in heads.values() for name in head.form.outputs}
    if outputs is not None:
        check_choices("outputs", outputs or [None], known)
    layers = []
    for head_name, head in heads.items():
        prefix = f"{head_name}_" if len(heads) > 1 else ""
        for kind in head.chosen(outputs):
            if head.form.outputs[kind].needs_margin and head.margin is None:
                raise ValueError(
                    f"`outputs` with {kind!r} needs a model that is calibrated for it "
                    f"(`arcticdl calibrate RUN`). Received: head {head_name!r}, whose "
                    "sets cover no known share; of several models each has its own."
                )
            dim = _AXES.get(kind, "output")
            layer = MapLayer(f"{prefix}{kind}", head_name, head, kind, f"{prefix}{dim}")
            if layer.output.palette:
                names = [plain(name) for name in head.classes]
                given = (thresholds or {}).items()
                layer = replace(
                    layer,
                    thresholds={k: v for k, v in given if plain(k) in names},
                    steps=_steps_of(head_name, steps),
                )
            layers.append(layer)
    return layers


def _steps_of(
    head: str, steps: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], ...]:
    """The steps of one head, without its name."""
    return tuple(
        {key: value for key, value in step.items() if key != "head"}
        for step in steps
        if step.get("head") in (None, head)
    )


def _check_finish(
    heads: Mapping[str, Head],
    thresholds: Mapping[str, float],
    steps: Sequence[Mapping[str, Any]],
) -> None:
    mapped = {
        name: head
        for name, head in heads.items()
        if head.spec.target == "pixel" and head.form.codes is not None
    }
    if (thresholds or steps) and not mapped:
        raise ValueError(
            "Thresholds and steps are for maps of classes. Received: heads of tasks "
            f"{[head.task for head in heads.values()]}."
        )
    least_prob([c for head in mapped.values() for c in head.classes], thresholds)
    for step in steps:
        if step.get("head") is not None:
            check_choice("head", step["head"], mapped)
    for name, head in mapped.items():
        check_steps(_steps_of(name, steps), head.classes)


class SceneMaps:
    """Collects finished rows, in files or in memory.

    Args:
        scene: The scene that is mapped; its grid becomes the maps' grid.
        out: The chief map's file, or ``None`` for memory.
        layers: As from ``plan_layers``.
        overwrite: Whether files may be replaced.
        tags: Further tags of each file, such as which model made it.

    Raises:
        FileExistsError: A file exists and ``overwrite`` is false.
    """

    def __init__(
        self,
        scene: xr.Dataset,
        out: str | Path | None,
        layers: list[MapLayer],
        *,
        overwrite: bool,
        tags: Mapping[str, str] | None = None,
    ):
        self.scene, self.layers, self.tags = scene, layers, dict(tags or {})
        self.shape = (scene.sizes["y"], scene.sizes["x"])
        self.georeference = {} if is_swath(scene) else scene_georeference(scene)
        self.pixel_area_m2 = pixel_area_m2(self.georeference)
        for layer in layers:
            check_steps(layer.steps, layer.head.classes, self.pixel_area_m2)
        self.out = None if out is None else Path(out)
        self.files: dict[str, MapFile] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        self.netcdf: Path | None = None
        self._rows: Path | None = None
        if self.out is not None:
            self._refuse_existing(self.out, overwrite)
            self._begin(self.out)

    def _begin(self, out: Path) -> None:
        """Makes room for the rows of what becomes one file, where it does."""
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == NETCDF:
            remove_orphans(out.with_suffix(""))
            self._rows = temporary_path(out.with_suffix(""))
            self._rows.mkdir()
            self.netcdf, self.out = out, self._rows / f"{out.stem}.tif"

    def _path(self, layer: MapLayer, out: Path) -> Path:
        suffix = "" if layer is self.layers[0] else f"_{layer.name}"
        return out.with_name(f"{out.stem}{suffix}{out.suffix or '.tif'}")

    def _refuse_existing(self, out: Path, overwrite: bool) -> None:
        whole = out.suffix.lower() == NETCDF
        if is_swath(self.scene) and not whole:
            raise ValueError(
                "Maps of a scene on 2-D lat/lon are written as NetCDF. Name a file "
                "that ends in .nc, or align the scene first: "
                "arcticdl.grid.align([scene], crs=..., resolution_m=...). Received: "
                f"{out}"
            )
        paths = [out] if whole else [self._path(layer, out) for layer in self.layers]
        source = self.scene["image"].encoding.get("source")
        refuse_sources(paths, [source] if source else [])
        found = [str(path) for path in paths if path.exists()]
        if found and not overwrite:
            raise FileExistsError(
                f"{', '.join(found)} exist already. Choose another `out`, or pass "
                "overwrite=True."
            )

    def write(self, row: int, answers: Answers, valid: NDArray[np.bool_]) -> None:
        """Takes finished rows from ``row`` on; (y, x, channel) a head."""
        for layer in self.layers:
            rows = layer.read(answers, valid)
            if self.out is not None and not layer.steps:
                if layer.name not in self.files:
                    self.files[layer.name] = self._create(layer, len(rows))
                self.files[layer.name].write_rows(row, rows)
                continue
            if layer.name not in self.arrays:
                shape = (len(rows), *self.shape)
                self.arrays[layer.name] = np.zeros(shape, rows.dtype)
            self.arrays[layer.name][:, row : row + rows.shape[1]] = rows

    def _create(self, layer: MapLayer, count: int) -> MapFile:
        assert self.out is not None
        classes, palette = layer.head.classes, layer.output.palette
        names_of_codes = {f"class_{i}": c for i, c in enumerate(classes)}
        tags = self.tags | (names_of_codes if palette else {}) | layer.finish_tags()
        attrs = layer.attrs()
        tags |= {k: attrs[k] for k in ("units",) if attrs.get(k, "1") != "1"}
        names = tuple(name or layer.name for name in layer.bands)
        return MapFile(
            self._path(layer, self.out),
            self.shape,
            count=count,
            dtype=layer.output.dtype,
            nodata=layer.output.nodata,
            georeference=self.georeference,
            tags=tags,
            band_names=names,
            colors=layer.head.colors if palette else (),
            units=str(attrs.get("units", "")),
        )

    def finish(self) -> None:
        """Mends what is to be mended, and gives the files their names."""
        # All maps are mended before the first gets its name: a failure leaves none.
        for layer in self.layers:
            if layer.steps:
                self._apply_steps(layer)
        if self.out is None:
            return
        for layer in self.layers:
            self.files[layer.name].commit()
        if self.netcdf is not None:
            write_netcdf(self.opened(), None, self.netcdf.with_suffix(""))
            self._remove_rows()

    def begin_from(self, out: Path) -> None:
        """Takes the files that an earlier call finished for its own."""
        self.out = out
        self.netcdf = out if out.suffix.lower() == NETCDF else None

    def opened(self) -> xr.Dataset:
        """The finished maps; those in files are read when they are asked for."""
        if self.out is None:
            return self._dataset(self._in_memory(self.arrays))
        if self.netcdf is not None and self.netcdf.exists():
            whole = xr.open_dataset(
                self.netcdf, engine="h5netcdf", mask_and_scale=False
            )
            return self._dataset(whole)
        found: dict[str, xr.DataArray] = {}
        for layer in self.layers:
            image = open_pixels(self._path(layer, self.out))
            found[layer.name] = image if len(layer.bands) > 1 else image[0]
        return self._dataset(found)

    def _remove_rows(self) -> None:
        if self._rows is not None:
            shutil.rmtree(self._rows, ignore_errors=True)

    def empty(self) -> xr.Dataset:
        """Maps of the same variables and attributes that hold nothing yet."""
        data = {}
        for layer in self.layers:
            nothing = np.array(layer.output.nodata, layer.output.dtype)
            data[layer.name] = np.broadcast_to(nothing, (len(layer.bands), *self.shape))
        return self._dataset(self._in_memory(data))

    def _in_memory(self, arrays: Mapping[str, Any]) -> dict[str, xr.DataArray]:
        return {
            name: xr.DataArray(values if values.shape[0] > 1 else values[0])
            for name, values in arrays.items()
        }

    def _dataset(self, values: Mapping[Any, xr.DataArray]) -> xr.Dataset:
        data: dict[str, xr.Variable] = {}
        kept = ("y", "x", "lat", "lon", "spatial_ref")
        coords: dict[str, Any] = {
            k: self.scene.coords[k] for k in kept if k in self.scene.coords
        }
        for layer in self.layers:
            many = len(layer.bands) > 1
            dims = (layer.dim, "y", "x") if many else ("y", "x")
            # To take a variable's data would read it; renamed, it stays in its file.
            variable = values[layer.name].variable.copy(deep=False)
            variable.dims, variable.attrs = dims, layer.attrs()
            data[layer.name] = variable
            if many:
                coords[layer.dim] = (layer.dim, list(layer.bands))
        told = {k: v for k, v in self.scene.attrs.items() if k in _TOLD}
        return xr.Dataset(data, coords, told | self.tags)

    def _apply_steps(self, layer: MapLayer) -> None:
        """Mends a whole map in memory, and writes it where there is a file."""
        codes = postprocess(
            self.arrays[layer.name][0],
            layer.head.classes,
            layer.steps,
            pixel_area_m2=self.pixel_area_m2,
        )
        self.arrays[layer.name] = codes[None]
        if self.out is not None:
            self.files[layer.name] = self._create(layer, 1)
            self.files[layer.name].write_rows(0, self.arrays.pop(layer.name))

    def discard(self) -> None:
        """Removes unfinished files."""
        for file in self.files.values():
            file.discard()
        self._remove_rows()
