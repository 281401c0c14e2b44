"""Objects of scenes as files: vectors, counts, a density map and a picture each."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.config.predict import PredictConfig
from arcticdl.errors import ConfigError
from arcticdl.evaluation.run_folder import network_tag
from arcticdl.experiment.products import MODEL_TAG, digest_of
from arcticdl.files import (
    remove_orphans,
    safe_name,
    temporary_path,
    write_features,
    write_text,
)
from arcticdl.inference.objects.finder import Finder, find_objects
from arcticdl.inference.objects.merge import Found
from arcticdl.inference.objects.summary import density_map, describe_objects
from arcticdl.inference.objects.vectors import objects_frame
from arcticdl.inference.products.cog import write_raster
from arcticdl.scene import is_swath

_VECTORS = ("_objects.gpkg", "_objects.parquet")
_SUMMARY = "_objects.json"
_PICTURE_PX = 1200

Tested = Mapping[str, tuple[Sequence[int], Sequence[int]]]


def build_model_finder(paths: Sequence[Path], settings: PredictConfig) -> Finder:
    """The detector of a fold made ready, as the configuration says.

    Args:
        paths: Its file.
        settings: The ``predict`` section.

    Raises:
        ConfigError: Several models, or views to be averaged.
    """
    if len(paths) > 1:
        raise ConfigError(
            "Objects are found by one model, for boxes of several have no mean. "
            f"Received: {len(paths)} models. Name a fold: --fold 0, or --fold full."
        )
    told = settings.objects.model_dump(exclude={"count_score"})
    return Finder(
        paths[0],
        tile_size_px=settings.tile_size_px,
        overlap_px=settings.overlap_px,
        batch_size=settings.batch_size,
        **told,
    )


class ObjectWriter:
    """Finds the objects of scenes and writes them, all files of a scene at once.

    ``NAME_objects.gpkg`` and ``.parquet`` hold every object of at least ``min_score``;
    those of at least ``count_score`` are counted in ``NAME_objects.json``, mapped in
    ``NAME_density.tif`` (not of swaths) and drawn in ``NAME_objects.png``. The summary
    comes last: where it stands, the scene is done.

    Args:
        finder: The detector.
        models: Its file, whose digest the summary carries.
        settings: The ``predict`` section.
        tested: Class -> objects and detections of each tested scene, if known.
        tags: What else the files say of their origin.
        resume: Whether scenes that the same model finished are left alone.
        overwrite: Whether existing files are replaced.
    """

    def __init__(
        self,
        finder: Finder,
        models: Sequence[Path],
        settings: PredictConfig,
        *,
        tested: Tested | None,
        tags: Mapping[str, str],
        resume: bool,
        overwrite: bool,
    ) -> None:
        self.finder, self.tested = finder, tested
        self.count_score = settings.objects.count_score
        rules = settings.objects.model_dump_json()
        known = {MODEL_TAG: digest_of(models, rules), **network_tag(models)}
        self.tags = {**known, **tags}
        self.resume, self.overwrite = resume, overwrite

    def write_all(self, scenes: Sequence[xr.Dataset], folder: Path) -> list[Path]:
        """Finds the objects of every scene, once all of them may be written.

        Returns:
            The files of the scenes, and the table of them, ``objects.csv``.

        Raises:
            ConfigError: Two scenes have one name, or `folder` is a file's name.
            FileExistsError: A file exists, and is not to be replaced or resumed.
        """
        if folder.suffix.lower() in (".tif", ".tiff", ".nc", ".csv", ".gpkg"):
            raise ConfigError(
                "Objects leave several files a scene: name a folder. Received: "
                f"--out {folder}"
            )
        names = [safe_name(str(scene.attrs["scene_id"])) for scene in scenes]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(f"Inputs share the names {repeated}; take them apart.")
        pairs = list(zip(scenes, names, strict=True))
        todo = [self._is_open(scene, folder / name) for scene, name in pairs]
        written: list[Path] = []
        for (scene, name), is_open in zip(pairs, todo, strict=True):
            if is_open:
                self._write(scene, folder / name)
            written += self._files(scene, folder / name)
        return [*written, _write_table(folder, names)]

    def _files(self, scene: xr.Dataset, stem: Path) -> list[Path]:
        endings = [*_VECTORS, "_objects.png"]
        endings += [] if is_swath(scene) else ["_density.tif"]
        return [stem.with_name(stem.name + end) for end in (*endings, _SUMMARY)]

    def _is_open(self, scene: xr.Dataset, stem: Path) -> bool:
        """Whether a scene is still to be done."""
        *_, summary = files = self._files(scene, stem)
        if self.overwrite:
            return True
        if self.resume and summary.is_file():
            told = json.loads(summary.read_text(encoding="utf-8"))
            if told.get(MODEL_TAG) == self.tags[MODEL_TAG]:
                return False
            raise FileExistsError(
                f"{summary} was made by another model or other scores, so this call "
                "cannot go on from it. Choose another folder with --out, or replace it "
                "with --overwrite."
            )
        there = [str(path) for path in files if path.exists()]
        if there and not self.resume:
            raise FileExistsError(
                f"{', '.join(there)} exist already. Choose another folder with --out, "
                "go on with --resume, or replace them with --overwrite."
            )
        return True

    def _write(self, scene: xr.Dataset, stem: Path) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        remove_orphans(stem)
        hidden = temporary_path(stem)
        hidden.mkdir()
        try:
            found = find_objects(self.finder, scene)
            self._make(found, scene, hidden / stem.name)
            for path in self._files(scene, stem):
                os.replace(hidden / path.name, path)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)

    def _make(self, found: Found, scene: xr.Dataset, stem: Path) -> None:
        classes = self.finder.head.classes
        vectors, table, picture, *_, summary = self._files(scene, stem)
        write_vectors(objects_frame(found, scene, classes), vectors, table, self.tags)
        counted = found.above(self.count_score)
        draw_objects(counted, scene, picture, self.finder.head)
        if not is_swath(scene):
            density = density_map(counted, scene, classes).assign_attrs(self.tags)
            path = stem.with_name(stem.name + "_density.tif")
            write_raster(density, "density", path)
        told = {
            "scene_id": str(scene.attrs["scene_id"]),
            "count_score": self.count_score,
            **describe_objects(counted, scene, classes, self.tested),
            **self.tags,
        }
        write_text(summary, json.dumps(told, indent=1))


def write_vectors(
    frame: Any, vectors: Path, table: Path, tags: Mapping[str, str]
) -> None:
    """Writes objects as GeoPackage, layer ``objects``, and as GeoParquet."""
    about = {"geometry_type": "Polygon", "layer_metadata": dict(tags)}
    write_features(frame, vectors, "objects", **about)
    frame.to_parquet(table)


def draw_objects(found: Found, scene: xr.Dataset, path: Path, head: Any) -> None:
    """Draws the scene, thinned to a screen, with the objects that count."""
    from arcticdl.plots import BoxPicture, box_pictures
    from arcticdl.plots.maps import composite_rgb

    step = -(-max(scene.sizes["y"], scene.sizes["x"]) // _PICTURE_PX)
    thin = scene["image"].isel(y=slice(None, None, step), x=slice(None, None, step))
    boxes = found.boxes.copy()
    boxes[:, :4] /= step
    scores = found.scores if len(boxes) <= 50 else None
    title = f"{scene.attrs['scene_id']}: {len(boxes):,} found"
    image = composite_rgb(thin)
    picture = BoxPicture(image, np.zeros((0, 6)), boxes, scores, title)
    figure = box_pictures([picture], head.classes, head.colors)
    figure.savefig(path, format="png", dpi=160)


def tested_counts(fold_dir: Path, count_score: float) -> Tested | None:
    """Objects and detections of each scene that a fold was tested on.

    Args:
        fold_dir: The fold's folder; it must have been evaluated.
        count_score: Least score of what is counted; an evaluation by another one tells
            nothing.

    Returns:
        Class -> objects, and detections, of each scene; ``None`` where unknown.
    """
    file = fold_dir / "metrics.json"
    if not file.is_file():
        return None
    result = json.loads(file.read_text(encoding="utf-8"))
    if result.get("scored_by") != "boxes" or result.get("count_score") != count_score:
        return None
    told: dict[str, tuple[list[int], list[int]]] = {}
    for code, name in enumerate(result["classes"]):
        truth = [_count(e["truth"], code, 0.0) for e in result["images"]]
        found = [_count(e["found"], code, count_score) for e in result["images"]]
        told[name] = truth, found
    return told


def _count(rows: Sequence[Sequence[float]], code: int, score: float) -> int:
    """Boxes of a class; of those found such of at least a score, the last number."""
    return sum(row[5] == code and (len(row) < 7 or row[6] >= score) for row in rows)


def _write_table(folder: Path, names: Sequence[str]) -> Path:
    """One row a scene and class: the count with its interval, and the corrected one."""
    import pandas as pd

    rows = []
    for name in names:
        file = folder / f"{name}{_SUMMARY}"
        told = json.loads(file.read_text(encoding="utf-8"))
        for label, entry in told["classes"].items():
            better = entry["corrected"] or {"count": None, "interval": (None, None)}
            rows.append(
                {
                    "scene_id": told["scene_id"],
                    "class": label,
                    "count": entry["count"],
                    "low": entry["interval"][0],
                    "high": entry["interval"][1],
                    "corrected": better["count"],
                    "corrected_low": better["interval"][0],
                    "corrected_high": better["interval"][1],
                }
            )
    path = folder / "objects.csv"
    write_text(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.4g"))
    return path
