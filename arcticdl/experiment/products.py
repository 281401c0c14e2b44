"""What a prediction leaves in a folder: each scene's files together, or a table."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr

from arcticdl.files import remove_orphans, temporary_path, write_text
from arcticdl.inference.lines import draw_line, trace_line, write_line
from arcticdl.inference.output import MapFile, scene_georeference
from arcticdl.inference.predict import map_scene
from arcticdl.inference.predictor import Predictor

_MODEL_TAG = "arcticdl_models"
_MAX_PANELS = 3


class SceneWriter:
    """Writes the maps of scenes, all files of a scene at once.

    A scene's files are made in a hidden folder and moved when all are there, the chief
    map last: where it stands, the scene is done.

    Args:
        predictor: Models that are ready.
        models: Their files, whose digest the maps carry.
        overlap_px: Overlap of windows; ``None``: a quarter.
        resume: Whether scenes that the same models finished are left alone.
        overwrite: Whether existing files are replaced.
    """

    def __init__(
        self,
        predictor: Predictor,
        models: Sequence[Path],
        *,
        overlap_px: int | None,
        resume: bool,
        overwrite: bool,
    ) -> None:
        self.predictor, self.overlap_px = predictor, overlap_px
        self.resume, self.overwrite = resume, overwrite
        finish = [layer.finish_tags() for layer in predictor.layers]
        self.digest = digest_of(models, json.dumps(finish) if any(finish) else "")

    def write(self, scene: xr.Dataset, target: Path) -> list[Path]:
        """Maps one scene.

        Args:
            scene: The scene.
            target: File of the chief map; the others stand beside it.

        Returns:
            Its files.

        Raises:
            FileExistsError: One exists, and is not to be replaced or resumed.
        """
        hidden = target.with_suffix("")
        if target.parent.is_dir():
            remove_orphans(hidden)
        if target.exists() and self.resume and not self.overwrite:
            self._check_same_models(target)
            return [target]
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = temporary_path(hidden)
        folder.mkdir()
        try:
            self._make(scene, folder / target.name)
            return self._publish(folder, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _make(self, scene: xr.Dataset, target: Path) -> None:
        maps = map_scene(
            self.predictor,
            scene,
            target,
            overlap_px=self.overlap_px,
            tags={_MODEL_TAG: self.digest},
        )
        _write_picture(scene, maps, target)
        line = self.predictor.line
        if line is not None:
            heads = self.predictor.heads
            name = next(n for n, head in heads.items() if line in head.classes)
            prefix = f"{name}_" if len(heads) > 1 else ""
            prob = maps[f"{prefix}prob"][heads[name].classes.index(line)].values
            _write_line(prob, scene, target, line)

    def _publish(self, folder: Path, target: Path) -> list[Path]:
        files = sorted(folder.iterdir(), key=lambda path: path.name == target.name)
        found = [target.with_name(path.name) for path in files]
        there = [str(path) for path in found if path.exists()]
        if there and not (self.overwrite or (self.resume and not target.exists())):
            raise FileExistsError(
                f"{', '.join(there)} exist already. Choose another folder with --out, "
                "go on with --resume, or replace them with --overwrite."
            )
        for made, final in zip(files, found, strict=True):
            os.replace(made, final)
        return [found[-1], *found[:-1]]

    def _check_same_models(self, target: Path) -> None:
        with rasterio.open(target) as file:
            digest = file.tags().get(_MODEL_TAG)
        if digest != self.digest:
            raise FileExistsError(
                f"{target} was made by other models, thresholds or steps, so this call "
                "cannot go on from it. Choose another folder with --out, or replace it "
                "with --overwrite."
            )


def digest_of(models: Sequence[Path], finish: str = "") -> str:
    """A digest of the files of models, and of what is done to their maps."""
    total = hashlib.sha256(finish.encode())
    for path in models:
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def write_table(
    predictor: Predictor, scenes: Sequence[xr.Dataset], target: Path, overwrite: bool
) -> Path:
    """Writes answers about whole images as CSV, one row a scene.

    Args:
        predictor: Models whose heads answer for images.
        scenes: The scenes.
        target: The ``.csv`` file, or a folder for ``predictions.csv``.
        overwrite: Whether an existing file is replaced.

    Returns:
        The file: ``scene_id``, then one column an output and band; a class is written
        by its name, what is unknown is empty.

    Raises:
        FileExistsError: It exists and ``overwrite`` is false.
    """
    from arcticdl.inference.images import answer_images

    path = target if target.suffix.lower() == ".csv" else target / "predictions.csv"
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Replace it with --overwrite.")
    path.parent.mkdir(parents=True, exist_ok=True)
    found = answer_images(predictor, scenes)
    columns: dict[str, Any] = {"scene_id": found["scene"].values}
    for layer in predictor.layers_of("image"):
        values = found[layer.name].values
        for number, band in enumerate(layer.bands):
            column = values[:, number] if len(layer.bands) > 1 else values
            name = f"{layer.name}_{band}" if band else layer.name
            columns[name] = _readable(column, layer)
    import pandas as pd

    write_text(path, pd.DataFrame(columns).to_csv(index=False))
    return path


def _readable(column: np.ndarray, layer: Any) -> list[Any]:
    if layer.output.palette:
        names = dict(enumerate(layer.head.classes))
        return [names.get(int(code), "") for code in column]
    if layer.output.dtype == "uint8":
        return ["" if code == layer.output.nodata else int(code) for code in column]
    return ["" if np.isnan(value) else f"{value:.6g}" for value in column]


def _write_picture(scene: xr.Dataset, maps: xr.Dataset, target: Path) -> Path:
    """Draws scene and chief maps with legend and scale as NAME.png."""
    from arcticdl.plots import scene_map, write_figure

    panels: dict[str, Any] = {}
    for name, variable in maps.data_vars.items():
        shown = str(name).rpartition("_")[2]
        if shown in ("class", "value") and variable.ndim == 2:
            panels[str(name)] = variable
        elif shown in ("prob", "value") and "class" not in "".join(panels):
            for band in variable[:_MAX_PANELS]:
                title = f"{name}_{band[variable.dims[0]].item()}"
                panels[title] = band.drop_vars(variable.dims[0])
    chosen = dict(list(panels.items())[:_MAX_PANELS])
    valid = {"valid": scene["valid"]} if "valid" in scene else {}
    both = xr.Dataset({**chosen, "image": scene["image"], **valid}, attrs=scene.attrs)
    if "spatial_ref" in scene.coords:
        both = both.assign_coords(spatial_ref=scene["spatial_ref"])
    figure = scene_map(both, list(chosen), title=str(scene.attrs["scene_id"]))
    return write_figure(figure, target.with_suffix(".png"))


def _write_line(
    prob: np.ndarray, scene: xr.Dataset, target: Path, name: str
) -> list[Path]:
    """Writes NAME_line.tif (1 on the line) and NAME_line.gpkg beside the map."""
    path_px, threshold = trace_line(prob)
    line = draw_line(path_px, prob.shape)
    georeference = scene_georeference(scene)
    path = target.with_name(f"{target.stem}_line.tif")
    file = MapFile(
        path,
        line.shape,
        nodata=None,
        georeference=georeference,
        band_names=(f"{name} line",),
        tags={"threshold": f"{threshold:g}"},
    )
    try:
        file.write_rows(0, line[None].astype(np.uint8))
        file.commit()
    except BaseException:
        file.discard()
        raise
    vector = target.with_name(f"{target.stem}_line.gpkg")
    write_line(path_px, vector, georeference, name=name, threshold=threshold)
    return [path, vector]
