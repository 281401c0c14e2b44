"""What a prediction leaves behind: class, confidence, uncertainty, probabilities."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.inference.forward import Heads, entropy, spread_of
from arcticdl.inference.output import MapFile, scene_georeference
from arcticdl.sources.formats.geotiff import open_geotiff
from arcticdl.void import VOID_CLASS

OUTPUTS = ("class", "confidence", "entropy", "spread", "prob")
"""Outputs of a segmentation head; see ``predict_scene``."""


class SceneMaps:
    """Collects finished rows, in files or in memory.

    Args:
        scene: The scene that is mapped; its grid becomes the maps' grid.
        out: Class map's file, or ``None`` for memory.
        tasks: Name -> task of every head.
        card: The model's card, for class names and colours.
        channels: Name -> channels of every head.
        outputs: Of ``OUTPUTS``.
        overwrite: Whether files may be replaced.
    """

    def __init__(
        self,
        scene: xr.Dataset,
        out: str | Path | None,
        tasks: dict[str, str],
        card: dict[str, Any] | None,
        *,
        channels: dict[str, int],
        outputs: tuple[str, ...],
        overwrite: bool,
    ):
        unknown = sorted(set(outputs) - set(OUTPUTS))
        if unknown or not outputs:
            raise ValueError(
                f"`outputs` must be of {sorted(OUTPUTS)}. Received: {list(outputs)}."
            )
        self.scene, self.tasks, self.outputs = scene, tasks, outputs
        self.channels = channels
        self.heads = (card or {}).get("heads", {})
        self.shape = (scene.sizes["y"], scene.sizes["x"])
        self.georeference = scene_georeference(scene)
        self.out = None if out is None else Path(out)
        self.files: dict[str, MapFile] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        if self.out is not None:
            self._refuse_existing(overwrite)

    def _names(self) -> list[str]:
        names = []
        for head, task in self.tasks.items():
            prefix = f"{head}_" if len(self.tasks) > 1 else ""
            names += [f"{prefix}{kind}" for kind in self._kinds(task)]
        return names

    def _kinds(self, task: str) -> tuple[str, ...]:
        if task == "segmentation":
            return self.outputs
        return ("value", "spread") if "spread" in self.outputs else ("value",)

    def _path(self, name: str) -> Path:
        assert self.out is not None
        first = self._names()[0]
        suffix = "" if name == first else f"_{name}"
        return self.out.with_name(f"{self.out.stem}{suffix}{self.out.suffix or '.tif'}")

    def _refuse_existing(self, overwrite: bool) -> None:
        assert self.out is not None
        self.out.parent.mkdir(parents=True, exist_ok=True)
        found = [str(p) for p in map(self._path, self._names()) if p.exists()]
        if found and not overwrite:
            raise FileExistsError(
                f"{', '.join(found)} exist already. Choose another `out`, or pass "
                "overwrite=True."
            )

    def write(self, row: int, heads: Heads, valid: NDArray[np.bool_]) -> None:
        """Takes finished rows from ``row`` on; (y, x, class) a head."""
        for head, task in self.tasks.items():
            prefix = f"{head}_" if len(self.tasks) > 1 else ""
            values = heads.get(head)
            if values is None:  # no valid pixel so far, so the model never ran
                values = np.zeros((*valid.shape, self.channels[head]), np.float32)
            for kind in self._kinds(task):
                shown = values
                if kind == "spread":
                    shown = heads.get(spread_of(head), np.zeros_like(values[..., :1]))
                    shown = shown if task == "segmentation" else np.sqrt(shown)
                self._store(f"{prefix}{kind}", head, row, _render(kind, shown, valid))

    def _store(self, name: str, head: str, row: int, rows: NDArray[Any]) -> None:
        if self.out is None:
            if name not in self.arrays:
                self.arrays[name] = np.zeros((len(rows), *self.shape), rows.dtype)
            self.arrays[name][:, row : row + rows.shape[1]] = rows
            return
        if name not in self.files:
            self.files[name] = self._create(name, head, rows)
        self.files[name].write_rows(row, rows)

    def _create(self, name: str, head: str, rows: NDArray[Any]) -> MapFile:
        classes = tuple(self.heads.get(head, {}).get("classes", ()))
        colors = tuple(self.heads.get(head, {}).get("colors", ()))
        is_class = rows.dtype == np.uint8
        return MapFile(
            self._path(name),
            self.shape,
            count=len(rows),
            dtype=str(rows.dtype),
            nodata=VOID_CLASS if is_class else float("nan"),
            georeference=self.georeference,
            tags={f"class_{i}": c for i, c in enumerate(classes)} if is_class else {},
            band_names=classes if len(rows) == len(classes) > 1 else (name,),
            colors=colors if is_class else (),
        )

    def finish(self) -> xr.Dataset:
        """Names the files and returns the maps on the scene's grid."""
        data: dict[str, Any] = {}
        for name in self._names():
            if self.out is not None:
                opened = open_geotiff(self.files[name].commit())
                values: Any = opened["image"].variable.data
            else:
                values = self.arrays[name]
            head = name.rpartition("_")[0] or next(iter(self.tasks))
            kind = name.rpartition("_")[2]
            dims: tuple[str, ...] = ("y", "x")
            if kind == "prob":
                dims = ("prob_class", "y", "x")
            elif values.shape[0] > 1:  # a head of several values a pixel
                dims = ("output", "y", "x")
            values = values if len(dims) == 3 else values[0]
            data[name] = (dims, values, self._attrs(kind, head))
        coords = {k: self.scene.coords[k] for k in ("y", "x") if k in self.scene.coords}
        if "spatial_ref" in self.scene.coords:
            coords["spatial_ref"] = self.scene.coords["spatial_ref"]
        attrs = {k: v for k, v in self.scene.attrs.items() if k in ("scene_id", "time")}
        return xr.Dataset(data, coords, attrs)

    def _attrs(self, kind: str, head: str) -> dict[str, Any]:
        info = self.heads.get(head, {})
        classes = [str(name).replace(" ", "_") for name in info.get("classes", ())]
        if kind != "class" or not classes:
            return {"units": "1"} if kind != "class" else {}
        attrs = {
            "flag_values": list(range(len(classes))),
            "flag_meanings": " ".join(classes),
            "void_class": VOID_CLASS,
        }
        if info.get("colors"):
            attrs["flag_colors"] = " ".join(info["colors"])
        return attrs

    def discard(self) -> None:
        """Removes unfinished files."""
        for file in self.files.values():
            file.discard()


def _render(
    kind: str, values: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[Any]:
    """(y, x, class) probabilities or values to (band, y, x) of one output."""
    if kind == "class":
        classes = values.argmax(axis=-1).astype(np.uint8)
        return np.where(valid, classes, np.uint8(VOID_CLASS))[None]
    if kind == "confidence":
        rendered = values.max(axis=-1)[None]
    elif kind == "entropy":
        rendered = (entropy(values) / np.log(max(values.shape[-1], 2)))[None]
    else:  # "prob", "spread" and a regression head's "value"
        rendered = np.moveaxis(values, -1, 0)
    return np.where(valid[None], rendered, np.nan).astype(np.float32)
